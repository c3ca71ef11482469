//! How requests and events reach the worker: `routes`, `triggers`, `dev`.

use crate::{
    error::ProblemKind,
    name::Cron,
    project::{Dev, DevAddress, Route, Zone},
    reader::{At, Fields, Reader, Type},
    tree::Value,
    warning::WarningKind,
};

/// `route` or `routes`; both is a problem.
pub(crate) fn routes(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Vec<Route>> {
    let one = fields.get("route");
    let many = fields.get("routes");
    if let (Some(one), Some(_)) = (&one, &many) {
        reader.problem(one, ProblemKind::Exclusive { other: "routes" });
        return None;
    }
    match (one, many) {
        (Some(at), _) => Some(vec![route(reader, &at)?]),
        (None, Some(at)) => reader.each(&at, route),
        (None, None) => None,
    }
}

fn route(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Route> {
    if let Value::String(_) = &at.node.value {
        return Some(Route { pattern: reader.text(at)?, zone: None, custom_domain: false });
    }
    let Value::Object(_) = &at.node.value else {
        return reader.mistyped(at, "a pattern such as \"example.com/*\", or an object with `pattern`");
    };
    let mut fields = reader.fields(at)?;
    let pattern =
        fields.require(reader, "pattern", "a pattern such as \"example.com/*\"").and_then(|at| reader.text(&at));
    let id_at = fields.get("zone_id");
    let name_at = fields.get("zone_name");
    if let (Some(id), Some(_)) = (&id_at, &name_at) {
        reader.problem(id, ProblemKind::Exclusive { other: "zone_name" });
    }
    let id = id_at.and_then(|at| reader.text(&at)).map(Zone::Id);
    let name = name_at.and_then(|at| reader.text(&at)).map(Zone::Name);
    let custom_domain = fields.get("custom_domain").and_then(|at| reader.boolean(&at));
    // What a platform refuses, because it would do otherwise.
    for (key, available, expected) in [
        ("enabled", true, "true: a domain that is not to answer is left out"),
        ("previews_enabled", false, "false: previews are at the platform's own domain"),
    ] {
        if let Some(at) = fields.get(key)
            && reader.boolean(&at) == Some(!available)
        {
            let _: Option<()> = reader.mistyped(&at, expected);
        }
    }
    fields.finish(reader);
    Some(Route { pattern: pattern?, zone: id.or(name), custom_domain: custom_domain.unwrap_or(false) })
}

/// `None` where `triggers` says nothing of them.
pub(crate) fn crons(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<Cron>> {
    let mut fields = reader.fields(at)?;
    let crons = fields.get("crons").and_then(|at| reader.each(&at, cron));
    fields.finish(reader);
    crons
}

fn cron(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Cron> {
    let found = reader.string(at)?;
    let cron = Cron::parse(&found);
    if cron.is_none() {
        reader.problem(at, ProblemKind::Cron { found });
    }
    cron
}

pub(crate) fn dev(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Dev> {
    const IGNORED: &[(&str, Type)] = &[
        ("inspector_port", Type::Number),
        ("inspector_ip", Type::Text),
        ("enable_containers", Type::Flag),
        ("container_engine", Type::Any),
        ("generate_types", Type::Flag),
    ];
    let mut fields = reader.fields(at)?;
    let port = fields
        .get("port")
        .and_then(|at| reader.integer(&at, 0..=u64::from(u16::MAX)))
        .and_then(|port| u16::try_from(port).ok());
    let address = fields.get("ip").and_then(|at| address(reader, &at));
    if let Some(at) = fields.get("host")
        && reader.text(&at).is_some()
    {
        let reason = "a worker sees requests for the host that its client names";
        reader.warn(at.node.at, at.key, WarningKind::NotSupported { reason });
    }
    for key in ["local_protocol", "upstream_protocol"] {
        if let Some(at) = fields.get(key) {
            reader.choice(&at, &[("http", ()), ("https", ())]);
        }
    }
    for (key, expected) in IGNORED {
        if let Some(at) = fields.get(key) {
            reader.check(&at, *expected);
        }
    }
    fields.finish(reader);
    Some(Dev { port, address })
}

fn address(reader: &mut Reader<'_>, at: &At<'_>) -> Option<DevAddress> {
    let text = reader.string(at)?;
    match text.as_str() {
        "localhost" => Some(DevAddress::Localhost),
        "*" => Some(DevAddress::Any),
        text => match text.parse() {
            Ok(ip) => Some(DevAddress::Ip(ip)),
            Err(_) => reader.mistyped(at, "an IP address, \"localhost\" or \"*\""),
        },
    }
}
