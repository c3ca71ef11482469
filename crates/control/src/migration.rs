//! Which classes of a worker are Durable Objects: changed by migrations, or said by its exports.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use selvedge_model::{AccountId, WorkerName};
use serde_json::{Map, Value, json};

use crate::bounds::{MIGRATION_TAG_BYTES_MAX, RESOURCES_MAX};
use crate::control::random_id;
use crate::error::ControlError;
use crate::event::Event;
use crate::resource::{Resource, ResourceKind};
use crate::store::View;
use crate::upload::{Metadata, MigrationStep, Migrations};

/// The longest name of a class, in bytes.
const CLASS_BYTES_MAX: usize = 255;
/// Classes that the migrations of one upload may change.
const CHANGES_MAX: usize = 1_000;

/// The namespaces of a worker on the way from what they are to what they become.
pub(crate) struct Plan<'a> {
    view: &'a View<'a>,
    account: &'a AccountId,
    worker: &'a WorkerName,
    at_ms: u64,
    /// By class.
    namespaces: BTreeMap<String, Resource>,
    /// Of other workers, as far as classes come from there: each asked for once.
    theirs: BTreeMap<WorkerName, Vec<Resource>>,
    /// How many the account has, once somebody wanted to know.
    count: Option<u64>,
    events: Vec<Event>,
}

impl<'a> Plan<'a> {
    pub fn begin(
        view: &'a View<'a>,
        account: &'a AccountId,
        worker: &'a WorkerName,
        at_ms: u64,
    ) -> Result<Self, ControlError> {
        let namespaces = view
            .namespaces_of(account, worker)?
            .into_iter()
            .map(|namespace| (class_of(&namespace).to_owned(), namespace))
            .collect();
        let (theirs, count, events) = (BTreeMap::new(), None, Vec::new());
        Ok(Self { view, account, worker, at_ms, namespaces, theirs, count, events })
    }

    /// What an upload asks for. `tag` is that of the migration before.
    pub fn apply(&mut self, metadata: &Metadata, tag: Option<&str>) -> Result<(), ControlError> {
        if let Some(migrations) = &metadata.migrations {
            self.migrate(migrations, tag)?;
        }
        for (class, export) in metadata.exports.iter().flatten() {
            let kind = export.get("type").and_then(Value::as_str);
            if kind == Some("durable-object") && !self.namespaces.contains_key(class) {
                self.create(class, export.get("storage").and_then(Value::as_str) != Some("legacy-kv"))?;
            }
        }
        Ok(())
    }

    /// The classes that are Durable Objects then, and what happens for it.
    pub fn end(self) -> (BTreeSet<String>, Vec<Event>) {
        (self.namespaces.into_keys().collect(), self.events)
    }

    fn migrate(&mut self, migrations: &Migrations, tag: Option<&str>) -> Result<(), ControlError> {
        if migrations.old_tag.as_deref() != tag {
            let (current, expected) = (tag.map(str::to_owned), migrations.old_tag.clone());
            return Err(ControlError::MigrationTag { current, expected });
        }
        if migrations.new_tag.as_ref().is_some_and(|tag| tag.len() > MIGRATION_TAG_BYTES_MAX) {
            return Err(invalid(format!("its new_tag is longer than {MIGRATION_TAG_BYTES_MAX} bytes")));
        }
        let changes: usize = migrations.steps.iter().chain([&migrations.step]).map(changes_of).sum();
        if changes > CHANGES_MAX {
            let problem = format!("it changes {changes} classes, and one upload may change {CHANGES_MAX}");
            return Err(ControlError::MigrationInvalid { problem });
        }
        for step in migrations.steps.iter().chain([&migrations.step]) {
            self.step(step)?;
        }
        let tag = migrations.new_tag.clone().or_else(|| tag.map(str::to_owned));
        self.events.push(Event::Migrated { account: self.account.clone(), worker: self.worker.clone(), tag });
        Ok(())
    }

    fn step(&mut self, step: &MigrationStep) -> Result<(), ControlError> {
        for (classes, sqlite) in [(&step.new_classes, false), (&step.new_sqlite_classes, true)] {
            for class in classes {
                self.create(class, sqlite)?;
            }
        }
        for renamed in &step.renamed_classes {
            let namespace = self.take(&renamed.from)?;
            self.give(&renamed.to, namespace)?;
        }
        for class in &step.deleted_classes {
            let namespace = self.take(class)?;
            let (account, kind) = (self.account.clone(), ResourceKind::DurableObjectNamespace);
            let (id, name) = (namespace.id, namespace.name);
            self.events.push(Event::ResourceDeleted { account, kind, id, name });
        }
        for transferred in &step.transferred_classes {
            let theirs = match self.theirs.entry(transferred.from_script.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let theirs = self.view.namespaces_of(self.account, new.key())?;
                    new.insert(theirs)
                }
            };
            let found = theirs.iter().find(|namespace| class_of(namespace) == transferred.from).cloned();
            let namespace = found.ok_or_else(|| {
                let (class, script) = (&transferred.from, &transferred.from_script);
                invalid(format!("the Worker {script} has no Durable Object class {class} to transfer"))
            })?;
            self.give(&transferred.to, namespace)?;
        }
        Ok(())
    }

    fn take(&mut self, class: &str) -> Result<Resource, ControlError> {
        self.namespaces.remove(class).ok_or_else(|| invalid(format!("the Worker has no Durable Object class {class}")))
    }

    fn create(&mut self, class: &str, sqlite: bool) -> Result<(), ControlError> {
        let kind = ResourceKind::DurableObjectNamespace;
        let count = match self.count {
            Some(count) => count,
            None => *self.count.insert(self.view.count_resources(self.account, kind)?),
        };
        if count + self.namespaces.len() as u64 >= RESOURCES_MAX {
            return Err(ControlError::TooMany { what: "Durable Object namespaces", count_max: RESOURCES_MAX });
        }
        let mut data = Map::new();
        data.insert("use_sqlite".into(), json!(sqlite));
        let (created_ms, modified_ms) = (self.at_ms, self.at_ms);
        self.give(class, Resource { kind, id: random_id(), name: String::new(), created_ms, modified_ms, data })
    }

    /// A namespace becomes that of a class of the worker.
    fn give(&mut self, class: &str, mut namespace: Resource) -> Result<(), ControlError> {
        if !is_class(class) {
            let shown: String = class.chars().take(80).collect();
            return Err(invalid(format!("\"{shown}\" is not the name of a class")));
        }
        if self.namespaces.contains_key(class) {
            return Err(invalid(format!("the class {class} is a Durable Object already")));
        }
        // No worker and no class has a `/` in its name: two namespaces never have one name.
        namespace.name = format!("{}/{class}", self.worker);
        namespace.modified_ms = self.at_ms;
        namespace.data.insert("script".into(), json!(self.worker));
        namespace.data.insert("class".into(), json!(class));
        let event = Event::ResourceSaved { account: self.account.clone(), resource: namespace.clone() };
        self.events.push(event);
        self.namespaces.insert(class.to_owned(), namespace);
        Ok(())
    }
}

/// The class that a namespace is of.
pub(crate) fn class_of(namespace: &Resource) -> &str {
    namespace.data.get("class").and_then(Value::as_str).unwrap_or_default()
}

fn is_class(name: &str) -> bool {
    (1..=CLASS_BYTES_MAX).contains(&name.len())
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '$'))
}

fn invalid(problem: String) -> ControlError {
    ControlError::MigrationInvalid { problem }
}

/// How many classes a step changes.
fn changes_of(step: &MigrationStep) -> usize {
    let MigrationStep { new_classes, new_sqlite_classes, renamed_classes, deleted_classes, transferred_classes } = step;
    let lists = [new_classes.len(), new_sqlite_classes.len(), renamed_classes.len(), deleted_classes.len()];
    lists.iter().sum::<usize>() + transferred_classes.len()
}
