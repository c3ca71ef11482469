//! A version before it exists: its bindings resolved, and everything in it checked against what is there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use selvedge_model::{
    AccountId, AssetsRecord, BindingKind, BindingRecord, CPU_MS_MAX, Format, ModuleRecord, SUBREQUESTS_MAX, VersionId,
    VersionRecord, WorkerName,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::account::{is_override, is_unseen};
use crate::binding::BindingInput;
use crate::bounds::{
    ANNOTATION_BYTES_MAX, ANNOTATIONS_MAX, BINDING_NAME_BYTES_MAX, BINDINGS_MAX, INHERITED_VERSIONS_MAX,
    VARIABLE_BYTES_MAX, VERSION_BYTES_MAX,
};
use crate::error::ControlError;
use crate::event::Event;
use crate::migration::class_of;
use crate::secret::{Secret, SecretsKey};
use crate::store::{View, WorkerRow};

/// What a version is to be, and what happens before and after it comes to be.
pub(crate) struct Draft {
    /// The worker, where it is there already.
    pub row: Option<WorkerRow>,
    pub version: VersionRecord,
    pub before: Vec<Event>,
    pub after: Vec<Event>,
}

/// Makes a draft of what the view says now: asked again, if something changed while the version was started.
pub(crate) type Drafting = dyn Fn(&View<'_>, u64) -> Result<Draft, ControlError> + Send + Sync;

/// What bindings are resolved with.
pub(crate) struct Resolver<'a> {
    pub view: &'a View<'a>,
    pub key: &'a SecretsKey,
    pub account: &'a AccountId,
    pub worker: &'a WorkerName,
    /// The latest version, which bindings are taken over from.
    pub base: Option<&'a VersionRecord>,
    /// New secrets, sealed, by the names of their bindings.
    pub sealed: &'a BTreeMap<String, String>,
    pub resealed: &'a Resealed,
}

/// Secrets that are taken over under another name, sealed for that: each once, because no two seals are the same, and a
/// draft that is made again of the same must be.
#[derive(Default)]
pub(crate) struct Resealed(Mutex<BTreeMap<(String, String), String>>);

impl Resealed {
    /// The seal for `name` of what is sealed as `former`.
    fn seal(
        &self,
        name: &str,
        former: &str,
        seal: impl FnOnce() -> Result<String, ControlError>,
    ) -> Result<String, ControlError> {
        let mut known = self.0.lock();
        let at = (name.to_owned(), former.to_owned());
        if let Some(sealed) = known.get(&at) {
            return Ok(sealed.clone());
        }
        let sealed = seal()?;
        known.insert(at, sealed.clone());
        Ok(sealed)
    }
}

/// Versions by their ids, as far as they are there.
type Named<'i> = BTreeMap<&'i VersionId, Option<VersionRecord>>;

impl Resolver<'_> {
    /// All bindings of the new version: those that are given, then those of the kept types; where none are named, secrets.
    pub fn resolve(
        &self,
        inputs: &[BindingInput],
        keep: Option<&[String]>,
    ) -> Result<Vec<BindingRecord>, ControlError> {
        let named = self.versions_named(inputs)?;
        let (mut bindings, mut missing) = (Vec::with_capacity(inputs.len()), Vec::new());
        for input in inputs {
            match self.resolve_one(input, &named) {
                Ok(binding) => bindings.push(binding),
                Err(error @ ControlError::InheritInvalid { .. }) => missing.push(error),
                Err(error) => return Err(error),
            }
        }
        // All of them are said, so that all can be mended at once.
        let mut missing = missing.into_iter();
        if let Some(mut first) = missing.next() {
            if let ControlError::InheritInvalid { further, .. } = &mut first {
                further.extend(missing);
            }
            return Err(first);
        }
        let names: BTreeSet<&str> = inputs.iter().map(BindingInput::name).collect();
        let kept = |binding: &&BindingRecord| {
            let kind = kind_of(binding);
            let is_kept = keep.map_or_else(|| is_secret(kind), |keep| keep.iter().any(|kept| kept == kind));
            is_kept && !names.contains(binding.name.as_str())
        };
        bindings.extend(self.base.iter().flat_map(|base| &base.bindings).filter(kept).cloned());
        Ok(bindings)
    }

    /// The versions that bindings are to be taken over from by name. Each is read once: it may be large, and named by all.
    fn versions_named<'i>(&self, inputs: &'i [BindingInput]) -> Result<Named<'i>, ControlError> {
        let mut named = Named::new();
        for input in inputs {
            let BindingInput::Inherit { name, version: Some(version), .. } = input else { continue };
            if named.contains_key(version) {
                continue;
            }
            if named.len() >= INHERITED_VERSIONS_MAX {
                let problem = format!("bindings are taken over from {INHERITED_VERSIONS_MAX} versions at most");
                let (name, further) = (name.clone(), Vec::new());
                return Err(ControlError::InheritInvalid { name, problem, further });
            }
            named.insert(version, self.view.find_version(self.account, self.worker, version)?);
        }
        Ok(named)
    }

    fn resolve_one(&self, input: &BindingInput, named: &Named<'_>) -> Result<BindingRecord, ControlError> {
        let invalid = |name: &str, problem: &str| {
            let (name, problem, further) = (name.to_owned(), problem.to_owned(), Vec::new());
            Err(ControlError::InheritInvalid { name, problem, further })
        };
        let found = |base: Option<&VersionRecord>, name: &str| {
            base.and_then(|base| base.bindings.iter().find(|binding| binding.name == name)).cloned()
        };
        match input {
            BindingInput::Given(record) => Ok(record.clone()),
            BindingInput::Secret { name, text } => self.seal(name, text),
            BindingInput::Named { name, kind } => match found(self.base, name) {
                Some(binding) if kind_of(&binding) == kind => Ok(binding),
                Some(_) => invalid(name, "in the latest version it is of another type"),
                None => invalid(name, "the latest version has no binding of this name"),
            },
            BindingInput::Inherit { name, old_name, version } => {
                let old_name = old_name.as_ref().unwrap_or(name);
                let other = match version {
                    Some(version) => match named.get(version) {
                        Some(Some(version)) => Some(version),
                        _ => return invalid(name, "the version to inherit from does not exist"),
                    },
                    None => None,
                };
                match found(other.or(self.base), old_name) {
                    // A seal is bound to the name of its binding.
                    Some(BindingRecord { kind: BindingKind::SecretText { sealed }, .. }) if old_name != name => {
                        let sealed = self.resealed.seal(name, &sealed, || {
                            let secret = self.key.open(self.account, self.worker, old_name, &sealed);
                            self.key.seal(self.account, self.worker, name, &secret.ok_or(ControlError::Seal)?)
                        })?;
                        Ok(BindingRecord { name: name.clone(), kind: BindingKind::SecretText { sealed } })
                    }
                    Some(binding) => Ok(BindingRecord { name: name.clone(), kind: binding.kind }),
                    None if self.base.is_none() => invalid(name, "the Worker has no version to inherit it from"),
                    None => invalid(name, "the version to inherit from has no binding of this name"),
                }
            }
        }
    }

    /// A secret that did not change stays sealed as it was, so that the version's content is the same, too.
    fn seal(&self, name: &str, text: &Secret) -> Result<BindingRecord, ControlError> {
        let same = self.base.iter().flat_map(|base| &base.bindings).find(|binding| {
            let BindingKind::SecretText { sealed } = &binding.kind else { return false };
            binding.name == name && self.key.open(self.account, self.worker, name, sealed).as_ref() == Some(text)
        });
        if let Some(same) = same {
            return Ok(same.clone());
        }
        let sealed = self.sealed.get(name).ok_or(ControlError::Seal)?.clone();
        Ok(BindingRecord { name: name.to_owned(), kind: BindingKind::SecretText { sealed } })
    }
}

/// The type of a binding, in the words of the API.
pub(crate) fn kind_of(binding: &BindingRecord) -> &str {
    match &binding.kind {
        BindingKind::PlainText { .. } => "plain_text",
        BindingKind::Json { .. } => "json",
        BindingKind::SecretText { .. } => "secret_text",
        BindingKind::Service { .. } => "service",
        BindingKind::Assets => "assets",
        BindingKind::VersionMetadata => "version_metadata",
        BindingKind::Ratelimit { .. } => "ratelimit",
        BindingKind::WasmModule { .. } => "wasm_module",
        BindingKind::TextBlob { .. } => "text_blob",
        BindingKind::DataBlob { .. } => "data_blob",
        BindingKind::Other { kind, .. } => kind,
    }
}

fn is_secret(kind: &str) -> bool {
    matches!(kind, "secret_text" | "secret_key")
}

/// Checks number, names and sizes of bindings as they are given, before anything is done for them.
pub(crate) fn check_inputs(inputs: &[BindingInput]) -> Result<(), ControlError> {
    check_count(inputs.len())?;
    let mut names = BTreeSet::new();
    for input in inputs {
        let name = input.name();
        if name.is_empty() {
            return Err(ControlError::BindingUnnamed);
        }
        if name.len() > BINDING_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let problem =
                format!("a binding's name has at most {BINDING_NAME_BYTES_MAX} bytes, none of them control characters");
            return Err(ControlError::invalid("bindings", problem));
        }
        if !names.insert(name) {
            let by = "There are two bindings of that name".to_owned();
            return Err(ControlError::BindingTaken { name: name.to_owned(), by });
        }
        match input {
            BindingInput::Secret { text, .. } => check_variable(name, text.expose().len())?,
            // It would be kept as it is: in the clear.
            BindingInput::Given(record) if kind_of(record) == "secret_key" => {
                return Err(ControlError::NotAvailable { what: "a secret of type secret_key".into() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses to change a secret into a binding of another type, or another into a secret: the one would be lost, and the
/// next deploy would bring the other back. Only an upload may, which says all that a version is made of.
pub(crate) fn check_types(inputs: &[BindingInput], base: &VersionRecord) -> Result<(), ControlError> {
    for input in inputs {
        let secret = match input {
            BindingInput::Secret { .. } => true,
            BindingInput::Given(_) => false,
            // Taken over as they are.
            BindingInput::Inherit { .. } | BindingInput::Named { .. } => continue,
        };
        let taken = |one: &&BindingRecord| one.name == input.name() && is_secret(kind_of(one)) != secret;
        if let Some(binding) = base.bindings.iter().find(taken) {
            let by = format!("The latest version has one of the type {}: remove that first", kind_of(binding));
            return Err(ControlError::BindingTaken { name: binding.name.clone(), by });
        }
    }
    Ok(())
}

fn check_count(count: usize) -> Result<(), ControlError> {
    let count_max = BINDINGS_MAX;
    if count > count_max { Err(ControlError::TooManyBindings { count, count_max }) } else { Ok(()) }
}

pub(crate) fn check_variable(name: &str, bytes: usize) -> Result<(), ControlError> {
    if bytes > VARIABLE_BYTES_MAX {
        let (bytes, bytes_max) = (bytes as u64, VARIABLE_BYTES_MAX as u64);
        return Err(ControlError::VariableTooLarge { name: name.to_owned(), bytes, bytes_max });
    }
    Ok(())
}

/// Checks that what bindings lead to is there. `classes` are the worker's own Durable Objects.
pub(crate) fn check_bindings(
    view: &View<'_>,
    version: &VersionRecord,
    classes: &BTreeSet<String>,
) -> Result<(), ControlError> {
    check_count(version.bindings.len())?;
    let mut classes = Classes { own: classes, others: BTreeMap::new() };
    for binding in &version.bindings {
        let name = &binding.name;
        match &binding.kind {
            BindingKind::PlainText { text } => check_variable(name, text.len())?,
            BindingKind::Json { json } => check_variable(name, json.to_string().len())?,
            BindingKind::Service { service, .. } => check_service(view, version, name, service)?,
            BindingKind::WasmModule { part } | BindingKind::TextBlob { part } | BindingKind::DataBlob { part }
                if !version.modules.iter().any(|module| module.name == *part) =>
            {
                let problem = format!("the binding {name} is of the part {part}, which the upload does not have");
                return Err(ControlError::invalid("bindings", problem));
            }
            BindingKind::Ratelimit { simple, .. } if !matches!(simple.period, 10 | 60) || simple.limit == 0 => {
                let problem =
                    format!("the rate limit {name} must have a limit above 0 and a period of 10 or 60 seconds");
                return Err(ControlError::invalid("bindings", problem));
            }
            BindingKind::Assets if version.assets.is_none() => {
                let problem = format!("the binding {name} is of assets, which the upload does not have");
                return Err(ControlError::invalid("bindings", problem));
            }
            BindingKind::Other { kind, fields } if kind == "durable_object_namespace" => {
                check_class(view, version, name, fields, &mut classes)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_service(
    view: &View<'_>,
    version: &VersionRecord,
    name: &str,
    service: &WorkerName,
) -> Result<(), ControlError> {
    if *service != version.worker && view.find_worker(&version.account, service)?.is_none() {
        return Err(ControlError::ServiceMissing { name: name.to_owned(), service: service.to_string() });
    }
    Ok(())
}

/// The classes that are Durable Objects.
struct Classes<'a> {
    /// Of the worker itself.
    own: &'a BTreeSet<String>,
    /// Of other workers, as far as they were asked for: a worker may have thousands, and all bindings may lead there.
    others: BTreeMap<WorkerName, BTreeSet<String>>,
}

fn check_class(
    view: &View<'_>,
    version: &VersionRecord,
    name: &str,
    fields: &Map<String, Value>,
    classes: &mut Classes<'_>,
) -> Result<(), ControlError> {
    let Some(class) = fields.get("class_name").and_then(Value::as_str) else { return Ok(()) };
    let known = match fields.get("script_name").and_then(Value::as_str) {
        Some(script) if script != version.worker.as_str() => {
            let missing = || ControlError::ServiceMissing { name: name.to_owned(), service: script.to_owned() };
            let script: WorkerName = script.parse().map_err(|_| missing())?;
            let theirs = match classes.others.entry(script) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    check_service(view, version, name, new.key())?;
                    let theirs = view.namespaces_of(&version.account, new.key())?;
                    new.insert(theirs.iter().map(|namespace| class_of(namespace).to_owned()).collect())
                }
            };
            theirs.contains(class)
        }
        _ => classes.own.contains(class),
    };
    if known {
        return Ok(());
    }
    Err(ControlError::ObjectClassMissing { name: name.to_owned(), class: class.to_owned() })
}

pub(crate) fn check_annotations(annotations: &BTreeMap<String, String>) -> Result<(), ControlError> {
    let invalid = |problem: String| Err(ControlError::invalid("annotations", problem));
    if annotations.len() > ANNOTATIONS_MAX {
        return invalid(format!("there are {}: at most {ANNOTATIONS_MAX} are allowed", annotations.len()));
    }
    for (key, value) in annotations {
        if key.len() > 128 || key.chars().any(is_unseen) {
            return invalid("a name among them is too long, or has control characters".into());
        }
        if value.chars().any(is_override) {
            return invalid(format!("{key} has characters in it that change the direction of text: take them out"));
        }
        if value.len() > ANNOTATION_BYTES_MAX {
            return invalid(format!("{key} has {} bytes: at most {ANNOTATION_BYTES_MAX} are allowed", value.len()));
        }
    }
    Ok(())
}

/// An alias makes a host name together with its worker's: one label.
pub(crate) fn check_alias(alias: &str, worker: &WorkerName) -> Result<(), ControlError> {
    let plain = alias.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let ends = alias.starts_with(|first: char| first.is_ascii_lowercase()) && !alias.ends_with('-');
    if !plain || !ends {
        let problem = "an alias has letters a-z, digits and -, begins with a letter and does not end with -";
        return Err(ControlError::invalid("workers/alias", problem));
    }
    let room = 63usize.saturating_sub(worker.as_str().len() + 1);
    if alias.len() > room {
        let problem = format!("with this Worker's name, an alias may have {room} characters at most");
        return Err(ControlError::invalid("workers/alias", problem));
    }
    Ok(())
}

/// Refuses an alias whose host name would be that of another worker.
pub(crate) fn check_alias_host(view: &View<'_>, version: &VersionRecord) -> Result<(), ControlError> {
    let Some(alias) = version.annotations.get("workers/alias") else { return Ok(()) };
    // What is no worker's name is nobody's host name.
    let Ok(other) = format!("{alias}-{}", version.worker).parse::<WorkerName>() else { return Ok(()) };
    if view.find_worker(&version.account, &other)?.is_none() {
        return Ok(());
    }
    let problem = format!("its host name would be that of the Worker {other}: choose another alias");
    Err(ControlError::invalid("workers/alias", problem))
}

/// The limits that a worker has of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnLimits {
    /// CPU time of one event, in milliseconds.
    pub cpu_ms: Option<u32>,
    /// Subrequests of one event.
    pub subrequests: Option<u32>,
}

/// What metadata says under `limits`.
pub(crate) fn read_limits(limits: Option<&Value>) -> Result<OwnLimits, ControlError> {
    let number = |key: &str, max: u32| {
        let Some(value) = limits.and_then(|limits| limits.get(key)).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (1..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let problem = format!("it must be a whole number from 1 to {max}");
                Err(ControlError::invalid(format!("limits.{key}"), problem))
            }
        }
    };
    Ok(OwnLimits { cpu_ms: number("cpu_ms", CPU_MS_MAX)?, subrequests: number("subrequests", SUBREQUESTS_MAX)? })
}

/// Sets the hash of what a version is made of, and refuses one whose record is too large.
pub(crate) fn finish(version: &mut VersionRecord) -> Result<(), ControlError> {
    #[derive(Serialize)]
    struct Content<'a> {
        format: Format,
        main: &'a str,
        modules: &'a [ModuleRecord],
        source_maps: Vec<(&'a str, &'a str)>,
        compatibility_date: &'a str,
        compatibility_flags: &'a [String],
        bindings: &'a [BindingRecord],
        cpu_ms: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subrequests: Option<u32>,
        assets: Option<&'a AssetsRecord>,
        extra: &'a Map<String, Value>,
    }
    let content = Content {
        format: version.format,
        main: &version.main,
        modules: &version.modules,
        source_maps: version.source_maps.iter().map(|map| (map.module.as_str(), map.blob.as_str())).collect(),
        compatibility_date: &version.compatibility_date,
        compatibility_flags: &version.compatibility_flags,
        bindings: &version.bindings,
        cpu_ms: version.cpu_ms,
        subrequests: version.subrequests,
        assets: version.assets.as_ref(),
        extra: &version.extra,
    };
    let text = serde_json::to_vec(&content)
        .map_err(|error| ControlError::View { action: "describe a version", source: error.into() })?;
    if text.len() > VERSION_BYTES_MAX {
        let (bytes, bytes_max) = (text.len() as u64, VERSION_BYTES_MAX as u64);
        let what = "what the version says of itself (bindings, names of modules, metadata)".into();
        return Err(ControlError::ScriptTooLarge { what, bytes, bytes_max });
    }
    version.content = blake3::hash(&text).to_hex().to_string();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_make_one_label_with_their_worker() {
        let worker: WorkerName = "shop".parse().unwrap();
        for alias in ["staging", "a", "pr-12", &"a".repeat(58)] {
            assert!(check_alias(alias, &worker).is_ok(), "{alias}");
        }
        for alias in ["", "-a", "a-", "1a", "A", "a.b", "a_b", &"a".repeat(59)] {
            assert!(check_alias(alias, &worker).is_err(), "{alias}");
        }
    }

    #[test]
    fn more_bindings_than_a_version_may_have_are_refused_before_anything_is_done_for_them() {
        let input = |at: usize| BindingInput::Named { name: format!("B{at}"), kind: "kv_namespace".into() };
        let inputs: Vec<_> = (0..=BINDINGS_MAX).map(input).collect();
        assert!(check_inputs(&inputs[..BINDINGS_MAX]).is_ok());
        assert!(matches!(check_inputs(&inputs), Err(ControlError::TooManyBindings { .. })));
    }

    #[test]
    fn limits_of_a_worker_are_whole_numbers_up_to_what_a_worker_may_ask_for() {
        let read = |text: &str| read_limits(Some(&serde_json::from_str(text).unwrap()));
        let own = OwnLimits { cpu_ms: Some(300_000), subrequests: Some(10_000_000) };
        assert_eq!(read(r#"{"cpu_ms":300000,"subrequests":10000000}"#).unwrap(), own);
        assert_eq!(read(r#"{"cpu_ms":null}"#).unwrap(), OwnLimits::default());
        for (key, above) in [("cpu_ms", "300001"), ("subrequests", "10000001")] {
            for bad in ["0", "-1", "1.5", "\"9\"", "1e9", "18446744073709551615", above] {
                let error = read(&format!("{{\"{key}\":{bad}}}")).unwrap_err().to_string();
                assert!(error.contains(key), "{error}");
            }
        }
    }
}
