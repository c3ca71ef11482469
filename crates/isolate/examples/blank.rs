//! What a blank isolate costs: time to make one, and memory to keep one.
//!
//! `cargo run --release -p selvedge-isolate --example blank -- [COUNT [shrink]]`, with `HEAP_SNAPSHOT=FILE` also what is on
//! V8's heap, for a browser's developer tools.

use std::time::Instant;

use selvedge_isolate::Blank;

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100);
    let shrink = std::env::args().nth(2).is_some_and(|word| word == "shrink");
    selvedge_isolate::init();
    let (ready, made) = std::sync::mpsc::channel();
    let mut before = 0;
    let mut times = Vec::new();
    for index in 0..=count {
        let ready = ready.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else {
                return;
            };
            let _guard = runtime.enter();
            let began = Instant::now();
            let mut blank = Blank::new(128);
            let elapsed = began.elapsed();
            if shrink {
                blank.shrink();
            }
            let spaces = if index == 1 { blank.describe_heap() } else { String::new() };
            if index == 1
                && let Ok(path) = std::env::var("HEAP_SNAPSHOT")
            {
                std::fs::write(path, blank.heap_snapshot()).unwrap_or_else(|error| eprintln!("error: {error}"));
            }
            // Gone only when the receiver is: at the end of the program.
            let _ = ready.send((elapsed, spaces));
            loop {
                std::thread::park();
            }
        });
        let Ok((elapsed, spaces)) = made.recv() else {
            return;
        };
        print!("{spaces}");
        if index == 0 {
            before = resident_kib();
        } else {
            times.push(elapsed);
        }
    }
    times.sort();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!("made {count}: p50 {:?}, p99 {:?}", at(0.50), at(0.99));
    println!("memory: {} KiB each", (resident_kib().saturating_sub(before)) / count as u64);
}
