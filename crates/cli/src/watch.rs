//! Tells when a file that a version was made from changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Editors write a file in several steps: changes this close together are one.
const SETTLE: Duration = Duration::from_millis(15);
/// Changes that may wait to be looked at.
const CHANGES_MAX: usize = 1024;

/// Watches the folders of a set of files.
pub struct Watch {
    watcher: RecommendedWatcher,
    changes: mpsc::Receiver<PathBuf>,
    folders: HashSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> notify::Result<Self> {
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else {
                return;
            };
            if event.kind.is_access() {
                return;
            }
            for path in event.paths {
                // Full: a reload is due anyway.
                let _ = sender.try_send(path);
            }
        })?;
        Ok(Self { watcher, changes, folders: HashSet::new() })
    }

    /// Watches the folders of `files` too.
    pub fn add<'a>(&mut self, files: impl IntoIterator<Item = &'a PathBuf>) {
        for file in files {
            let Some(folder) = file.parent() else {
                continue;
            };
            self.add_folder(folder, RecursiveMode::NonRecursive);
        }
    }

    /// Watches a folder and all below it.
    pub fn add_tree(&mut self, folder: &Path) {
        self.add_folder(folder, RecursiveMode::Recursive);
    }

    fn add_folder(&mut self, folder: &Path, mode: RecursiveMode) {
        if !self.folders.insert(folder.to_owned()) {
            return;
        }
        if let Err(error) = self.watcher.watch(folder, mode) {
            crate::terminal::warning(&format!("{} is not watched for changes: {error}", folder.display()));
        }
    }

    /// The paths of the next change; all that change at once.
    pub async fn changed(&mut self) -> HashSet<PathBuf> {
        let mut paths = HashSet::new();
        match self.changes.recv().await {
            Some(path) => {
                paths.insert(path);
            }
            None => std::future::pending().await,
        }
        while let Ok(Some(path)) = tokio::time::timeout(SETTLE, self.changes.recv()).await {
            paths.insert(path);
        }
        paths
    }
}
