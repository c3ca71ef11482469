//! `vars`, `services`, `version_metadata`, `ratelimits` and `secrets`: what `env` holds. None of it is inherited by
//! environments.

use std::collections::BTreeMap;

use crate::{
    error::ProblemKind,
    name::{BindingName, WorkerName},
    project::{RateLimit, Service, Var},
    reader::{At, Fields, Placed, Reader},
    tree::Value,
    unavailable::{self, BindingKind, UnavailableBinding},
    warning::WarningKind,
};

#[derive(Debug, Default)]
pub(crate) struct Bindings {
    pub(crate) vars: BTreeMap<BindingName, Var>,
    pub(crate) services: Vec<Service>,
    pub(crate) version_metadata: Option<BindingName>,
    pub(crate) rate_limits: Vec<RateLimit>,
    pub(crate) unavailable: Vec<UnavailableBinding>,
    /// `secrets.required`: where given, no other secret is read.
    pub(crate) secrets_required: Option<Vec<Placed<BindingName>>>,
    /// Every name bound above, with where; what `assets` and the secrets add is checked against it.
    pub(crate) taken: Taken,
}

/// Which key took which name first.
#[derive(Debug, Default)]
pub(crate) struct Taken(BTreeMap<BindingName, String>);

pub(crate) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Bindings {
    let mut taken = Taken::default();
    let vars = fields.get("vars").and_then(|at| vars(reader, &at, &mut taken));
    let services = fields.get("services").and_then(|at| reader.each(&at, |reader, at| service(reader, at, &mut taken)));
    let version_metadata = fields.get("version_metadata").and_then(|at| version_metadata(reader, &at, &mut taken));
    let rate_limits =
        fields.get("ratelimits").and_then(|at| reader.each(&at, |reader, at| rate_limit(reader, at, &mut taken)));
    let mut rate_limits = rate_limits.unwrap_or_default();
    let mut unavailable = unavailable::read(reader, fields, &mut taken);
    // Configs from before there was a key of their own have them among the unsafe ones.
    unavailable.retain(|binding| match unsafe_rate_limit(binding) {
        Some(limit) => {
            rate_limits.push(limit);
            false
        }
        None => true,
    });
    let secrets_required = fields.get("secrets").and_then(|at| secrets_required(reader, &at));
    Bindings {
        vars: vars.unwrap_or_default(),
        services: services.unwrap_or_default(),
        version_metadata,
        rate_limits,
        unavailable,
        secrets_required,
        taken,
    }
}

fn vars(reader: &mut Reader<'_>, at: &At<'_>, taken: &mut Taken) -> Option<BTreeMap<BindingName, Var>> {
    let mut vars = BTreeMap::new();
    for (entry, at) in reader.entries(at)? {
        let name = reader.key_name(entry, &at);
        let var = match &at.node.value {
            Value::String(text) => Some(Var::Text(text.clone())),
            _ => reader.json(&at).map(Var::Json),
        };
        if let (Some(name), Some(var)) = (name, var)
            && taken.take(reader, &at, &name)
        {
            vars.insert(name, var);
        }
    }
    Some(vars)
}

fn service(reader: &mut Reader<'_>, at: &At<'_>, taken: &mut Taken) -> Option<Service> {
    let mut fields = reader.fields(at)?;
    let binding = fields.require(reader, "binding", "the name of the binding").and_then(|at| taken.name(reader, &at));
    let service =
        fields.require(reader, "service", "the name of a worker").and_then(|at| reader.name::<WorkerName>(&at));
    let entrypoint = fields.get("entrypoint").and_then(|at| reader.text(&at));
    let props = fields.get("props").and_then(|at| reader.json_object(&at));
    if let Some(at) = fields.get("remote") {
        reader.boolean(&at);
    }
    if let Some(at) = fields.get("environment") {
        reader.string(&at);
        let reason = "name the worker of that environment in `service`, as <worker>-<environment>";
        reader.warn(at.node.at, at.key, WarningKind::NotSupported { reason });
    }
    fields.finish(reader);
    Some(Service { binding: binding?, service: service?, entrypoint, props })
}

fn version_metadata(reader: &mut Reader<'_>, at: &At<'_>, taken: &mut Taken) -> Option<BindingName> {
    let mut fields = reader.fields(at)?;
    let binding = fields.require(reader, "binding", "the name of the binding");
    fields.finish(reader);
    taken.name(reader, &binding?)
}

fn rate_limit(reader: &mut Reader<'_>, at: &At<'_>, taken: &mut Taken) -> Option<RateLimit> {
    let mut fields = reader.fields(at)?;
    let binding = fields.require(reader, "name", "the name of the binding").and_then(|at| taken.name(reader, &at));
    let namespace_id = fields.require(reader, "namespace_id", "a string").and_then(|at| reader.text(&at));
    let simple = fields.require(reader, "simple", "an object with `limit` and `period`");
    let simple = simple.and_then(|at| uses_and_period(reader, &at));
    fields.finish(reader);
    let (limit, period) = simple?;
    Some(RateLimit { binding: binding?, namespace_id: namespace_id?, limit, period })
}

fn uses_and_period(reader: &mut Reader<'_>, at: &At<'_>) -> Option<(u32, u32)> {
    const PERIODS: &str = "10 or 60 seconds";
    let mut fields = reader.fields(at)?;
    let limit = fields.require(reader, "limit", "the number of uses in one period");
    let limit = limit.and_then(|at| reader.integer(&at, 1..=u64::from(u32::MAX)));
    let period = fields.require(reader, "period", PERIODS);
    let period = period.and_then(|at| match reader.integer(&at, 10..=60)? {
        period @ (10 | 60) => Some(period),
        _ => reader.mistyped(&at, PERIODS),
    });
    fields.finish(reader);
    Some((u32::try_from(limit?).ok()?, u32::try_from(period?).ok()?))
}

fn unsafe_rate_limit(binding: &UnavailableBinding) -> Option<RateLimit> {
    let fields = &binding.fields;
    if binding.kind != BindingKind::Unsafe || fields.get("type")?.as_str()? != "ratelimit" {
        return None;
    }
    let simple = fields.get("simple")?;
    let number = |key: &str| u32::try_from(simple.get(key)?.as_u64()?).ok();
    Some(RateLimit {
        binding: binding.name.clone(),
        namespace_id: fields.get("namespace_id")?.as_str()?.to_owned(),
        limit: number("limit")?,
        period: number("period")?,
    })
}

fn secrets_required(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<Placed<BindingName>>> {
    let mut fields = reader.fields(at)?;
    let required = fields.get("required").and_then(|at| {
        reader.each(&at, |reader, at| {
            let name = reader.name(at)?;
            Some(reader.placed(at, name))
        })
    });
    fields.finish(reader);
    required
}

// === impl Taken ===

impl Taken {
    /// A binding's name, unless it is invalid or taken.
    pub(crate) fn name(&mut self, reader: &mut Reader<'_>, at: &At<'_>) -> Option<BindingName> {
        let name = reader.name(at)?;
        self.take(reader, at, &name).then_some(name)
    }

    pub(crate) fn take(&mut self, reader: &mut Reader<'_>, at: &At<'_>, name: &BindingName) -> bool {
        if let Err(kind) = self.claim(name, &at.key) {
            reader.problem(at, kind);
            return false;
        }
        true
    }

    pub(crate) fn take_placed(&mut self, reader: &mut Reader<'_>, name: &Placed<BindingName>) -> bool {
        if let Err(kind) = self.claim(&name.value, &name.key) {
            reader.problem_at(name.at.clone(), name.key.clone(), kind);
            return false;
        }
        true
    }

    fn claim(&mut self, name: &BindingName, key: &str) -> Result<(), ProblemKind> {
        if let Some(first) = self.0.get(name) {
            return Err(ProblemKind::BindingTaken { name: name.to_string(), first: first.clone() });
        }
        self.0.insert(name.clone(), key.to_owned());
        Ok(())
    }

    /// The key that took the name, if any did.
    pub(crate) fn holder(&self, name: &BindingName) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
