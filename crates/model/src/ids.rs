//! Names that cannot be swapped for one another: each is checked where it is made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {what}")]
pub struct IdError {
    what: &'static str,
    text: String,
}

/// The most of a text that an error shows, in characters.
const SHOWN_CHARS_MAX: usize = 80;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.into()));
                }
                Err(IdError { what: $what, text: text.chars().take(SHOWN_CHARS_MAX).collect() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An account: 32 lower-case hexadecimal digits.
    AccountId,
    "an account id (32 hexadecimal digits)",
    |text| text.len() == 32 && text.bytes().all(is_hex)
);

text_id!(
    /// The name of a worker: 1 to 63 lower-case letters, digits, `-` and `_`, not starting with a `-`. It is one label of
    /// a host name.
    WorkerName,
    "a worker's name (1 to 63 of a-z, 0-9, - and _, not starting with -)",
    |text| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
            && !text.starts_with('-')
    }
);

text_id!(
    /// A version of a worker: a UUID in lower case.
    VersionId,
    "a version's id (a UUID in lower case)",
    |text| {
        text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => is_hex(byte),
            })
    }
);

text_id!(
    /// A blob by its content: the 64 hexadecimal digits of its BLAKE3 hash.
    BlobHash,
    "a blob's hash (64 hexadecimal digits)",
    |text| text.len() == 64 && text.bytes().all(is_hex)
);

/// A worker of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerKey {
    pub account: AccountId,
    pub worker: WorkerName,
}

impl AccountId {
    /// The account of whoever runs this machine alone: no control plane gives it out.
    pub fn local() -> Self {
        Self("0".repeat(32).into())
    }
}

impl WorkerKey {
    /// A worker of that account.
    pub fn new(account: AccountId, worker: WorkerName) -> Self {
        Self { account, worker }
    }

    /// Another worker of the same account.
    #[must_use]
    pub fn sibling(&self, worker: WorkerName) -> Self {
        Self { account: self.account.clone(), worker }
    }
}

impl fmt::Display for WorkerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.account, self.worker)
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl VersionId {
    /// The first eight digits, which a preview's host name begins with.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!("0123456789abcdef0123456789abcdef".parse::<AccountId>().is_ok());
        assert!("0123456789ABCDEF0123456789abcdef".parse::<AccountId>().is_err());
        assert!("my-worker_1".parse::<WorkerName>().is_ok());
        for bad in ["", "-a", "A", "a.b", "a/b", &"a".repeat(64), "ä"] {
            assert!(bad.parse::<WorkerName>().is_err(), "{bad}");
        }
        assert!("8e6a9a2b-0f0c-4c55-9d3a-1b2c3d4e5f60".parse::<VersionId>().is_ok());
        assert!("8e6a9a2b_0f0c-4c55-9d3a-1b2c3d4e5f60".parse::<VersionId>().is_err());
        assert!(serde_json::from_str::<WorkerName>("\"../etc\"").is_err());
    }
}
