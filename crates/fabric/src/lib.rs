//! The fabric: what is under everything that more than one process must agree on.
//!
//! One small contract, [`Fabric`]: append to a log at an expected position, read it and follow it; keys whose changes are
//! watched; leases with fencing epochs; blobs by hash. [`Embedded`] is the one for a single machine.
//!
//! What it guarantees:
//! - what it acknowledged is on the disk, and is there after a crash or a loss of power; a command that fails, or is
//!   interrupted, did all or nothing;
//! - of those that append at one position, one succeeds, and the others are told where the log ends;
//! - revisions and epochs only grow, across restarts too; a lease has one holder at a time by the fabric's word;
//! - whoever makes a [`Wake`] first, and reads then, misses nothing;
//! - a blob's bytes are those that its hash names, or there is an error.
//!
//! What it does not do: a command whose caller stopped waiting may still be carried out, and one that failed because the
//! disk did must be thought of as unknown until the log is read again. Who relies on a lease sends its epoch along with
//! what it does, and has the receiver refuse lesser ones: a holder may sleep through its own expiry.
#![forbid(unsafe_code)]

mod embedded;
mod error;
mod fabric;

pub use embedded::{COMMAND_BYTES_MAX, Embedded};
pub use error::FabricError;
pub use fabric::{
    BLOB_BYTES_MAX, Change, Entry, Epoch, Fabric, Identity, Lease, NAME_BYTES_MAX, Position, RECORD_BYTES_MAX, Record,
    Revision, VALUE_BYTES_MAX, Wake,
};
