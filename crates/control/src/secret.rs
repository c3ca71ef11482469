//! Secrets: kept from being shown, and sealed before anything keeps them.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selvedge_model::{AccountId, WorkerName};
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

/// What the fingerprint of a key is derived for.
const FINGERPRINT: &str = "selvedge 2026-11 which key seals secrets";

/// The key that secrets are sealed with: 32 bytes, in a file outside of the store.
#[derive(Clone)]
pub struct SecretsKey([u8; 32]);

impl SecretsKey {
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Reads the key from its file; makes the file, with mode 0600, if it is not there.
    pub fn load_or_create(path: &Path) -> Result<Self, ControlError> {
        let failed = |action| move |source| ControlError::File { what: path.display().to_string(), action, source };
        match std::fs::File::open(path) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                Read::by_ref(&mut file).take(33).read_to_end(&mut bytes).map_err(failed("read"))?;
                let key = <[u8; 32]>::try_from(bytes.as_slice());
                bytes.zeroize();
                key.map(Self).map_err(|_| failed("used as a key: it must have 32 bytes")(ErrorKind::InvalidData.into()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut key = [0; 32];
                rand::fill(&mut key).map_err(|_| ControlError::Seal)?;
                write_private(path, &key)?;
                Ok(Self(key))
            }
            Err(error) => Err(failed("opened")(error)),
        }
    }

    /// Seals a secret for one binding of one worker: it opens nowhere else. The text is base64 of a random nonce, the
    /// AES-256-GCM ciphertext and its tag.
    pub fn seal(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        binding: &str,
        secret: &Secret,
    ) -> Result<String, ControlError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| ControlError::Seal)?;
        let mut text = secret.expose().as_bytes().to_vec();
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(account, worker, binding)),
                &mut text,
            )
            .map_err(|_| ControlError::Seal)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Ok(STANDARD.encode(sealed))
    }

    /// Opens what [`SecretsKey::seal`] sealed for that binding of that worker; none if it was not, or was changed.
    pub fn open(&self, account: &AccountId, worker: &WorkerName, binding: &str, sealed: &str) -> Option<Secret> {
        let mut bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened =
            self.cipher().ok()?.open_in_place(nonce, Aad::from(associated(account, worker, binding)), text).ok()?;
        let secret = std::str::from_utf8(opened).ok().map(Secret::new);
        bytes.zeroize();
        secret
    }

    fn cipher(&self) -> Result<LessSafeKey, ControlError> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).map_err(|_| ControlError::Seal)?))
    }

    /// Tells keys apart, and says nothing else of them.
    pub(crate) fn fingerprint(&self) -> String {
        blake3::Hash::from_bytes(blake3::derive_key(FINGERPRINT, &self.0)).to_hex().to_string()
    }

    /// A key for another purpose, which says nothing of this one.
    pub(crate) fn derive(&self, purpose: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &blake3::derive_key(purpose, &self.0))
    }
}

/// What a seal is bound to. Neither part can hold a `/`, but for the last.
fn associated(account: &AccountId, worker: &WorkerName, binding: &str) -> Vec<u8> {
    format!("{account}/{worker}/{binding}").into_bytes()
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

/// Writes a file that only its owner can read, whole or not at all, and on disk when this returns.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ControlError> {
    let failed = |source| ControlError::File { what: path.display().to_string(), action: "written", source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = std::path::PathBuf::from(beside);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn account(digit: char) -> AccountId {
        digit.to_string().repeat(32).parse().unwrap()
    }

    #[test]
    fn a_seal_opens_for_its_binding_alone() {
        let key = SecretsKey::from_bytes([7; 32]);
        let (worker, other): (WorkerName, WorkerName) = ("w".parse().unwrap(), "v".parse().unwrap());
        let secret = Secret::new("hunter2");
        let sealed = key.seal(&account('a'), &worker, "KEY", &secret).unwrap();
        assert_eq!(key.open(&account('a'), &worker, "KEY", &sealed), Some(secret.clone()));
        assert_ne!(sealed, key.seal(&account('a'), &worker, "KEY", &secret).unwrap());
        assert_eq!(key.open(&account('b'), &worker, "KEY", &sealed), None);
        assert_eq!(key.open(&account('a'), &other, "KEY", &sealed), None);
        assert_eq!(key.open(&account('a'), &worker, "OTHER", &sealed), None);
        assert_eq!(SecretsKey::from_bytes([8; 32]).open(&account('a'), &worker, "KEY", &sealed), None);
        assert_eq!(key.open(&account('a'), &worker, "KEY", &sealed[4..]), None);
        assert_eq!(key.open(&account('a'), &worker, "KEY", ""), None);
    }

    #[test]
    fn secrets_and_keys_are_not_shown() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
        assert!(!format!("{:?}", SecretsKey::from_bytes([7; 32])).contains('7'));
    }

    #[test]
    fn the_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let made = SecretsKey::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SecretsKey::load_or_create(&path).unwrap().0, made.0);
        std::fs::write(&path, "short").unwrap();
        assert!(SecretsKey::load_or_create(&path).is_err());
    }
}
