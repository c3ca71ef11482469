//! What the tests with an ACME server need.

pub mod pebble;
pub mod site;
