//! Where the operator's certificates are: pairs of files, and folders of them.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once(',') {
            Some((chain, key)) => Self::Pair(Pair { chain: chain.trim().into(), key: key.trim().into() }),
            None => Self::Path(text.into()),
        })
    }
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
    Found { pairs: vec![pair], folders, named: true }
}

/// The pairs of a folder and of the folders in it, in the order of their names.
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
        pairs_of(&path, &self::names(&path)?, &mut found.pairs);
        found.folders.push(path);
    }
    if found.pairs.len() > PAIRS_MAX {
        return Err(SourceError::TooMany { path: path.to_owned() });
    }
    Ok(found)
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
    use super::*;

    #[test]
    fn a_pair_is_named_by_two_files() {
        let source: Source = "a/chain.pem, b/key.pem".parse().unwrap();
        assert_eq!(source, Source::Pair(Pair { chain: "a/chain.pem".into(), key: "b/key.pem".into() }));
        let found = source.find().unwrap();
        assert_eq!(found.folders, [PathBuf::from("a"), PathBuf::from("b")]);
        assert!(found.named);
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
