//! The view's tables.

/// The form of the tables: a view of another is made anew.
pub(super) const FORM: i64 = 3;

/// `progress` to `outbox` come from the log; `sessions` and what follows is this machine's own.
pub(super) const TABLES: &str = "
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL, hash TEXT NOT NULL);

CREATE TABLE accounts (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, subdomain TEXT UNIQUE, created_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, account TEXT, created_ms INTEGER NOT NULL, expires_ms INTEGER,
    data TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_account ON tokens (account, expires_ms);

CREATE TABLE workers (
    account TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL, number INTEGER NOT NULL, latest TEXT, etag TEXT, data TEXT NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

CREATE TABLE versions (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, worker TEXT NOT NULL, number INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, author TEXT NOT NULL, source TEXT NOT NULL, annotations TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE UNIQUE INDEX versions_number ON versions (account, worker, number);

CREATE TABLE deployments (
    account TEXT NOT NULL, worker TEXT NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (account, worker, position)
) WITHOUT ROWID;

CREATE TABLE uses (
    account TEXT NOT NULL, target TEXT NOT NULL, version TEXT NOT NULL, worker TEXT NOT NULL, binding TEXT NOT NULL,
    class TEXT, PRIMARY KEY (account, target, version, binding)
) WITHOUT ROWID;
CREATE INDEX uses_version ON uses (version);

CREATE TABLE routes (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, zone TEXT NOT NULL, zone_id TEXT NOT NULL,
    pattern TEXT NOT NULL UNIQUE, worker TEXT
) WITHOUT ROWID;
CREATE INDEX routes_worker ON routes (account, worker);
CREATE INDEX routes_zone ON routes (zone);
CREATE INDEX routes_zone_id ON routes (zone_id);

CREATE TABLE domains (
    hostname TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, account TEXT NOT NULL, zone TEXT NOT NULL,
    zone_id TEXT NOT NULL, worker TEXT NOT NULL, created_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX domains_worker ON domains (account, worker);
CREATE INDEX domains_zone ON domains (zone);
CREATE INDEX domains_zone_id ON domains (zone_id);

CREATE TABLE zones (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, account TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX zones_account ON zones (account);

CREATE TABLE resources (
    account TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (account, kind, id), UNIQUE (account, kind, name)
) WITHOUT ROWID;

CREATE TABLE audit (
    position INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, account TEXT, actor TEXT NOT NULL, token TEXT, ip TEXT,
    client TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX audit_account ON audit (account, position);

CREATE TABLE blob_uses (
    blob TEXT NOT NULL, version TEXT NOT NULL, PRIMARY KEY (blob, version)
) WITHOUT ROWID;
CREATE INDEX blob_uses_version ON blob_uses (version);

CREATE TABLE manifests (blob TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, listed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE manifest_files (
    file BLOB NOT NULL, manifest INTEGER NOT NULL, PRIMARY KEY (file, manifest)
) WITHOUT ROWID;
CREATE INDEX manifest_files_manifest ON manifest_files (manifest);

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, stage INTEGER NOT NULL, account TEXT NOT NULL, worker TEXT NOT NULL,
    version TEXT NOT NULL, UNIQUE (account, worker, version)
);
CREATE INDEX outbox_stage ON outbox (stage, seq);

CREATE TABLE unused (blob TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX unused_since ON unused (since_ms);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, worker TEXT NOT NULL, expires_ms INTEGER NOT NULL,
    files INTEGER NOT NULL, missing INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_expiry ON sessions (expires_ms);
CREATE INDEX sessions_account ON sessions (account);
CREATE TABLE session_files (
    session TEXT NOT NULL, hash TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (session, hash, path)
) WITHOUT ROWID;
CREATE TABLE session_missing (session TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (session, hash)) WITHOUT ROWID;
CREATE TABLE assets (
    account TEXT NOT NULL, hash TEXT NOT NULL, blob TEXT NOT NULL, bytes INTEGER NOT NULL, content_type TEXT,
    PRIMARY KEY (account, hash)
) WITHOUT ROWID;
CREATE INDEX assets_blob ON assets (blob);
";

/// Empties what comes from the log.
pub(super) const CLEAR: &str = "
DELETE FROM progress; DELETE FROM accounts; DELETE FROM tokens; DELETE FROM workers; DELETE FROM versions;
DELETE FROM deployments; DELETE FROM uses; DELETE FROM routes; DELETE FROM domains; DELETE FROM zones;
DELETE FROM resources; DELETE FROM audit; DELETE FROM blob_uses; DELETE FROM manifests; DELETE FROM manifest_files;
DELETE FROM outbox;
";
