//! `vars`, `services`, `version_metadata` and `secrets`: what `env` holds. None of it is inherited by environments.

use std::collections::BTreeMap;

use crate::{
    error::ProblemKind,
    name::{BindingName, WorkerName},
    project::{Service, Var},
    reader::{At, Fields, Placed, Reader},
    tree::Value,
    unavailable::{self, UnavailableBinding},
    warning::WarningKind,
};

#[derive(Debug, Default)]
pub(crate) struct Bindings {
    pub(crate) vars: BTreeMap<BindingName, Var>,
    pub(crate) services: Vec<Service>,
    pub(crate) version_metadata: Option<BindingName>,
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
    let unavailable = unavailable::read(reader, fields, &mut taken);
    let secrets_required = fields.get("secrets").and_then(|at| secrets_required(reader, &at));
    Bindings {
        vars: vars.unwrap_or_default(),
        services: services.unwrap_or_default(),
        version_metadata,
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
