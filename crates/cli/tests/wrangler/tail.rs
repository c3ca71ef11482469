//! `tail`: what workers say while they are asked, as the client shows it, through every filter that it has.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::up::Up;
use crate::support::wrangler::{Client, Project};
use crate::support::{collect, eventually, within};

const WORKER: &str = "export default {
        async fetch(request) {
            const { pathname } = new URL(request.url);
            console.log('asked for', pathname, { deep: [1, 2] });
            console.warn('a warning');
            if (pathname === '/throw') throw new TypeError('thrown on purpose');
            if (pathname === '/slow') await new Promise((resolve) => setTimeout(resolve, 60_000));
            return new Response('ok', { status: 201 });
        },
        scheduled(event) { console.log('rang', event.cron) },
    }";

/// A running `wrangler tail`.
struct Tail {
    child: Child,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
}

impl Tail {
    fn start(project: &Project<'_>, arguments: &[&str]) -> Self {
        let mut command = project.command(&[&["tail"], arguments].concat());
        // The client starts another of itself: both are to end.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (output, errors) = <(Arc<Mutex<String>>, Arc<Mutex<String>>)>::default();
        collect(child.stdout.take().unwrap(), Arc::clone(&output));
        collect(child.stderr.take().unwrap(), Arc::clone(&errors));
        Self { child, output, errors }
    }

    fn text(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The events so far, of a tail with `--format json`.
    fn events(&self) -> Vec<Value> {
        let text = self.text();
        let start = text.find('{').unwrap_or(text.len());
        // A value that is not complete yet ends the list.
        serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>().map_while(Result::ok).collect()
    }

    /// Asks with `asked` until an event is there that `wanted` accepts. Tail and requests race, so it asks again.
    fn until(&self, asked: impl Fn(), wanted: impl Fn(&Value) -> bool) -> Value {
        let mut rounds = 0_u32;
        eventually("the tail shows what was asked", || {
            if rounds.is_multiple_of(20) {
                asked();
            }
            rounds += 1;
            self.events().into_iter().find(&wanted)
        })
    }

    /// Ctrl-C, and the end.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        eventually("the tail ends", || self.child.try_wait().unwrap());
        self.text()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = std::process::Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the tail printed:\n{}\n{}", self.text(), self.errors.lock().unwrap());
        }
    }
}

fn path_of(event: &Value) -> &str {
    let url = event["event"]["request"]["url"].as_str().unwrap_or_default();
    url.split_once("localhost:").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or_default()
}

fn a_tail_shows_requests_logs_and_exceptions(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "spoken", WORKER);
    let version = project.deploy(&[]);
    let tail = Tail::start(&project, &["--format", "json"]);
    let event = tail.until(|| drop(project.get("spoken", "/one?q=1")), |event| path_of(event) == "/one?q=1");
    assert_eq!(event["outcome"], "ok");
    assert_eq!(event["scriptName"], "spoken");
    assert_eq!(event["scriptVersion"]["id"], *version);
    assert_eq!(event["event"]["request"]["method"], "GET");
    assert_eq!(event["event"]["response"]["status"], 201);
    assert_eq!(event["logs"][0]["level"], "log");
    assert_eq!(event["logs"][0]["message"], json!(["asked for", "/one", { "deep": [1, 2] }]));
    assert_eq!(event["logs"][1]["level"], "warn");
    assert!(event["eventTimestamp"].as_u64().unwrap() > 1_700_000_000_000, "{event}");

    let event = tail.until(|| drop(project.get("spoken", "/throw")), |event| path_of(event) == "/throw");
    assert_eq!(event["outcome"], "exception");
    assert_eq!(event["exceptions"][0]["name"], "TypeError");
    assert_eq!(event["exceptions"][0]["message"], "thrown on purpose");
    assert!(!tail.stop().contains("\"slv_"), "no token in a tail");
    // The session ended with the client.
    eventually("the tail is gone", || {
        let tails = project.api("/workers/scripts/spoken/tails");
        tails.as_array()?.is_empty().then_some(())
    });
}

fn a_tail_is_pretty_for_people(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "pretty", WORKER);
    project.deploy(&[]);
    let tail = Tail::start(&project, &["--format", "pretty"]);
    let mut rounds = 0_u32;
    let text = eventually("the tail shows a line", || {
        if rounds.is_multiple_of(20) {
            project.get("pretty", "/throw");
        }
        rounds += 1;
        // Exceptions go to the standard error.
        let text = tail.text() + &tail.errors.lock().unwrap();
        let all = ["Connected to pretty", "thrown on purpose", "a warning"];
        all.iter().all(|part| text.contains(part)).then_some(text)
    });
    assert!(text.contains("/throw") && text.contains("a warning") && text.contains("asked for"), "{text}");
    tail.stop();
}

fn a_tail_shows_what_its_filters_let_through(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "filtered", WORKER);
    let version = project.deploy(&[]);
    let host = format!("filtered.localhost:{}", up.http.port());
    let nobodys = "00000000-0000-4000-8000-000000000000";
    // What each filter lets through, out of four requests: `/ok` by GET, `/ok` by POST with a header, `/throw`, and
    // `/slow`, whose client goes away.
    let cases: [(&[&str], &[&str]); 10] = [
        (&["--status", "ok"], &["GET /ok", "POST /ok"]),
        (&["--status", "error"], &["GET /throw"]),
        (&["--status", "canceled"], &["GET /slow"]),
        (&["--method", "POST", "--method", "PUT"], &["POST /ok"]),
        (&["--header", "x-kind"], &["POST /ok"]),
        (&["--header", "x-kind:special"], &["POST /ok"]),
        (&["--search", "/throw"], &["GET /throw"]),
        (&["--ip", "self", "--status", "error"], &["GET /throw"]),
        (&["--version-id", &version, "--method", "POST"], &["POST /ok"]),
        (&["--sampling-rate", "0.999", "--search", "for", "--method", "POST"], &["POST /ok"]),
    ];
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        up.ask(method, &host, path, headers, &[]);
    };
    let round = || {
        let mut leaving = TcpStream::connect(up.http).unwrap();
        leaving.write_all(format!("GET /slow HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).unwrap();
        ask("GET", "/ok", &[]);
        ask("POST", "/ok", &[("x-kind", "special")]);
        ask("GET", "/throw", &[]);
        drop(leaving);
    };
    // Some at once, so that a round of requests serves them all; a worker has ten tails at most.
    for cases in cases.chunks(5) {
        tails_show(&project, cases, nobodys, &round);
    }
}

/// A command line, and what of a round's requests it shows.
type Case<'a> = (&'a [&'a str], &'a [&'a str]);

fn tails_show(project: &Project<'_>, cases: &[Case<'_>], nobodys: &str, round: &dyn Fn()) {
    let start = |filter: &[&str]| Tail::start(project, &[&["--format", "json"], filter].concat());
    let tails: Vec<_> = cases.iter().map(|(filter, wanted)| (*filter, *wanted, start(filter))).collect();
    let of_nobody = ["--version-id", nobodys];
    let refused =
        [&of_nobody[..], &["--ip", "192.0.2.7"], &["--header", "x-kind:plain"]].map(|filter| (filter, start(filter)));
    // A tail without a filter, started last, tells that the events of a round have been told.
    let mut rounds = 0_u32;
    let seen = |tail: &Tail| -> Vec<String> {
        let events = tail.events();
        let name = |event: &Value| {
            let method = event["event"]["request"]["method"].as_str().unwrap_or_default();
            format!("{method} {}", path_of(event))
        };
        let mut names: Vec<_> = events.iter().map(name).collect();
        names.sort();
        names.dedup();
        names
    };
    eventually("every tail shows what its filter lets through", || {
        rounds += 1;
        if rounds % 20 != 1 {
            return None;
        }
        round();
        tails.iter().all(|(_, wanted, tail)| seen(tail) == *wanted).then_some(())
    });
    // Those that let nothing through are surely connected by the time that a further tail is.
    let last = start(&[]);
    last.until(round, |event| path_of(event) == "/throw");
    for (filter, wanted, tail) in &tails {
        assert_eq!(seen(tail), *wanted, "{filter:?}");
    }
    for (filter, tail) in &refused {
        assert!(seen(tail).is_empty(), "{filter:?} let through {:?}", seen(tail));
    }
}

with_both_clients!(
    a_tail_shows_requests_logs_and_exceptions,
    a_tail_is_pretty_for_people,
    a_tail_shows_what_its_filters_let_through,
);

/// Two minutes pass in this test, so it is run with one client only.
#[test]
fn a_cron_trigger_rings_once_a_minute_and_is_seen_in_the_tail() {
    let up = Up::start();
    let project = Project::script(&up, Client::Latest, "bell", WORKER);
    project.config("bell", &json!({ "triggers": { "crons": ["* * * * *"] } }));
    project.deploy(&[]);
    let tail = Tail::start(&project, &["--format", "json"]);
    let rings =
        || -> Vec<Value> { tail.events().into_iter().filter(|event| event["event"]["cron"] == "* * * * *").collect() };
    let rung = within(Duration::from_secs(210), "the bell rings for two minutes", || {
        let rung = rings();
        (rung.len() > 1).then_some(rung)
    });
    let minute = |at: usize| rung[at]["event"]["scheduledTime"].as_u64().unwrap();
    assert_eq!(minute(0) % 60_000, 0, "{}", rung[0]);
    assert_eq!(minute(1) - minute(0), 60_000, "once for each minute");
    for ring in &rung {
        assert_eq!(ring["outcome"], "ok");
        assert_eq!(ring["logs"][0]["message"], json!(["rang", "* * * * *"]));
    }
}
