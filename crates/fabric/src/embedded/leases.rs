//! Leases in SQLite, and the clock that they expire by.
//!
//! At most one row per lease says who holds it, so there are never two holders by the fabric's word, whatever a clock does.
//! What a clock decides is when a holder that fell silent may be replaced. [`LeaseClock`] therefore never goes back and
//! never jumps while the process runs: it is the wall clock as read at opening, advanced by the monotonic clock. At
//! opening it starts no earlier than it last was (the database remembers), so a wall clock set back in between prolongs
//! leases, at most by what they had left, and never gives one away early. A wall clock set *forward* between two runs lets
//! leases of the earlier run expire early: their holders are fenced off by the next one's greater epoch.

use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OptionalExtension};

use super::schema::{count, from_sql, to_sql};
use crate::error::FabricError;
use crate::fabric::{Epoch, Lease};

/// Milliseconds that only grow, across restarts too.
#[derive(Clone, Copy)]
pub(super) struct LeaseClock {
    opened_ms: u64,
    opened: Instant,
}

/// Takes a lease inside the writer's transaction. Leases that have expired are nobody's, and their rows go.
pub(super) fn acquire(
    connection: &Connection,
    name: &str,
    holder: &str,
    time: Duration,
    now_ms: u64,
) -> Result<Option<Lease>, FabricError> {
    take(connection, name, holder, time, now_ms).map_err(FabricError::store("could not give a lease"))
}

pub(super) fn renew(connection: &Connection, lease: &Lease, time: Duration, now_ms: u64) -> Result<bool, FabricError> {
    prolong(connection, lease, time, now_ms).map_err(FabricError::store("could not renew a lease"))
}

pub(super) fn release(connection: &Connection, lease: &Lease) -> Result<(), FabricError> {
    let released = connection
        .prepare_cached("DELETE FROM leases WHERE name = ?1 AND holder = ?2 AND epoch = ?3")
        .and_then(|mut statement| statement.execute((&lease.name, &lease.holder, to_sql(lease.epoch.0))));
    released.map(|_| ()).map_err(FabricError::store("could not release a lease"))
}

fn take(
    connection: &Connection,
    name: &str,
    holder: &str,
    time: Duration,
    now_ms: u64,
) -> rusqlite::Result<Option<Lease>> {
    connection.prepare_cached("DELETE FROM leases WHERE expires_ms <= ?1")?.execute([to_sql(now_ms)])?;
    let held: Option<(String, i64)> = connection
        .prepare_cached("SELECT holder, epoch FROM leases WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let epoch = match held {
        Some((other, _)) if other != holder => return Ok(None),
        Some((_, epoch)) => epoch,
        None => count(connection, "epoch", 1)?,
    };
    connection
        .prepare_cached(
            "INSERT INTO leases (name, holder, epoch, expires_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET expires_ms = excluded.expires_ms",
        )?
        .execute((name, holder, epoch, expiry(now_ms, time)))?;
    remember(connection, now_ms)?;
    Ok(Some(Lease { name: name.to_owned(), holder: holder.to_owned(), epoch: Epoch(from_sql(epoch)) }))
}

fn prolong(connection: &Connection, lease: &Lease, time: Duration, now_ms: u64) -> rusqlite::Result<bool> {
    let renewed = connection
        .prepare_cached(
            "UPDATE leases SET expires_ms = ?4
             WHERE name = ?1 AND holder = ?2 AND epoch = ?3 AND expires_ms > ?5",
        )?
        .execute((&lease.name, &lease.holder, to_sql(lease.epoch.0), expiry(now_ms, time), to_sql(now_ms)))?;
    remember(connection, now_ms)?;
    Ok(renewed == 1)
}

/// Notes what the clock says, for the next opening.
fn remember(connection: &Connection, now_ms: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE counters SET value = max(value, ?1) WHERE name = 'lease_clock_ms'")?
        .execute([to_sql(now_ms)])?;
    Ok(())
}

fn expiry(now_ms: u64, time: Duration) -> i64 {
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    to_sql(now_ms.saturating_add(time_ms))
}

// === impl LeaseClock ===

impl LeaseClock {
    /// The clock of a database that is being opened.
    pub(super) fn resume(connection: &Connection) -> Result<Self, FabricError> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::resume_at(connection, u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    fn resume_at(connection: &Connection, wall_ms: u64) -> Result<Self, FabricError> {
        let last: i64 = connection
            .query_row("SELECT value FROM counters WHERE name = 'lease_clock_ms'", (), |row| row.get(0))
            .map_err(FabricError::store("could not read its clock"))?;
        Ok(Self { opened_ms: wall_ms.max(from_sql(last)), opened: Instant::now() })
    }

    pub(super) fn now_ms(self) -> u64 {
        self.opened_ms.saturating_add(u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::schema;

    const MINUTE: Duration = Duration::from_secs(60);
    /// Some time in 2026.
    const NOW_MS: u64 = 1_780_000_000_000;

    fn database() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open_for_writing(&dir.path().join("fabric.db")).unwrap();
        (dir, connection)
    }

    #[test]
    fn a_lease_is_its_holders_until_it_expires() {
        let (_dir, connection) = database();
        let first = acquire(&connection, "object", "paris", MINUTE, NOW_MS).unwrap().unwrap();
        assert_eq!(acquire(&connection, "object", "oslo", MINUTE, NOW_MS + 59_999).unwrap(), None);
        let second = acquire(&connection, "object", "oslo", MINUTE, NOW_MS + 60_000).unwrap().unwrap();
        assert!(second.epoch > first.epoch);
        assert!(!renew(&connection, &first, MINUTE, NOW_MS + 60_001).unwrap());
    }

    #[test]
    fn a_lease_that_expired_is_lost_even_if_nobody_took_it() {
        let (_dir, connection) = database();
        let lease = acquire(&connection, "object", "paris", MINUTE, NOW_MS).unwrap().unwrap();
        assert!(renew(&connection, &lease, MINUTE, NOW_MS + 59_999).unwrap());
        assert!(!renew(&connection, &lease, MINUTE, NOW_MS + 119_999).unwrap());
        let again = acquire(&connection, "object", "paris", MINUTE, NOW_MS + 119_999).unwrap().unwrap();
        assert!(again.epoch > lease.epoch);
    }

    #[test]
    fn a_wall_clock_set_back_gives_nothing_away() {
        let (_dir, connection) = database();
        acquire(&connection, "object", "paris", MINUTE, NOW_MS).unwrap().unwrap();
        let an_hour_back = LeaseClock::resume_at(&connection, NOW_MS - 3_600_000).unwrap().now_ms();
        assert!(an_hour_back >= NOW_MS);
        assert_eq!(acquire(&connection, "object", "oslo", MINUTE, an_hour_back).unwrap(), None);
        assert!(acquire(&connection, "object", "oslo", MINUTE, an_hour_back + 60_000).unwrap().is_some());
    }

    #[test]
    fn epochs_grow_though_the_rows_of_leases_go() {
        let (_dir, connection) = database();
        let mut last = Epoch(0);
        for _ in 0..5 {
            let lease = acquire(&connection, "object", "paris", MINUTE, NOW_MS).unwrap().unwrap();
            assert!(lease.epoch > last);
            last = lease.epoch;
            release(&connection, &lease).unwrap();
        }
        let rows: i64 = connection.query_row("SELECT count(*) FROM leases", (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 0);
    }
}
