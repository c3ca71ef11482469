//! The certificates of the edge: where they come from, which one a client gets, and when they change.
//!
//! Guarantees:
//! - a pair is served only if its key belongs to its chain; a pair that is half written, mismatched or gone bad never
//!   replaces a good one, and says so in the log;
//! - a new pair serves the next handshake; connections that are there go on;
//! - nobody makes this machine order a certificate for a name that nobody gave to a worker or to the API, no name
//!   is ordered more often than its bounds allow, and new names leave room for renewals;
//! - a certificate that has ended serves only where there is no other of the name;
//! - keys are in files with mode 0600, and in no log and no `Debug` text.
//!
//! This crate opens no listener: the edge does, and asks here.
#![forbid(unsafe_code)]

mod acme;
mod certificates;
mod files;
mod handshake;
mod pair;
mod self_signed;
mod table;
mod terms;
mod watch;

pub use acme::{Acme, AcmeConfig, AcmeError, AcmeTiming, Challenge, Challenges, LETS_ENCRYPT};
pub use certificates::{Certificates, CertificatesError};
pub use files::{Source, SourceError};
pub use handshake::{Handshake, Handshakes, Hello};
pub use pair::{Pair, PairError};
pub use terms::{cipher_name, version_name};
pub use watch::Watch;
