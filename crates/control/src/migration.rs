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
    /// Of other workers, as far as classes come from there: each asked for once, and less what was taken.
    theirs: BTreeMap<WorkerName, Vec<Resource>>,
    /// How many the account has, those that were made here among them, once somebody wanted to know.
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
            let member = |key: &str| export.get(key).and_then(Value::as_str);
            let kind = member("type");
            if let Some(state) = member("state").filter(|state| kind == Some("durable-object") && *state != "created") {
                let what = format!("`exports` with the state {state:?} (`migrations` can do the same)");
                return Err(ControlError::NotAvailable { what });
            }
            if kind == Some("durable-object") && !self.namespaces.contains_key(class) {
                self.create(class, member("storage") != Some("legacy-kv"))?;
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
            let namespace = self.take_from(&transferred.from_script, &transferred.from)?;
            self.give(&transferred.to, namespace)?;
        }
        Ok(())
    }

    /// Takes a class from another worker.
    fn take_from(&mut self, script: &WorkerName, class: &str) -> Result<Resource, ControlError> {
        if script == self.worker {
            let problem = format!(
                "the class {class} cannot be transferred from the Worker {script} to itself: renamed_classes renames it"
            );
            return Err(invalid(problem));
        }
        let theirs = match self.theirs.entry(script.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let theirs = self.view.namespaces_of(self.account, new.key())?;
                new.insert(theirs)
            }
        };
        let found = theirs.iter().position(|namespace| class_of(namespace) == class);
        let missing = || invalid(format!("the Worker {script} has no Durable Object class {class} to transfer"));
        found.map(|at| theirs.remove(at)).ok_or_else(missing)
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
        if count >= RESOURCES_MAX {
            return Err(ControlError::TooMany { what: "Durable Object namespaces", count_max: RESOURCES_MAX });
        }
        self.count = Some(count + 1);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{By, FORM, Logged};
    use crate::store::{Store, apply};
    use crate::upload::TransferredClass;

    fn worker(name: &str) -> WorkerName {
        name.parse().unwrap()
    }

    /// Makes classes of a worker, in the view.
    fn create(view: &View<'_>, name: &str, classes: impl IntoIterator<Item = String>) {
        let (account, name) = (AccountId::local(), worker(name));
        let mut plan = Plan::begin(view, &account, &name, 0).unwrap();
        for class in classes {
            plan.create(&class, true).unwrap();
        }
        for event in plan.end().1 {
            apply(view, 1, &Logged { form: FORM, at_ms: 0, by: By::platform(), event }).unwrap();
        }
    }

    /// Does something with a view that is empty.
    async fn with_view(act: impl FnOnce(&View<'_>) + Send + 'static) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let acting = move |view: &View<'_>| {
            act(view);
            Ok(())
        };
        store.write(acting).await.unwrap();
    }

    #[tokio::test]
    async fn a_class_is_transferred_once_and_not_to_where_it_is() {
        with_view(|view| {
            create(view, "from", ["A".to_owned()]);
            let account = AccountId::local();
            let transfer = |to: &WorkerName, classes: &[&str]| {
                let transferred = |class: &&str| TransferredClass {
                    from: "A".into(),
                    from_script: worker("from"),
                    to: (*class).to_owned(),
                };
                let transferred_classes = classes.iter().map(transferred).collect();
                let mut plan = Plan::begin(view, &account, to, 0).unwrap();
                plan.step(&MigrationStep { transferred_classes, ..MigrationStep::default() })?;
                Ok::<_, ControlError>(plan.end())
            };
            let twice = transfer(&worker("to"), &["B", "C"]).unwrap_err().to_string();
            assert!(twice.contains("has no Durable Object class A to transfer"), "{twice}");
            let to_itself = transfer(&worker("from"), &["B"]).unwrap_err().to_string();
            assert!(to_itself.contains("renamed_classes"), "{to_itself}");
            let (classes, events) = transfer(&worker("to"), &["B"]).unwrap();
            assert_eq!(classes.into_iter().collect::<Vec<_>>(), ["B"]);
            let [Event::ResourceSaved { resource, .. }] = events.as_slice() else { panic!("{events:?}") };
            assert_eq!(resource.name, "to/B");
        })
        .await;
    }

    #[tokio::test]
    async fn a_state_of_an_export_that_is_not_available_is_refused() {
        with_view(|view| {
            let (account, own) = (AccountId::local(), worker("own"));
            let applied = |export: Value| {
                let metadata = json!({ "main_module": "a.js", "exports": { "A": export } });
                let metadata: Metadata = serde_json::from_value(metadata).unwrap();
                let mut plan = Plan::begin(view, &account, &own, 0).unwrap();
                plan.apply(&metadata, None)?;
                Ok::<_, ControlError>(plan.end().0.into_iter().collect::<Vec<_>>())
            };
            for state in ["deleted", "renamed", "transferred", "expecting-transfer"] {
                let refused = applied(json!({ "type": "durable-object", "state": state })).unwrap_err();
                assert_eq!(refused.code(), 10015);
                assert!(refused.to_string().contains(state), "{refused}");
            }
            let created = json!({ "type": "durable-object", "storage": "sqlite", "state": "created" });
            assert_eq!(applied(created).unwrap(), ["A"]);
        })
        .await;
    }

    #[tokio::test]
    async fn a_workers_own_classes_are_counted_once() {
        with_view(|view| {
            const FIRST: u64 = 6_000;
            create(view, "one", (0..FIRST).map(|class| format!("C{class}")));
            create(view, "one", (FIRST..RESOURCES_MAX).map(|class| format!("C{class}")));
            let (account, other) = (AccountId::local(), worker("other"));
            let refused = Plan::begin(view, &account, &other, 0).unwrap().create("A", true).unwrap_err();
            assert!(matches!(refused, ControlError::TooMany { .. }), "{refused}");
        })
        .await;
    }
}
