//! How much of everything there may be.

use std::time::Duration;

/// Workers of one account.
pub const WORKERS_MAX: u64 = 50_000;
/// Versions of a worker that are kept, beside those that are deployed or were by one of the last deployments.
pub const VERSIONS_KEPT: u64 = 100;
/// Deployments whose versions are kept.
pub const DEPLOYMENTS_KEEP_VERSIONS: u64 = 10;
/// Deployments of a worker that are kept.
pub const DEPLOYMENTS_KEPT: u64 = 100;
/// Versions that may share the traffic of one deployment.
pub const DEPLOYED_VERSIONS_MAX: usize = 2;
/// How long a blob stays that nothing refers to any more.
pub const BLOB_GRACE: Duration = Duration::from_secs(3600);
/// Accounts.
pub const ACCOUNTS_MAX: u64 = 10_000;
/// Tokens of one account that are neither revoked nor expired.
pub const TOKENS_MAX: u64 = 1_000;
/// Zones that one account holds.
pub const ZONES_MAX: u64 = 1_000;
/// Routes of one worker.
pub const ROUTES_MAX: usize = 1_000;
/// Routes of one account.
pub const ACCOUNT_ROUTES_MAX: u64 = 10_000;
/// Routes of one account that lead to no worker.
pub const EXCLUSIONS_MAX: u64 = 1_000;
/// Custom domains of one worker.
pub const DOMAINS_MAX: usize = 100;
/// Custom domains of one account.
pub const ACCOUNT_DOMAINS_MAX: u64 = 10_000;
/// Cron triggers of one worker.
pub const CRONS_MAX: usize = 100;
/// Bindings of one version.
pub const BINDINGS_MAX: usize = 512;
/// Versions that the bindings of one upload may be taken over from, beside the latest.
pub const INHERITED_VERSIONS_MAX: usize = 8;
/// The longest name of a binding, in bytes.
pub const BINDING_NAME_BYTES_MAX: usize = 256;
/// The largest text of a variable or secret, in bytes.
pub const VARIABLE_BYTES_MAX: usize = 64 * 1024;
/// All that an upload's metadata may be, in bytes: 1 MiB. So is, for that reason, what a version says of itself.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;
/// A version's record, sealed secrets included, in bytes: below what the fabric takes.
pub const VERSION_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Modules of one version together, in bytes: 64 MiB, as the platform's largest plan allows before compression.
pub const SCRIPT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Source maps of one version together, in bytes: 64 MiB.
pub const SOURCE_MAP_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Modules and source maps of one version.
pub const PARTS_MAX: usize = 4_096;
/// The longest name of a module, in bytes.
pub const MODULE_NAME_BYTES_MAX: usize = 512;
/// Compatibility flags of one version.
pub const COMPATIBILITY_FLAGS_MAX: usize = 64;
/// Tags of a worker.
pub const TAGS_MAX: usize = 32;
/// The longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 256;
/// Annotations of a version or deployment.
pub const ANNOTATIONS_MAX: usize = 16;
/// The longest annotation, in bytes.
pub const ANNOTATION_BYTES_MAX: usize = 1_000;
/// What a worker's `observability` says, in bytes.
pub const OBSERVABILITY_BYTES_MAX: usize = 8 * 1024;
/// What metadata says of a version beside what is known here (`placement`, …), all of it, in bytes.
pub const EXTRA_BYTES_MAX: usize = 16 * 1024;
/// The longest tag of a migration, in bytes.
pub const MIGRATION_TAG_BYTES_MAX: usize = 256;
/// Workers that are told of the events of one.
pub const TAIL_CONSUMERS_MAX: usize = 10;
/// The longest name of a token, account or resource, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Files of one version's assets.
pub const ASSET_FILES_MAX: usize = 100_000;
/// The largest asset, in bytes: 25 MiB.
pub const ASSET_BYTES_MAX: u64 = 25 * 1024 * 1024;
/// The longest path of an asset, in bytes.
pub const ASSET_PATH_BYTES_MAX: usize = 1_024;
/// The texts of `_headers` and `_redirects`, each, in bytes.
pub const ASSET_RULES_BYTES_MAX: usize = 256 * 1024;
/// How long an upload of assets may take, and how long it is good for afterwards.
pub const ASSETS_SESSION: Duration = Duration::from_secs(3600);
/// Uploads of assets under way in one account.
pub const ASSETS_SESSIONS_MAX: u64 = 1_000;
/// Files of all uploads of assets under way in one account.
pub const ASSETS_SESSION_FILES_MAX: u64 = 2_000_000;
/// Rows of a large list that are written at once: others write in between.
pub const ROWS_MAX: usize = 1_000;
/// Hashes in one bucket of an upload of assets.
pub const ASSETS_BUCKET_FILES: usize = 100;
/// Bytes in one bucket of an upload of assets, where more than one file is in it: 20 MiB.
pub const ASSETS_BUCKET_BYTES: u64 = 20 * 1024 * 1024;
/// Resources of a kind (namespaces, buckets, databases, queues, …) of one account.
pub const RESOURCES_MAX: u64 = 10_000;
/// What is kept of one resource, in bytes.
pub const RESOURCE_BYTES_MAX: usize = 16 * 1024;
/// Consumers of one queue.
pub const CONSUMERS_MAX: usize = 10;
/// Entries of one page of a list.
pub const PAGE_MAX: u64 = 1_000;
/// Versions that are being started at once, by all accounts together.
pub const STARTS_MAX: usize = 32;
/// Versions that are being started at once by the tokens of one account.
pub const ACCOUNT_STARTS_MAX: usize = 4;
/// How long a command that is decided waits until the nearest point of presence serves what it changed.
pub const SERVED_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often a command is decided anew because others came in between.
pub const ATTEMPTS_MAX: usize = 16;
