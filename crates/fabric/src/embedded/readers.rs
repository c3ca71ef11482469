//! Connections that read, off the threads that serve.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema;
use crate::error::FabricError;

/// How many reads go on at once, each on a connection of its own.
const READERS_MAX: usize = 4;

pub(super) struct Readers {
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
    gate: Arc<Gate>,
}

/// Who reads holds it open. The writer can close it for a moment in which nobody reads.
#[derive(Default)]
pub(super) struct Gate(RwLock<()>);

struct Idle {
    database: PathBuf,
    /// At most [`READERS_MAX`]: one is taken out for each permit.
    connections: Mutex<Vec<Connection>>,
}

// === impl Readers ===

impl Readers {
    pub(super) fn new(database: PathBuf, gate: Arc<Gate>) -> Self {
        let idle = Arc::new(Idle { database, connections: Mutex::default() });
        Self { permits: Arc::new(Semaphore::new(READERS_MAX)), idle, gate }
    }

    /// Reads what is committed now.
    pub(super) async fn read<T, R>(&self, read: R) -> Result<T, FabricError>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> Result<T, FabricError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| FabricError::Closed)?;
        let (idle, gate) = (Arc::clone(&self.idle), Arc::clone(&self.gate));
        let reading = tokio::task::spawn_blocking(move || {
            // Kept until the connection is back, even if nobody waits for the answer any more.
            let _permit = permit;
            let _open = gate.0.read().unwrap_or_else(PoisonError::into_inner);
            let connection = idle.take()?;
            let answer = read(&connection);
            idle.give_back(connection);
            answer
        });
        reading.await.map_err(|_| FabricError::Closed)?
    }
}

// === impl Gate ===

impl Gate {
    /// Waits until nobody reads; nobody begins to until the guard is dropped.
    pub(super) fn close(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Idle ===

impl Idle {
    fn take(&self) -> Result<Connection, FabricError> {
        let idle = self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| schema::open_for_reading(&self.database), Ok)
    }

    fn give_back(&self, connection: Connection) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
