//! Data that crosses between the parts: what a version is made of, what it may use, and how it is told that it used
//! too much. No behaviour beyond encoding and checking; nothing here knows a socket, a file or V8.
#![forbid(unsafe_code)]

mod failure;
mod limits;
mod manifest;

pub use failure::{Exception, Failure, LimitError, LimitName, Place};
pub use limits::Limits;
pub use manifest::{Binding, Format, LoadError, Loaded, Manifest, Module, ModuleKind, Ready, Version};
