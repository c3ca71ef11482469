//! The clients of OpenAI and of AWS S3, against servers of this machine.

use serde_json::json;

use crate::{Server, Worker};

fn openai() -> (Worker, Server) {
    let server = Server::start("openai.mjs");
    (Worker::beside("openai.ts", &server, "OPENAI_URL", "/v1"), server)
}

fn s3() -> (Worker, Server) {
    let server = Server::start("s3.mjs");
    (Worker::beside("s3.ts", &server, "S3_URL", ""), server)
}

#[test]
fn openai_completes_chats_and_embeds() {
    let (worker, _server) = openai();
    assert_eq!(worker.json("/chat"), json!({ "text": "Hello there!", "tokens": 12, "id": "req_1" }));
    assert_eq!(worker.json("/responses"), json!({ "text": "Hello there!" }));
    assert_eq!(worker.json("/embeddings"), json!([0.25, -0.5, 1]));
}

#[test]
fn openai_streams() {
    let (worker, _server) = openai();
    assert_eq!(worker.json("/chat/stream"), json!(["Hel", "lo ", "w\u{f6}rld", "!"]));
    assert_eq!(
        worker.json("/responses/stream"),
        json!({
            "types": [
                "response.created", "response.output_text.delta", "response.output_text.delta", "response.completed",
            ],
            "text": "Hello there!",
        })
    );
}

#[test]
fn openai_stream_that_is_left_is_cancelled() {
    let (worker, _server) = openai();
    assert_eq!(worker.json("/chat/stopped"), json!({ "seen": 5, "aborted": true }));
}

#[test]
fn openai_calls_tools_of_the_worker() {
    let (worker, _server) = openai();
    assert_eq!(worker.json("/tools"), json!({ "text": "It is 5." }));
}

#[test]
fn openai_uploads_downloads_and_lists() {
    let (worker, _server) = openai();
    assert_eq!(worker.json("/upload"), json!({ "name": "lines.jsonl", "bytes": 9 }));
    assert_eq!(worker.json("/download"), json!({ "type": "application/octet-stream", "text": "one line\n" }));
    assert_eq!(worker.json("/pages"), json!(["f1", "f2", "f3"]));
}

#[test]
fn openai_retries_and_tells_errors_apart() {
    let (worker, _server) = openai();
    assert_eq!(worker.json("/retried"), json!({ "id": "flaky after 3" }));
    assert_eq!(
        worker.json("/errors"),
        json!({
            "missing": ["NotFoundError", 404, "model_not_found"],
            "unauthorized": ["AuthenticationError", 401, "invalid_api_key"],
            "slow": ["APIConnectionTimeoutError", null, null],
            "stopped": ["APIUserAbortError", null, null],
        })
    );
}

#[test]
fn s3_stores_and_reads_objects() {
    let (worker, _server) = s3();
    assert_eq!(
        worker.json("/put"),
        json!({
            "etag": "\"2854104096939166d2e01d15d748f7aa\"", "type": "text/plain", "metadata": { "colour": "blue" },
            "text": "hello from a worker",
        })
    );
    assert_eq!(worker.json("/bytes"), json!({ "length": 200_000, "same": true }));
    assert_eq!(worker.json("/range"), json!({ "range": "bytes 2-5/10", "text": "2345" }));
    assert_eq!(worker.json("/stream"), json!({ "length": 100_000 }));
    assert_eq!(worker.json("/head"), json!({ "length": 5, "modified": true }));
}

#[test]
fn s3_lists_copies_and_deletes() {
    let (worker, _server) = s3();
    assert_eq!(
        worker.json("/list"),
        json!({ "truncated": true, "count": 3, "keys": ["list/<d>&:9", "list/a:6", "list/b:6", "list/c:6"] })
    );
    let copied = worker.json("/copy");
    assert_eq!(copied["text"], "the same");
    assert_eq!(worker.json("/delete"), json!({ "deleted": ["two", "three"], "left": [false, false, false] }));
}

#[test]
fn s3_uploads_in_parts() {
    let (worker, _server) = s3();
    assert_eq!(
        worker.json("/multipart"),
        json!({ "location": "http://bucket/large", "text": "part 1;part 2;part 3;" })
    );
}

#[test]
fn s3_errors_have_names() {
    let (worker, _server) = s3();
    assert_eq!(
        worker.json("/errors"),
        json!({
            "missing": [true, "NoSuchKey", 404, "The specified key does not exist."],
            "refused": [true, "SignatureDoesNotMatch", 403],
        })
    );
}
