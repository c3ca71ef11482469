//! A point of presence: what an edge needs beside itself to serve what a control plane deploys.
//!
//! - [`Replica`] follows the fabric and keeps a local copy of all that is deployed, records and blobs: what was served
//!   before is served again after a restart, whether the control plane can be reached or not.
//! - It tells the edge of each change, in order: a worker only after its versions, and after their blobs are here. No
//!   request waits for the fabric.
//! - [`Clockwork`] fires cron triggers, at most once each for a minute.
//!
//! The copy may be deleted; it is made again from the fabric, as it is where it is damaged, or of another fabric than this
//! or of a later state of it. One edge has it open.
#![forbid(unsafe_code)]

mod blobs;
mod cron;
mod error;
mod folder;
mod load;
mod replica;
mod rows;
mod source_maps;

pub use cron::{Clockwork, Fired, Firing};
pub use error::PopError;
pub use load::{OpenSecret, Stored};
pub use replica::Replica;
pub use source_maps::SourceMaps;
