//! Where the operator's certificates are: pairs of files, and folders of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::certificates::chain;
use crate::pair::Pair;

/// The most pairs of one folder.
const PAIRS_MAX: usize = 10_000;
/// The endings of a file with a chain whose key is in a file of the same name that ends with `.key`.
const CHAIN_ENDINGS: [&str; 4] = ["pem", "crt", "cer", "cert"];
/// Files that belong together by their names: the key, then the chain.
const KNOWN: [(&str, &str); 2] = [("privkey.pem", "fullchain.pem"), ("key.pem", "cert.pem")];

/// What `--tls` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `CHAIN,KEY`.
    Pair(Pair),
    /// A folder of pairs, or one file that holds both halves.
    Path(PathBuf),
}

/// Why the files of a source are not known.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the folder {path} cannot be read")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the folder {path} holds more than {PAIRS_MAX} certificates")]
    TooMany { path: PathBuf },
}

/// What a source holds now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub pairs: Vec<Pair>,
    /// The folders whose changes may change the pairs.
    pub folders: Vec<PathBuf>,
    /// Whether the operator named the pairs one by one.
    pub named: bool,
    /// Folders in the source's own that cannot be read, and why: `lost+found`, for one.
    pub unread: BTreeMap<PathBuf, String>,
}

// === impl Source ===

impl Source {
    /// Looks which pairs there are.
    pub fn find(&self) -> Result<Found, SourceError> {
        match self {
            Self::Pair(pair) => Ok(named(pair.clone())),
            Self::Path(path) if path.is_dir() => folder(path),
            Self::Path(path) => Ok(named(Pair { chain: path.clone(), key: path.clone() })),
        }
    }
}

fn named(pair: Pair) -> Found {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let folders = vec![parent(&pair.chain), parent(&pair.key)];
    Found { pairs: vec![pair], folders, named: true, ..Found::default() }
}

/// The pairs of a folder and of those folders in it that can be read, in the order of their names.
fn folder(path: &Path) -> Result<Found, SourceError> {
    let mut found = Found { folders: vec![path.to_owned()], ..Found::default() };
    let mut below = Vec::new();
    let names = names(path)?;
    pairs_of(path, &names, &mut found.pairs);
    for name in names {
        let path = path.join(&name);
        // Kubernetes keeps the files that it links to in `..data` and the like.
        if !name.starts_with('.') && path.is_dir() {
            below.push(path);
        }
    }
    for path in below {
        let names = self::names(&path);
        add(&mut found, path, names);
    }
    if found.pairs.len() > PAIRS_MAX {
        return Err(SourceError::TooMany { path: path.to_owned() });
    }
    Ok(found)
}

/// Adds a folder in the source's own, if it can be read: the others serve without it.
fn add(found: &mut Found, path: PathBuf, names: Result<Vec<String>, SourceError>) {
    match names {
        Ok(names) => {
            pairs_of(&path, &names, &mut found.pairs);
            found.folders.push(path);
        }
        Err(error) => {
            found.unread.insert(path, chain(&error));
        }
    }
}

fn names(path: &Path) -> Result<Vec<String>, SourceError> {
    let failed = |source| SourceError::Folder { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn pairs_of(folder: &Path, names: &[String], pairs: &mut Vec<Pair>) {
    for name in names {
        let chain = match KNOWN.iter().find(|(key, _)| key == name) {
            Some((_, chain)) => Some((*chain).to_owned()),
            None => name.strip_suffix(".key").map(|stem| chain_of(stem, names)),
        };
        if let Some(chain) = chain {
            pairs.push(Pair { chain: folder.join(chain), key: folder.join(name) });
        }
    }
}

/// The chain to the key `STEM.key`; the likeliest name where there is none.
fn chain_of(stem: &str, names: &[String]) -> String {
    let candidates = CHAIN_ENDINGS.map(|ending| format!("{stem}.{ending}"));
    let there = candidates.iter().find(|candidate| names.contains(candidate));
    there.cloned().unwrap_or_else(|| format!("{stem}.pem"))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn both_folders_of_a_named_pair_matter() {
        let found = Source::Pair(Pair { chain: "a/chain.pem".into(), key: "b/key.pem".into() }).find().unwrap();
        assert_eq!(found.folders, [PathBuf::from("a"), PathBuf::from("b")]);
        assert!(found.named);
    }

    #[test]
    fn a_folder_that_cannot_be_read_leaves_the_others() {
        let mut found = Found::default();
        let denied = SourceError::Folder { path: "t/lost+found".into(), source: ErrorKind::PermissionDenied.into() };
        for (path, names) in [
            ("t/a", Ok(vec!["fullchain.pem".to_owned(), "privkey.pem".to_owned()])),
            ("t/lost+found", Err(denied)),
            ("t/z", Ok(vec!["z.key".to_owned(), "z.pem".to_owned()])),
        ] {
            add(&mut found, path.into(), names);
        }
        assert_eq!(found.folders, [PathBuf::from("t/a"), PathBuf::from("t/z")]);
        assert_eq!(found.pairs.len(), 2);
        let (path, why) = found.unread.first_key_value().unwrap();
        assert_eq!(path, Path::new("t/lost+found"));
        assert!(why.contains("t/lost+found cannot be read: permission denied"), "{why}");
    }

    #[test]
    fn a_folder_holds_pairs_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in ["b.key", "b.crt", "a.key", "a.pem", "note.txt", "alone.pem"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        let live = path.join("site.test");
        std::fs::create_dir(&live).unwrap();
        for name in ["privkey.pem", "fullchain.pem", "chain.pem", "cert.pem"] {
            std::fs::write(live.join(name), "").unwrap();
        }
        std::fs::create_dir(path.join("..data")).unwrap();
        std::fs::write(path.join("..data/tls.key"), "").unwrap();
        let found = Source::Path(path.to_owned()).find().unwrap();
        let pair = |folder: &Path, chain: &str, key: &str| Pair { chain: folder.join(chain), key: folder.join(key) };
        assert_eq!(
            found.pairs,
            [pair(path, "a.pem", "a.key"), pair(path, "b.crt", "b.key"), pair(&live, "fullchain.pem", "privkey.pem")]
        );
        assert_eq!(found.folders, [path.to_owned(), live]);
    }
}
