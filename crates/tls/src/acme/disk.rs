//! What is kept of orders: the account, and each certificate with its key in one file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use rustls::crypto::CryptoProvider;

use super::AcmeError;
use crate::pair::{Certificate, Pair};

const ACCOUNT_FILE: &str = "account.json";
const CERTIFICATES_FOLDER: &str = "certificates";
const ENDING: &str = ".pem";
/// What a server's folder is named after it with, at most, in bytes.
const FOLDER_NAME_BYTES_MAX: usize = 128;

/// A server's folder.
pub struct Disk {
    folder: PathBuf,
    certificates: PathBuf,
}

impl Disk {
    /// The folder of a server below `folder`: what one server gave is not taken for what another would.
    pub fn open(folder: &Path, directory: &str) -> Result<Self, AcmeError> {
        let folder = folder.join(folder_name(directory));
        let certificates = folder.join(CERTIFICATES_FOLDER);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&certificates);
        made.map_err(|source| AcmeError::Disk { path: certificates.clone(), source })?;
        Ok(Self { folder, certificates })
    }

    /// The account, if there is one.
    pub fn account(&self) -> Result<Option<AccountCredentials>, AcmeError> {
        let path = self.folder.join(ACCOUNT_FILE);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|source| AcmeError::Account { path, source }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AcmeError::Disk { path, source }),
        }
    }

    /// Keeps the account.
    pub fn keep_account(&self, credentials: &AccountCredentials) -> Result<(), AcmeError> {
        let path = self.folder.join(ACCOUNT_FILE);
        let text =
            serde_json::to_vec(credentials).map_err(|source| AcmeError::Account { path: path.clone(), source })?;
        write(&path, &text)
    }

    /// The account is of no use any more.
    pub fn forget_account(&self) -> Result<(), AcmeError> {
        remove(&self.folder.join(ACCOUNT_FILE))
    }

    /// The names that have certificates.
    pub fn names(&self) -> Result<Vec<String>, AcmeError> {
        let failed = |source| AcmeError::Disk { path: self.certificates.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.certificates).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().into_string().unwrap_or_default();
            if let Some(name) = name.strip_suffix(ENDING).filter(|name| super::is_host(name)) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// A name's certificate.
    pub fn certificate(&self, name: &str, provider: &CryptoProvider) -> Result<Certificate, AcmeError> {
        let path = self.path(name);
        let pair = Pair { chain: path.clone(), key: path };
        let bytes = pair.read()?;
        Ok(pair.check(&bytes, provider)?)
    }

    /// Keeps a name's certificate, whole or not at all.
    pub fn keep(&self, name: &str, key: &str, chain: &str) -> Result<(), AcmeError> {
        write(&self.path(name), format!("{key}\n{chain}").as_bytes())
    }

    /// Forgets a name's certificate.
    pub fn remove(&self, name: &str) -> Result<(), AcmeError> {
        remove(&self.path(name))
    }

    /// Names are those of hosts: they lead nowhere else.
    fn path(&self, name: &str) -> PathBuf {
        self.certificates.join(format!("{name}{ENDING}"))
    }
}

/// As in `acme-v02.api.letsencrypt.org-directory`.
fn folder_name(directory: &str) -> String {
    let name = directory.trim_start_matches("https://").bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' => char::from(byte),
        _ => '-',
    });
    name.take(FOLDER_NAME_BYTES_MAX).collect::<String>().trim_start_matches('.').to_owned()
}

/// Writes a file that only its owner can read, so that it is there whole or as it was before.
fn write(path: &Path, bytes: &[u8]) -> Result<(), AcmeError> {
    let failed = |source| AcmeError::Disk { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), AcmeError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| AcmeError::Disk { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::self_signed::tests::{files, provider};

    #[test]
    fn certificates_are_kept_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), "https://127.0.0.1:14000/dir").unwrap();
        let (chain, key) = files(&["app.site.test"]);
        disk.keep("app.site.test", &key, &chain).unwrap();
        let path = folder.path().join("127.0.0.1-14000-dir/certificates/app.site.test.pem");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(disk.names().unwrap(), ["app.site.test"]);
        assert_eq!(disk.certificate("app.site.test", &provider()).unwrap().names, ["app.site.test"]);
        disk.remove("app.site.test").unwrap();
        assert!(disk.names().unwrap().is_empty());
    }

    #[test]
    fn another_server_has_another_folder() {
        let staging = folder_name("https://acme-staging-v02.api.letsencrypt.org/directory");
        assert_eq!(staging, "acme-staging-v02.api.letsencrypt.org-directory");
        assert_eq!(folder_name("https://../../x"), "-..-x");
    }
}
