//! Sees that the files of certificates changed.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::certificates::Certificates;

/// Two files are not written at once: changes this close together are one.
const SETTLE: Duration = Duration::from_millis(200);
/// Changes that go on are looked at all the same after so long.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// How often files are read without being told: some file systems tell nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Reloads certificates as their files change, until it is dropped.
pub struct Watch {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    pub(crate) fn start(certificates: &Arc<Certificates>) -> Self {
        // One notice is enough: it says that something changed.
        let (notice, noticed) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                // Full: a reload is due anyway.
                let _ = notice.try_send(());
            }
        });
        let mut folders = match watcher {
            Ok(watcher) => Some(Folders { watcher, watched: HashSet::new() }),
            Err(error) => {
                tracing::warn!(%error, "certificates are looked at every {LOOK_INTERVAL:?} only");
                None
            }
        };
        if let Some(folders) = &mut folders {
            folders.follow(&certificates.folders());
        }
        Self { task: tokio::spawn(run(Arc::downgrade(certificates), folders, noticed)) }
    }
}

/// The folders that are watched.
struct Folders {
    watcher: RecommendedWatcher,
    watched: HashSet<PathBuf>,
}

impl Folders {
    /// Watches exactly `folders` from now on.
    fn follow(&mut self, folders: &[PathBuf]) {
        self.watched.retain(|folder| {
            let keep = folders.contains(folder) && folder.exists();
            if !keep {
                // A folder that is gone is not watched any more.
                let _ = self.watcher.unwatch(folder);
            }
            keep
        });
        for folder in folders {
            if self.watched.contains(folder) {
                continue;
            }
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.clone());
                }
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "a folder is not watched"),
            }
        }
    }
}

async fn run(certificates: Weak<Certificates>, mut folders: Option<Folders>, mut noticed: mpsc::Receiver<()>) {
    loop {
        // Neither an end of notices nor of the interval is anything but a reason to look.
        let told = tokio::time::timeout(LOOK_INTERVAL, next(&mut noticed)).await.is_ok();
        if told {
            let settled = async { while tokio::time::timeout(SETTLE, next(&mut noticed)).await.is_ok() {} };
            let _ = tokio::time::timeout(SETTLE_MAX, settled).await;
        }
        let Some(certificates) = certificates.upgrade() else {
            return;
        };
        let looked = tokio::task::spawn_blocking(move || {
            certificates.reload();
            if let Some(folders) = &mut folders {
                folders.follow(&certificates.folders());
            }
            folders
        });
        folders = match looked.await {
            Ok(folders) => folders,
            Err(error) => {
                tracing::error!(%error, "certificates are not looked at any more");
                return;
            }
        };
    }
}

async fn next(noticed: &mut mpsc::Receiver<()>) {
    if noticed.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
