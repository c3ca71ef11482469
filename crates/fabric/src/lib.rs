//! The fabric: what is under everything that more than one process must agree on.
//!
//! One small contract, [`Fabric`]: append to a log at an expected position, read it and follow it; keys whose changes are
//! watched; leases with fencing epochs; blobs by hash. What it acknowledged survives the loss of power.
#![forbid(unsafe_code)]

mod error;
mod fabric;

pub use error::FabricError;
pub use fabric::{
    BLOB_BYTES_MAX, Change, Entry, Epoch, Fabric, Lease, NAME_BYTES_MAX, Position, RECORD_BYTES_MAX, Record, Revision,
    VALUE_BYTES_MAX, Wake,
};
