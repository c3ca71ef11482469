//! The parsers that read what anybody may send, as pure functions.

use bytes::Bytes;

use crate::multipart::Multipart;
use crate::upload;

/// Reads the text of an upload's `metadata` part. True: it was understood.
pub fn parse_metadata(text: &[u8]) -> bool {
    upload::parse_metadata(text).is_ok()
}

/// Reads a body as a multipart upload with that boundary, and puts it together. True: it was understood.
pub fn parse_upload(boundary: &str, body: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(body);
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
    let mut multipart = Multipart::new(boundary.to_owned(), stream, upload::LIMITS);
    let mut parts = Vec::new();
    let read = async {
        while let Some(part) = multipart.next().await.ok()? {
            parts.push(part);
        }
        upload::assemble(parts).ok()
    };
    futures_util::FutureExt::now_or_never(Ready(Box::pin(read))).flatten().is_some()
}

/// Polls what never waits for anything but its own turn, until it is done.
struct Ready<F>(std::pin::Pin<Box<F>>);

/// Turns that a body can take at most: one for each piece of it, and each part of it.
const TURNS_MAX: usize = 1_000_000;

impl<F: Future> Future for Ready<F> {
    type Output = F::Output;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<F::Output> {
        for _ in 0..TURNS_MAX {
            if let std::task::Poll::Ready(output) = self.0.as_mut().poll(cx) {
                return std::task::Poll::Ready(output);
            }
        }
        std::task::Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_read_from_its_bytes_alone() {
        let part = |name: &str, kind: &str, body: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{body}\r\n")
        };
        let metadata = part("metadata", "application/json", r#"{"main_module":"i.js"}"#);
        let module = part("i.js", "application/javascript+module", &"x".repeat(100_000));
        let body = metadata + &module + "--b--\r\n";
        assert!(parse_upload("b", body.as_bytes()));
        assert!(!parse_upload("c", body.as_bytes()));
        assert!(!parse_upload("b", &body.as_bytes()[..body.len() - 9]));
        assert!(parse_metadata(br#"{"bindings":[]}"#) && !parse_metadata(b"[]"));
    }
}
