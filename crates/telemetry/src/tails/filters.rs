//! Which events a tail wants, in the platform's words.
//!
//! An event is wanted if every filter takes it. Filters of requests (method, header, client IP) take no other kind of event.

use std::net::IpAddr;

use selvedge_model::{Outcome, Trace, TraceEvent, TraceLog, TraceRequest};
use serde_json::Value;

use super::TailError;

/// Filters of one tail.
const FILTERS_MAX: usize = 20;
/// Alternatives in one filter.
const ALTERNATIVES_MAX: usize = 64;
/// The longest text in a filter, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// The header that says which client a request came from. The edge sets it; a client cannot.
const CLIENT_IP_HEADER: &str = "cf-connecting-ip";

/// The outcomes that can be asked for.
const OUTCOMES: [(&str, Outcome); 7] = [
    ("ok", Outcome::Ok),
    ("exception", Outcome::Exception),
    ("exceededCpu", Outcome::ExceededCpu),
    ("exceededMemory", Outcome::ExceededMemory),
    ("exceededLimit", Outcome::ExceededLimit),
    ("canceled", Outcome::Canceled),
    ("unknown", Outcome::Unknown),
];

/// The filters of one tail, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filters(Vec<Filter>);

#[derive(Debug, Clone, PartialEq)]
enum Filter {
    /// The share of events that is wanted, from 0 to 1.
    SamplingRate(f64),
    Outcome(Vec<Outcome>),
    /// In upper case.
    Method(Vec<String>),
    /// The name in lower case, and what the value must contain.
    Header(String, Option<String>),
    ClientIp(Vec<IpAddr>),
    /// What a line of the log must contain.
    Query(String),
    ScriptVersion(String),
}

// === impl Filters ===

impl Filters {
    /// The filters of a request to open a tail: the array `filters` of its body, or null. `opened_by` is the address it
    /// came from, which `"self"` stands for.
    ///
    /// # Errors
    /// With the index of the filter that cannot be understood, and what it should be.
    pub fn parse(filters: &Value, opened_by: IpAddr) -> Result<Self, TailError> {
        let filters = match filters {
            Value::Null => return Ok(Self::default()),
            Value::Array(filters) => filters,
            _ => return Err(TailError::Filters { problem: "must be an array of objects".to_owned() }),
        };
        if filters.len() > FILTERS_MAX {
            let problem = format!("there are {}; at most {FILTERS_MAX} are allowed", filters.len());
            return Err(TailError::Filters { problem });
        }
        let parsed = filters
            .iter()
            .enumerate()
            .map(|(at, filter)| Filter::parse(filter, opened_by).map_err(|problem| TailError::Filter { at, problem }));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether an event is wanted. `draw` gives a number from 0 up to 1, another each time.
    pub(super) fn take(&self, trace: &Trace, mut draw: impl FnMut() -> f64) -> bool {
        self.0.iter().all(|filter| filter.takes(trace, &mut draw))
    }
}

// === impl Filter ===

impl Filter {
    fn parse(filter: &Value, opened_by: IpAddr) -> Result<Self, String> {
        let fields = filter.as_object().ok_or("must be an object, such as {\"method\": [\"GET\"]}")?;
        let mut fields = fields.iter();
        let (Some((name, value)), None) = (fields.next(), fields.next()) else {
            return Err("must have exactly one field, which names what is filtered by".to_owned());
        };
        match name.as_str() {
            "sampling_rate" => {
                let rate = value.as_f64().filter(|rate| (0.0..=1.0).contains(rate));
                rate.map(Self::SamplingRate).ok_or_else(|| "sampling_rate must be a number from 0 to 1".to_owned())
            }
            "outcome" => texts(name, value)?.into_iter().map(outcome).collect::<Result<_, _>>().map(Self::Outcome),
            "method" => {
                Ok(Self::Method(texts(name, value)?.iter().map(|method| method.to_ascii_uppercase()).collect()))
            }
            "header" => header(value),
            "client_ip" => {
                let addresses = texts(name, value)?.into_iter().map(|text| client_ip(text, opened_by));
                addresses.collect::<Result<_, _>>().map(Self::ClientIp)
            }
            "query" => Ok(Self::Query(text(name, value)?.to_owned())),
            "scriptVersion" => Ok(Self::ScriptVersion(text(name, value)?.to_ascii_lowercase())),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(format!(
                    "\"{shown}\" is not known; it can be sampling_rate, outcome, method, header, client_ip, query or scriptVersion"
                ))
            }
        }
    }

    fn takes(&self, trace: &Trace, draw: &mut impl FnMut() -> f64) -> bool {
        match self {
            Self::SamplingRate(rate) => draw() < *rate,
            Self::Outcome(wanted) => takes_outcome(wanted, trace.outcome),
            Self::Method(wanted) => request(trace)
                .is_some_and(|request| wanted.iter().any(|method| method.eq_ignore_ascii_case(&request.method))),
            Self::Header(name, contained) => request(trace).is_some_and(|request| {
                let value = request.headers.get(name).and_then(Value::as_str);
                value.is_some_and(|value| contained.as_ref().is_none_or(|contained| value.contains(contained)))
            }),
            Self::ClientIp(wanted) => request(trace).and_then(client).is_some_and(|address| wanted.contains(&address)),
            Self::Query(contained) => trace.logs.iter().any(|log| log_contains(log, contained)),
            Self::ScriptVersion(version) => trace.of.version.as_str() == version,
        }
    }
}

/// Clients of the platform know no `exceededLimit`: to them it is `unknown`.
fn takes_outcome(wanted: &[Outcome], outcome: Outcome) -> bool {
    wanted.contains(&outcome) || (outcome == Outcome::ExceededLimit && wanted.contains(&Outcome::Unknown))
}

fn request(trace: &Trace) -> Option<&TraceRequest> {
    match &trace.event {
        Some(TraceEvent::Fetch { request, .. }) => Some(request),
        _ => None,
    }
}

fn client(request: &TraceRequest) -> Option<IpAddr> {
    let text = request.headers.get(CLIENT_IP_HEADER)?.as_str()?;
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn log_contains(log: &TraceLog, contained: &str) -> bool {
    log.message.iter().any(|part| match part {
        Value::String(text) => text.contains(contained),
        other => other.to_string().contains(contained),
    })
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let known = OUTCOMES.iter().find(|(name, _)| *name == text).map(|(_, outcome)| *outcome);
    known.ok_or_else(|| {
        let names: Vec<_> = OUTCOMES.iter().map(|(name, _)| *name).collect();
        format!("\"{text}\" is not an outcome; outcomes are {}", names.join(", "))
    })
}

fn header(value: &Value) -> Result<Filter, String> {
    let fields = value.as_object().ok_or("header must be an object with a key, and perhaps a query")?;
    let key = text("header.key", fields.get("key").unwrap_or(&Value::Null))?;
    let query = match fields.get("query") {
        None | Some(Value::Null) => None,
        Some(query) => Some(text("header.query", query)?.to_owned()),
    };
    Ok(Filter::Header(key.to_ascii_lowercase(), query))
}

fn client_ip(text: &str, opened_by: IpAddr) -> Result<IpAddr, String> {
    if text == "self" {
        return Ok(opened_by.to_canonical());
    }
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(|address| address.to_canonical())
        .map_err(|_| format!("\"{text}\" is neither an IP address nor \"self\""))
}

fn texts<'a>(name: &str, value: &'a Value) -> Result<Vec<&'a str>, String> {
    let values = value.as_array().filter(|values| !values.is_empty() && values.len() <= ALTERNATIVES_MAX);
    let values = values.ok_or_else(|| format!("{name} must be an array of 1 to {ALTERNATIVES_MAX} texts"))?;
    values.iter().map(|value| text(name, value)).collect()
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= TEXT_BYTES_MAX);
    text.ok_or_else(|| format!("{name} must be a text of 1 to {TEXT_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tails::sessions::tests::{VERSION, fetch, scheduled};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn filters(value: Value) -> Filters {
        Filters::parse(&value, HERE).unwrap()
    }

    fn takes(value: Value, trace: &Trace) -> bool {
        filters(value).take(trace, || 0.5)
    }

    fn refused(value: Value) -> String {
        Filters::parse(&value, HERE).unwrap_err().to_string()
    }

    #[test]
    fn without_filters_everything_is_wanted() {
        assert!(takes(json!([]), &fetch()));
        assert!(takes(Value::Null, &scheduled()));
    }

    #[test]
    fn sampling_draws_for_each_event() {
        let half = filters(json!([{"sampling_rate": 0.5}]));
        let mut draws = [0.0, 0.49, 0.5, 0.99].into_iter();
        let taken: Vec<_> = (0..4).map(|_| half.take(&fetch(), || draws.next().unwrap())).collect();
        assert_eq!(taken, [true, true, false, false]);
        assert!(!filters(json!([{"sampling_rate": 0}])).take(&fetch(), || 0.0));
        assert!(filters(json!([{"sampling_rate": 1}])).take(&fetch(), || 0.999_999));
    }

    #[test]
    fn outcomes_are_told_apart() {
        let mut trace = fetch();
        assert!(takes(json!([{"outcome": ["canceled", "ok"]}]), &trace));
        let errors = json!([{"outcome": ["exception", "exceededCpu", "exceededMemory", "unknown"]}]);
        assert!(!takes(errors.clone(), &trace));
        let failures = [
            Outcome::Exception,
            Outcome::ExceededCpu,
            Outcome::ExceededMemory,
            Outcome::ExceededLimit,
            Outcome::Unknown,
        ];
        for outcome in failures {
            trace.outcome = outcome;
            assert!(takes(errors.clone(), &trace), "{outcome:?}");
        }
        trace.outcome = Outcome::Canceled;
        assert!(!takes(errors, &trace));
    }

    #[test]
    fn methods_are_those_of_requests() {
        assert!(takes(json!([{"method": ["POST", "get"]}]), &fetch()));
        assert!(!takes(json!([{"method": ["POST"]}]), &fetch()));
        assert!(!takes(json!([{"method": ["GET"]}]), &scheduled()));
    }

    #[test]
    fn a_header_is_wanted_by_name_or_by_what_it_contains() {
        assert!(takes(json!([{"header": {"key": "X-Kind"}}]), &fetch()));
        assert!(takes(json!([{"header": {"key": "x-kind", "query": "warp"}}]), &fetch()));
        assert!(takes(json!([{"header": {"key": "x-kind", "query": null}}]), &fetch()));
        assert!(!takes(json!([{"header": {"key": "x-kind", "query": "weft"}}]), &fetch()));
        assert!(!takes(json!([{"header": {"key": "x-other"}}]), &fetch()));
        assert!(!takes(json!([{"header": {"key": "x-kind"}}]), &scheduled()));
    }

    #[test]
    fn a_client_is_an_address_or_whoever_opened_the_tail() {
        assert!(takes(json!([{"client_ip": ["self"]}]), &fetch()));
        assert!(takes(json!([{"client_ip": ["2001:db8::1", "192.0.2.7"]}]), &fetch()));
        assert!(takes(json!([{"client_ip": ["::ffff:192.0.2.7"]}]), &fetch()));
        assert!(!takes(json!([{"client_ip": ["192.0.2.8"]}]), &fetch()));
        assert!(!takes(json!([{"client_ip": ["self"]}]), &scheduled()));
        let elsewhere = Filters::parse(&json!([{"client_ip": ["self"]}]), "192.0.2.8".parse().unwrap()).unwrap();
        assert!(!elsewhere.take(&fetch(), || 0.5));
    }

    #[test]
    fn a_query_is_looked_for_in_what_was_logged() {
        assert!(takes(json!([{"query": "thread"}]), &fetch()));
        assert!(takes(json!([{"query": "\"colour\":\"blue\""}]), &fetch()));
        assert!(!takes(json!([{"query": "needle"}]), &fetch()));
    }

    #[test]
    fn a_version_is_that_of_the_event() {
        assert!(takes(json!([{"scriptVersion": VERSION}]), &fetch()));
        assert!(takes(json!([{"scriptVersion": VERSION.to_uppercase()}]), &scheduled()));
        assert!(!takes(json!([{"scriptVersion": "11111111-1111-4111-8111-111111111111"}]), &fetch()));
    }

    #[test]
    fn all_filters_must_take_an_event() {
        assert!(takes(json!([{"method": ["GET"]}, {"query": "thread"}]), &fetch()));
        assert!(!takes(json!([{"method": ["GET"]}, {"query": "needle"}]), &fetch()));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert!(refused(json!({})).contains("must be an array"));
        assert!(refused(json!([{"method": ["GET"]}, "ok"])).contains("filters[1]"));
        for (bad, named) in [
            (json!([{}]), "exactly one field"),
            (json!([{"method": ["GET"], "query": "a"}]), "exactly one field"),
            (json!([{"colour": "red"}]), "\"colour\" is not known"),
            (json!([{"sampling_rate": 2}]), "from 0 to 1"),
            (json!([{"sampling_rate": "half"}]), "from 0 to 1"),
            (json!([{"outcome": ["good"]}]), "\"good\" is not an outcome"),
            (json!([{"outcome": "ok"}]), "array"),
            (json!([{"method": []}]), "array"),
            (json!([{"method": [""]}]), "text"),
            (json!([{"header": "x"}]), "object"),
            (json!([{"header": {"query": "x"}}]), "header.key"),
            (json!([{"header": {"key": "x", "query": 1}}]), "header.query"),
            (json!([{"client_ip": ["here"]}]), "\"here\" is neither"),
            (json!([{"query": ["a"]}]), "query must be a text"),
            (json!([{"query": "a".repeat(TEXT_BYTES_MAX + 1)}]), "query must be a text"),
            (json!([{"scriptVersion": 1}]), "scriptVersion must be"),
            (json!(vec![json!({"query": "a"}); FILTERS_MAX + 1]), "at most 20"),
            (json!([{"method": vec!["GET"; ALTERNATIVES_MAX + 1]}]), "array"),
        ] {
            let refused = refused(bad.clone());
            assert!(refused.contains(named), "{bad}: {refused}");
        }
    }
}
