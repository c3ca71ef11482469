//! Hono, itty-router and graphql-yoga.

use serde_json::{Value, json};

use crate::Worker;
use crate::support::Answer;

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", answer.headers))
}

// === Hono ===

fn hono() -> Worker {
    Worker::start("hono.tsx")
}

#[test]
fn hono_routes() {
    let worker = hono();
    let root = worker.get("/");
    assert_eq!(root.text(), "workerd");
    assert_eq!(header(&root, "x-powered-by"), "Hono");
    assert!(!header(&root, "x-request-id").is_empty());
    assert_eq!(worker.json("/users/12/posts/first?page=2"), json!({ "id": "12", "slug": "first", "page": "2" }));
    assert_eq!(worker.get("/users/twelve/posts").json(), json!({ "nothing": "/users/twelve/posts" }));
    assert_eq!(worker.ask("PURGE", "/things/a", &[], "").text(), "PURGE");
    assert_eq!(worker.get("/nested/deep/leaf").text(), "leaf");
    assert_eq!(worker.get("/mounted/a/b").text(), "/a/b");
    let trimmed = worker.get("/trim/page/");
    assert_eq!((trimmed.status, header(&trimmed, "location").ends_with("/trim/page")), (301, true));
    assert_eq!(worker.json("/client"), json!({ "sum": 5 }));
}

#[test]
fn hono_turns_what_is_thrown_into_answers() {
    let worker = hono();
    let thrown = worker.get("/throw");
    assert_eq!((thrown.status, thrown.json()), (500, json!({ "failed": "thrown on purpose" })));
    let teapot = worker.get("/teapot");
    assert_eq!((teapot.status, teapot.text().as_str()), (418, "short and stout"));
    let missing = worker.get("/none");
    assert_eq!((missing.status, missing.json()), (404, json!({ "nothing": "/none" })));
    let slow = worker.get("/slow");
    assert_eq!((slow.status, slow.text().as_str()), (504, "Gateway Timeout"));
}

#[test]
fn hono_logs_to_the_terminal() {
    let mut worker = hono();
    worker.get("/");
    worker.dev.wait_output("hono: <-- GET /");
    worker.dev.wait_output("hono: --> GET / 200");
}

#[test]
fn hono_lets_in_who_may() {
    let worker = hono();
    let with =
        |path: &str, authorization: &str| worker.ask("GET", path, &[("authorization", authorization)], "").status;
    let basic = worker.get("/basic/page");
    assert_eq!((basic.status, header(&basic, "www-authenticate")), (401, "Basic realm=\"Secure Area\""));
    assert_eq!(with("/basic/page", "Basic YWRhOmxvdmVsYWNl"), 200);
    assert_eq!(with("/basic/page", "Basic YWRhOndyb25n"), 401);
    assert_eq!((with("/bearer/page", "Bearer let-me-in"), with("/bearer/page", "Bearer no")), (200, 401));
    assert_eq!((with("/either/page", "Bearer first"), with("/either/page", "Bearer second")), (200, 200));
    assert_eq!(with("/either/page", "Bearer third"), 401);
    let token = worker.get("/token").text();
    assert_eq!(with("/jwt/page", &format!("Bearer {token}")), 200);
    assert_eq!(with("/jwt/page", &format!("Bearer {token}x")), 401);
    let form = |origin: &str| {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin)];
        worker.ask("POST", "/csrf/form", &headers, "a=1").status
    };
    assert_eq!((form("https://good.example"), form("https://evil.example")), (200, 403));
    assert_eq!(worker.get("/local/page").text(), "near");
}

#[test]
fn hono_sets_headers() {
    let worker = hono();
    let preflight = worker.ask(
        "OPTIONS",
        "/cors/page",
        &[("origin", "https://app.example"), ("access-control-request-method", "PUT")],
        "",
    );
    assert_eq!((preflight.status, header(&preflight, "access-control-allow-methods")), (204, "GET,PUT"));
    assert_eq!(header(&preflight, "access-control-max-age"), "600");
    let shared = worker.ask("GET", "/cors/page", &[("origin", "https://app.example")], "");
    assert_eq!(header(&shared, "access-control-allow-origin"), "https://app.example");
    assert_eq!(header(&shared, "access-control-allow-credentials"), "true");

    let secure = worker.get("/secure/page");
    assert_eq!(header(&secure, "content-security-policy"), "default-src 'self'");
    assert_eq!(header(&secure, "x-content-type-options"), "nosniff");

    let first = worker.get("/etag/page");
    let second = worker.ask("GET", "/etag/page", &[("if-none-match", header(&first, "etag"))], "");
    assert_eq!((second.status, second.body.len()), (304, 0));

    assert!(header(&worker.get("/timing/page"), "server-timing").contains("work;dur="));
    let german = worker.ask("GET", "/language/page", &[("accept-language", "fr;q=0.3, de;q=0.9")], "");
    assert_eq!(german.text(), "de");
}

#[test]
fn hono_compresses() {
    let worker = hono();
    let answer = worker.ask("GET", "/compress/page", &[("accept-encoding", "gzip")], "");
    assert_eq!(header(&answer, "content-encoding"), "gzip");
    assert!(answer.body.starts_with(&[0x1f, 0x8b]) && answer.body.len() < 200, "{} bytes", answer.body.len());
}

#[test]
fn hono_reads_bodies() {
    let worker = hono();
    assert_eq!(worker.ask("POST", "/small/body", &[], "12345678").text(), "12345678");
    assert_eq!(worker.ask("POST", "/small/body", &[], "123456789").status, 413);
    assert_eq!(worker.post("/validated", &json!({ "name": "ada", "age": 36 })).json(), json!({ "hello": "ada" }));
    let refused = worker.post("/validated", &json!({ "name": "a", "age": 0.5 }));
    assert_eq!((refused.status, &refused.json()["success"]), (400, &json!(false)));
    let form = "--x\r\ncontent-disposition: form-data; name=\"tag\"\r\n\r\none\r\n--x\r\ncontent-disposition: form-data; \
                name=\"tag\"\r\n\r\ntwo\r\n--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                content-type: text/plain\r\n\r\nthe file\r\n--x--\r\n";
    let answer = worker.ask("POST", "/form", &[("content-type", "multipart/form-data; boundary=x")], form);
    let file = json!({ "name": "a.txt", "type": "text/plain", "text": "the file" });
    assert_eq!(answer.json(), json!({ "tags": ["one", "two"], "file": file }));
    let overridden =
        worker.ask("POST", "/override", &[("content-type", "application/x-www-form-urlencoded")], "_method=DELETE");
    assert_eq!(overridden.text(), "deleted");
    assert_eq!(worker.get("/pretty?pretty").text(), "{\n  \"a\": 1\n}");
}

#[test]
fn hono_keeps_cookies() {
    let worker = hono();
    let set = worker.get("/cookies/set");
    let cookies: Vec<&str> =
        set.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies.len(), 3);
    assert_eq!(cookies[0], "plain=yes; Max-Age=60; Path=/; HttpOnly; SameSite=Lax");
    assert!(cookies[2].starts_with("old=; Max-Age=0"), "{}", cookies[2]);
    let pair = |cookie: &str| cookie.split(';').next().unwrap().to_owned();
    let jar = format!("{}; {}", pair(cookies[0]), pair(cookies[1]));
    let kept = worker.ask("GET", "/cookies/get", &[("cookie", &jar)], "");
    assert_eq!(kept.json(), json!({ "plain": "yes", "signed": "sealed" }));
    let forged = worker.ask("GET", "/cookies/get", &[("cookie", &jar.replace("sealed", "broken"))], "");
    assert_eq!(forged.json()["signed"], false);
}

#[test]
fn hono_renders_pages() {
    let worker = hono();
    let page = worker.get("/page/Ada%20%3Cb%3E").text();
    assert!(page.starts_with("<!DOCTYPE html><html><head><style"), "{page}");
    assert!(page.contains(">Hello <b>Ada &lt;b&gt;</b></p>"), "{page}");
    assert!(page.contains("color:red"), "{page}");
    assert_eq!(worker.get("/template").text(), "<p>&lt;script&gt;<hr></p>");
}

#[test]
fn hono_streams() {
    let worker = hono();
    assert_eq!(worker.get("/stream/bytes").text(), "one two three");
    assert_eq!(worker.get("/stream/text").text(), "line 0\nline 1\nline 2\n");
    let events = worker.get("/stream/events");
    assert_eq!(header(&events, "content-type"), "text/event-stream");
    let expected: String = (0..3).map(|id| format!("event: tick\ndata: {{\"id\":{id}}}\nid: {id}\n\n")).collect();
    assert_eq!(events.text(), expected);
}

#[test]
fn hono_caches() {
    let worker = hono();
    let first = worker.get("/cached");
    assert_eq!((first.text().as_str(), header(&first, "cache-control")), ("1", "max-age=60"));
    assert_eq!(worker.get("/cached").text(), "1");
    assert_eq!(worker.get("/cached?other").text(), "2");
}

#[test]
fn hono_keeps_the_context_of_each_request() {
    let worker = hono();
    std::thread::scope(|scope| {
        for name in ["ada", "bob", "cid", "dan", "eve", "fay", "gil", "hal"] {
            let worker = &worker;
            scope.spawn(move || assert_eq!(worker.get(&format!("/context?who={name}")).text(), name));
        }
    });
}

#[test]
fn hono_example_keeps_notes() {
    let worker = Worker::example("hono-api");
    let made = worker.post("/notes", &json!({ "text": "buy thread" }));
    assert_eq!(made.status, 201);
    let path = header(&made, "location").to_owned();
    assert_eq!(worker.json(&path), made.json());
    let changed = worker.ask("PUT", &path, &[], &json!({ "text": "buy needles" }).to_string());
    assert_eq!(changed.json()["text"], "buy needles");
    assert_eq!(worker.json("/notes"), json!([changed.json()]));
    assert_eq!(worker.ask("DELETE", &path, &[], "").status, 204);
    let gone = worker.get(&path);
    assert_eq!((gone.status, gone.json()["error"].as_str().unwrap().starts_with("no note ")), (404, true));
    assert_eq!(worker.post("/notes", &json!({})).json(), json!({ "error": "a note needs a text" }));
}

// === itty-router ===

#[test]
fn itty_routes() {
    let worker = Worker::start("itty.ts");
    assert_eq!(worker.json("/"), json!({ "router": "itty" }));
    assert_eq!(worker.json("/users/7/a/b"), json!({ "id": "7", "rest": "a/b" }));
    assert_eq!(worker.json("/optional"), json!({ "format": null }));
    assert_eq!(worker.json("/files/a.txt"), json!({ "name": "a", "ext": "txt" }));
    assert_eq!(worker.json("/query?a=1&b=2&b=3"), json!({ "a": "1", "b": ["2", "3"] }));
    assert_eq!(worker.json("/params/4"), json!({ "id": "4" }));
    assert_eq!(worker.json("/nested/leaf"), json!("leaf"));
    assert_eq!(worker.post("/content", &json!({ "x": 1 })).json(), json!({ "got": { "x": 1 } }));
    let cookies = worker.ask("GET", "/cookies", &[("cookie", "a=1; b=2")], "");
    assert_eq!(cookies.json(), json!({ "a": "1", "b": "2" }));
}

#[test]
fn itty_answers() {
    let worker = Worker::start("itty.ts");
    let text = worker.get("/text");
    assert_eq!((text.text().as_str(), header(&text, "content-type")), ("words", "text/plain; charset=utf-8"));
    assert_eq!(header(&worker.get("/html"), "content-type"), "text/html");
    let png = worker.get("/png");
    assert_eq!((png.body.as_slice(), header(&png, "content-type")), (&[137, 80, 78, 71][..], "image/png"));
    assert_eq!(worker.get("/status").status, 204);
    let made = worker.get("/json");
    assert_eq!((made.status, made.json(), header(&made, "x-made")), (201, json!([1, 2, 3]), "yes"));
    let thrown = worker.get("/thrown");
    assert_eq!((thrown.status, thrown.json()), (418, json!({ "status": 418, "error": "short and stout" })));
    let broken = worker.get("/broken");
    assert_eq!(broken.json()["error"], "Cannot read properties of undefined (reading 'a')");
    assert_eq!((worker.get("/guarded").status, worker.get("/none").status), (401, 404));
    assert_eq!(worker.ask("GET", "/guarded", &[("x-key", "open")], "").json(), json!("open"));
    let shared = worker.get("/shared/page");
    assert_eq!(header(&shared, "access-control-allow-origin"), "https://app.example");
    assert_eq!(worker.ask("OPTIONS", "/shared/page", &[], "").status, 204);
}

// === graphql-yoga ===

fn query(worker: &Worker, text: &str) -> Value {
    worker.post("/graphql", &json!({ "query": text })).json()
}

#[test]
fn yoga_answers_queries_and_mutations() {
    let worker = Worker::start("yoga.ts");
    assert_eq!(
        query(&worker, "{ hello posts { id author { name posts { title } } } }")["data"],
        json!({
            "hello": "Hello, world!",
            "posts": [{ "id": "1", "author": { "name": "ada", "posts": [{ "title": "First" }] } }],
        })
    );
    let with_variables = json!({
        "query": "query Q($name: String!) { hello(name: $name) type: header(name: \"content-type\") }",
        "variables": { "name": "ada" },
    });
    assert_eq!(
        worker.post("/graphql", &with_variables).json()["data"],
        json!({ "hello": "Hello, ada!", "type": "application/json" })
    );
    let published = query(&worker, "mutation { publish(title: \"Second\", author: \"bob\") { id author { name } } }");
    assert_eq!(published["data"]["publish"], json!({ "id": "2", "author": { "name": "bob" } }));
    assert_eq!(query(&worker, "{ post(id: 2) { title } }")["data"]["post"]["title"], "Second");
    assert_eq!(worker.json("/graphql?query=%7Bhello%7D")["data"]["hello"], "Hello, world!");
    let batch = worker.post("/graphql", &json!([{ "query": "{ hello }" }, { "query": "{ a: hello(name: \"b\") }" }]));
    assert_eq!(batch.json(), json!([{ "data": { "hello": "Hello, world!" } }, { "data": { "a": "Hello, b!" } }]));
}

#[test]
fn yoga_masks_errors_that_are_not_for_clients() {
    let worker = Worker::start("yoga.ts");
    let answer = query(&worker, "{ secret broken }");
    assert_eq!(answer["data"], json!({ "secret": null, "broken": null }));
    let told: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|error| (&error["message"], &error["extensions"])).collect();
    assert_eq!(told[0], (&json!("not for you"), &json!({ "code": "FORBIDDEN" })));
    assert_eq!(told[1], (&json!("Unexpected error."), &json!({ "code": "INTERNAL_SERVER_ERROR" })));
    let unknown = query(&worker, "{ nope }");
    assert_eq!(unknown["errors"][0]["message"], "Cannot query field \"nope\" on type \"Query\".");
}

#[test]
fn yoga_subscribes_and_uploads() {
    let worker = Worker::start("yoga.ts");
    let body = json!({ "query": "subscription { countdown(from: 3) }" }).to_string();
    let events =
        worker.ask("POST", "/graphql", &[("content-type", "application/json"), ("accept", "text/event-stream")], &body);
    assert_eq!(header(&events, "content-type"), "text/event-stream");
    let counted: Vec<Value> = events
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .map(|line| serde_json::from_str::<Value>(&format!("{{{line}")).unwrap()["data"]["countdown"].clone())
        .collect();
    assert_eq!(counted, [3, 2, 1, 0]);

    let form = "--x\r\ncontent-disposition: form-data; name=\"operations\"\r\n\r\n\
                {\"query\":\"mutation($f: File!) { read(file: $f) }\",\"variables\":{\"f\":null}}\r\n\
                --x\r\ncontent-disposition: form-data; name=\"map\"\r\n\r\n{\"0\":[\"variables.f\"]}\r\n\
                --x\r\ncontent-disposition: form-data; name=\"0\"; filename=\"a.txt\"\r\n\
                content-type: text/plain\r\n\r\nthe file\r\n--x--\r\n";
    let answer = worker.ask("POST", "/graphql", &[("content-type", "multipart/form-data; boundary=x")], form);
    assert_eq!(answer.json()["data"]["read"], "a.txt: the file");
    let page = worker.ask("GET", "/graphql", &[("accept", "text/html")], "");
    assert!(page.text().contains("<title>Yoga GraphiQL</title>"));
}
