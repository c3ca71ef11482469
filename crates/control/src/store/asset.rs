//! Uploads of assets under way. These tables are not made from the log: an upload that is lost is begun again.

use rusqlite::OptionalExtension;
use selvedge_model::{AccountId, AssetFile, AssetFiles, BlobHash, WorkerName};

use super::{View, parse};
use crate::asset::AssetEntry;
use crate::bounds::ROWS_MAX;
use crate::error::ControlError;

/// An upload of assets.
pub(crate) struct Session {
    pub account: AccountId,
    pub worker: WorkerName,
    /// How many different files are missing.
    pub missing: u64,
}

/// A file that an account has uploaded before.
pub(crate) struct KnownAsset {
    pub hash: String,
    pub blob: BlobHash,
}

impl View<'_> {
    pub fn session(&self, id: &str, now_ms: u64) -> Result<Option<Session>, ControlError> {
        let found: Option<(String, String, i64)> = self
            .0
            .prepare_cached("SELECT account, worker, missing FROM sessions WHERE id = ?1 AND expires_ms > ?2")?
            .query_row((id, now_ms as i64), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        found
            .map(|(account, worker, missing)| {
                Ok(Session { account: parse(&account)?, worker: parse(&worker)?, missing: missing as u64 })
            })
            .transpose()
    }

    /// How many uploads an account has under way, and with how many files.
    pub fn count_sessions(&self, account: &AccountId, now_ms: u64) -> Result<(u64, u64), ControlError> {
        Ok(self
            .0
            .prepare_cached(
                "SELECT count(*), coalesce(sum(files), 0) FROM sessions WHERE account = ?1 AND expires_ms > ?2",
            )?
            .query_row((account.as_str(), now_ms as i64), |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })?)
    }

    /// Which of the hashes the account has uploaded before.
    pub fn known_assets<'a>(
        &self,
        account: &AccountId,
        hashes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<KnownAsset>, ControlError> {
        let mut statement = self.0.prepare_cached("SELECT blob FROM assets WHERE account = ?1 AND hash = ?2")?;
        let mut known = Vec::new();
        for hash in hashes {
            let blob: Option<String> = statement.query_row((account.as_str(), hash), |row| row.get(0)).optional()?;
            if let Some(blob) = blob {
                known.push(KnownAsset { hash: hash.to_owned(), blob: parse(&blob)? });
            }
        }
        Ok(known)
    }

    /// Begins a session of so many files, of which so many different ones are missing.
    pub fn insert_session(
        &self,
        id: &str,
        account: &AccountId,
        worker: &WorkerName,
        expires_ms: u64,
        (files, missing): (u64, u64),
    ) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT INTO sessions (id, account, worker, expires_ms, files, missing) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                id,
                account.as_str(),
                worker.as_str(),
                expires_ms as i64,
                files as i64,
                missing as i64,
            ))?;
        Ok(())
    }

    /// Some of the files of a session, and some of the hashes that are missing.
    pub fn insert_session_files(
        &self,
        id: &str,
        files: &[(String, AssetEntry)],
        missing: &[String],
    ) -> Result<(), ControlError> {
        let mut insert =
            self.0.prepare_cached("INSERT INTO session_files (session, hash, path, size) VALUES (?1, ?2, ?3, ?4)")?;
        for (path, entry) in files {
            insert.execute((id, &entry.hash, path, entry.size as i64))?;
        }
        let mut insert = self.0.prepare_cached("INSERT INTO session_missing (session, hash) VALUES (?1, ?2)")?;
        for hash in missing {
            insert.execute((id, hash))?;
        }
        Ok(())
    }

    /// The paths, with their sizes, that a session has under a hash; one for each extension is enough.
    pub fn session_paths(&self, session: &str, hash: &str) -> Result<Vec<(String, u64)>, ControlError> {
        let mut statement =
            self.0.prepare_cached("SELECT path, size FROM session_files WHERE session = ?1 AND hash = ?2 LIMIT 64")?;
        let rows = statement.query_map((session, hash), |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A file came. Gives how many are missing yet.
    pub fn insert_asset(
        &self,
        session: &str,
        account: &AccountId,
        hash: &str,
        file: &AssetFile,
    ) -> Result<u64, ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO assets (account, hash, blob, bytes, content_type) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((account.as_str(), hash, file.blob.as_str(), file.bytes as i64, &file.content_type))?;
        let gone = self
            .0
            .prepare_cached("DELETE FROM session_missing WHERE session = ?1 AND hash = ?2")?
            .execute((session, hash))?;
        if gone > 0 {
            self.0.prepare_cached("UPDATE sessions SET missing = missing - 1 WHERE id = ?1")?.execute([session])?;
        }
        self.count("SELECT missing FROM sessions WHERE id = ?1", [session])
    }

    /// The files of a session that is complete.
    pub fn session_files(&self, session: &str, account: &AccountId) -> Result<AssetFiles, ControlError> {
        let mut statement = self.0.prepare_cached(
            "SELECT path, assets.blob, assets.bytes, assets.content_type FROM session_files
             JOIN assets ON assets.account = ?2 AND assets.hash = session_files.hash WHERE session = ?1",
        )?;
        let rows = statement.query_map((session, account.as_str()), |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })?;
        rows.map(|row| {
            let (path, blob, bytes, content_type) = row?;
            Ok((path, AssetFile { blob: parse(&blob)?, bytes: bytes as u64, content_type }))
        })
        .collect()
    }

    pub fn count_session_files(&self, session: &str) -> Result<u64, ControlError> {
        self.count("SELECT files FROM sessions WHERE id = ?1", [session])
    }

    /// Forgets some of what uploads were to have that have expired: whether there may be more.
    pub fn forget_sessions(&self, now_ms: u64) -> Result<bool, ControlError> {
        let mut left = ROWS_MAX;
        while left > 0 {
            let expired = self.text("SELECT id FROM sessions WHERE expires_ms <= ?1 LIMIT 1", [now_ms as i64])?;
            let Some(session) = expired else { return Ok(false) };
            for (statement, last) in [
                (
                    "DELETE FROM session_files WHERE session = ?1 AND (hash, path) IN
                        (SELECT hash, path FROM session_files WHERE session = ?1 LIMIT ?2)",
                    false,
                ),
                (
                    "DELETE FROM session_missing WHERE session = ?1 AND hash IN
                        (SELECT hash FROM session_missing WHERE session = ?1 LIMIT ?2)",
                    false,
                ),
                ("DELETE FROM sessions WHERE id = ?1 AND ?2 > 0", true),
            ] {
                let gone = self.0.prepare_cached(statement)?.execute((&session, left as i64))?;
                left = left.saturating_sub(gone);
                if left == 0 && !last {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }
}
