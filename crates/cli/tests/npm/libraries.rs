//! jose and zod.

use serde_json::{Value, json};

use crate::{Server, Worker};

#[test]
fn jose_signs_and_verifies_with_every_algorithm() {
    let results = Worker::start("jose.ts").json("/signing");
    let results = results.as_object().unwrap();
    assert_eq!(results.len(), 13);
    for (algorithm, result) in results {
        let refused = "ERR_JWS_SIGNATURE_VERIFICATION_FAILED";
        assert_eq!(*result, json!([algorithm, "ada", refused, refused]), "{algorithm}");
    }
}

#[test]
fn jose_encrypts_and_decrypts_with_every_algorithm() {
    let results = Worker::start("jose.ts").json("/encryption");
    let (ciphers, wraps): (Vec<_>, Vec<_>) =
        results.as_object().unwrap().iter().partition(|(_, value)| value.is_array());
    assert_eq!((wraps.len(), ciphers.len()), (13, 6));
    for (algorithm, text) in wraps {
        assert_eq!(text, "the quick brown fox", "{algorithm}");
    }
    for (cipher, result) in ciphers {
        assert_eq!(*result, json!([1, "ERR_JWE_DECRYPTION_FAILED"]), "{cipher}");
    }
}

#[test]
fn jose_agrees_with_the_vectors_of_the_rfcs() {
    let vectors = Worker::start("jose.ts").json("/vectors");
    assert_eq!(vectors["payload"], "joe");
    assert_eq!(vectors["thumbprint"], "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(
        vectors["signed"],
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR\
         4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

#[test]
fn jose_reads_and_writes_keys_and_names_what_is_wrong_with_claims() {
    let worker = Worker::start("jose.ts");
    let formats = worker.json("/formats");
    assert_eq!(
        formats,
        json!({ "pkcs8": "-----BEGIN PRIVATE KEY-----", "spki": "-----BEGIN PUBLIC KEY-----", "curve": "P-256" })
    );
    assert_eq!(
        worker.json("/claims"),
        json!([
            "ERR_JWT_EXPIRED exp",
            "ERR_JWT_CLAIM_VALIDATION_FAILED nbf",
            "ERR_JWT_CLAIM_VALIDATION_FAILED aud",
            "ERR_JWS_INVALID"
        ])
    );
}

#[test]
fn jose_verifies_a_token_of_node_by_a_key_set_it_fetched() {
    let mut server = Server::start("jwks.mjs");
    let token = server.lines.next().unwrap().unwrap();
    let worker = Worker::beside("jose.ts", &server, "JWKS_URL", "/keys.json");
    let answer = worker.ask("POST", "/remote", &[], &token);
    assert_eq!(answer.json(), json!({ "sub": "ada", "kid": "new" }));
}

#[test]
fn zod_parses_and_transforms() {
    let worker = Worker::start("zod.ts");
    let user = json!({
        "id": "3f2b8c1e-6d4a-4b7e-9a51-0c8e2f7d1b34", "email": "a@b.co", "age": "21", "tags": [" A "],
        "address": { "street": "x" }, "born": "2000-01-02",
    });
    assert_eq!(
        worker.post("/user", &user).json()["value"],
        json!({
            "id": "3f2b8c1e-6d4a-4b7e-9a51-0c8e2f7d1b34", "email": "a@b.co", "age": 21, "role": "user", "tags": ["a"],
            "address": { "street": "x" }, "born": "2000-01-02T00:00:00.000Z",
        })
    );
    let tree = json!({ "name": "a", "children": [{ "name": "b", "children": [] }] });
    assert_eq!(worker.post("/tree", &tree).json()["value"], tree);
    assert_eq!(
        worker.post("/codec", &json!("2026-01-02T03:04:05.000Z")).json()["value"],
        json!({ "year": 2026, "back": "2026-01-02T03:04:05.000Z" })
    );
    assert_eq!(worker.json("/schema")["value"]["required"], json!(["name"]));
    assert_eq!(worker.json("/bytes")["value"], json!({ "name": "a.txt" }));
}

#[test]
fn zod_names_every_mistake_with_its_path() {
    let worker = Worker::start("zod.ts");
    let user = json!({
        "id": "x", "email": "a", "age": "2", "tags": ["a", "b", "c", "d"], "address": null, "born": "y", "more": 1,
    });
    let answer = worker.post("/user", &user);
    assert_eq!(answer.status, 422);
    let issues = answer.json()["issues"].as_array().unwrap().clone();
    let of = |issue: &Value| (issue["code"].as_str().unwrap().to_owned(), issue["path"].clone());
    assert_eq!(
        issues.iter().map(of).collect::<Vec<_>>(),
        [
            ("invalid_format".to_owned(), json!(["id"])),
            ("invalid_format".to_owned(), json!(["email"])),
            ("too_small".to_owned(), json!(["age"])),
            ("too_big".to_owned(), json!(["tags"])),
            ("invalid_format".to_owned(), json!(["born"])),
            ("unrecognized_keys".to_owned(), json!([])),
        ]
    );
    let square = worker.post("/shape", &json!({ "kind": "square", "side": -1 }));
    assert_eq!(square.json()["text"], "\u{2716} Too small: expected number to be >0\n  \u{2192} at side");
    let login = |password: &str, again: &str| {
        let answer = worker.post("/login", &json!({ "password": password, "again": again }));
        answer.json()["issues"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(login("1", "2"), "not the same");
    assert_eq!(login("123456", "123456"), "known to everyone");
    assert_eq!(worker.post("/mini", &json!({ "n": 2 })).json()["issues"][0]["minimum"], 3);
}
