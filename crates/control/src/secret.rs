//! Secrets: kept from being shown, and sealed.

use std::fmt;
use std::path::Path;

use zeroize::Zeroize;

use crate::error::ControlError;

/// A secret in the clear, on its way from a request to its seal. It cannot be shown by mistake, and what it held is
/// overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. For sealing it, or for showing a new token to who made it; never for a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The key that secrets are sealed with: 32 bytes, in a file outside of the store.
#[derive(Clone)]
pub struct SecretsKey([u8; 32]);

impl SecretsKey {
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Reads the key from its file; makes the file, with mode 0600, if it is not there.
    pub fn load_or_create(path: &Path) -> Result<Self, ControlError> {
        crate::control::pending(path)
    }
}

impl Drop for SecretsKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretsKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretsKey(…)")
    }
}
