//! Lines of the log on their way out.
//!
//! Whoever logs must never wait for who reads: a reader that stands still would hold the whole process. So lines wait in a
//! bounded buffer for a thread that writes them; where they come faster than they are read, the newest are dropped, counted,
//! and told of as soon as there is room.

use std::io::{self, Write};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// What waits to be written at most, in bytes: 1 MiB. As much again may be under way.
pub(crate) const BYTES_WAITING_MAX: usize = 1024 * 1024;

/// The lines that wait.
#[derive(Default)]
pub(crate) struct LogLines {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines.
    bytes: Vec<u8>,
    /// Lines that found no room, or could not be written, since it was last told.
    dropped: u64,
    is_writing: bool,
}

// === impl LogLines ===

impl LogLines {
    /// Writes what comes to `output`, for ever. `tell_dropped` is called with how many lines were dropped.
    pub(crate) fn write_to(&self, mut output: impl Write, tell_dropped: impl Fn(u64)) {
        let mut batch = Vec::new();
        loop {
            let dropped = {
                let mut waiting = self.waiting.lock();
                waiting.is_writing = false;
                while waiting.bytes.is_empty() {
                    self.emptied.notify_all();
                    self.filled.wait(&mut waiting);
                }
                waiting.is_writing = true;
                std::mem::swap(&mut batch, &mut waiting.bytes);
                std::mem::take(&mut waiting.dropped)
            };
            // Into the room that was made just now.
            if dropped > 0 {
                tell_dropped(dropped);
            }
            // A log that nobody can read any more must not end the process.
            if output.write_all(&batch).and_then(|()| output.flush()).is_err() {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                self.waiting.lock().dropped += lines as u64;
            }
            batch.clear();
        }
    }

    /// Waits until all is written that was logged, for `time_max` at most.
    pub(crate) fn flush(&self, time_max: Duration) {
        let mut waiting = self.waiting.lock();
        // What is not read by then is lost.
        let _ = self.emptied.wait_while_for(
            &mut waiting,
            |waiting| waiting.is_writing || !waiting.bytes.is_empty(),
            time_max,
        );
    }

    fn add(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.bytes.len().saturating_add(line.len()) > BYTES_WAITING_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes.extend_from_slice(line);
        self.filled.notify_one();
    }
}

impl Write for &LogLines {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;
    use std::sync::mpsc;

    #[test]
    fn a_reader_that_stands_still_holds_nobody_and_learns_what_it_missed() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let lines = Arc::new(LogLines::default());
        let (told, dropped) = mpsc::channel();
        let writing = Arc::clone(&lines);
        std::thread::spawn(move || {
            writing.write_to(writer, |count| told.send(count).unwrap());
        });
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // Far more than the socket and both buffers hold.
        let count = 16 * BYTES_WAITING_MAX / line.len();
        for _ in 0..count {
            (&*lines).write_all(&line).unwrap();
        }
        lines.flush(Duration::ZERO);
        let mut reader = BufReader::new(reader);
        let mut read = 0;
        let missed = loop {
            if let Ok(missed) = dropped.try_recv() {
                break missed;
            }
            let mut text = Vec::new();
            reader.read_until(b'\n', &mut text).unwrap();
            assert_eq!(text, line, "lines come whole");
            read += 1;
        };
        assert!(missed > 0);
        while read < count as u64 - missed {
            let mut text = Vec::new();
            reader.read_until(b'\n', &mut text).unwrap();
            read += 1;
        }
        lines.flush(Duration::from_secs(60));
        let waiting = lines.waiting.lock();
        assert!(waiting.bytes.is_empty() && !waiting.is_writing);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_counted_as_dropped() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Arc::new(LogLines::default());
        let writing = Arc::clone(&lines);
        std::thread::spawn(move || writing.write_to(Gone, |_| ()));
        (&*lines).write_all(b"one\n").unwrap();
        lines.flush(Duration::from_secs(60));
        assert_eq!(lines.waiting.lock().dropped, 1);
    }
}
