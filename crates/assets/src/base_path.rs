//! `base_path`: what stands before the names of all files in the paths that requests ask for.

use crate::path;

/// Nothing, or a path without a slash at its end: `/docs`, unencoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct BasePath(Box<str>);

// === impl BasePath ===

impl BasePath {
    /// `docs`, `/docs` and `/docs/` are the same.
    pub(crate) fn new(text: &str) -> Self {
        Self(path::decode(&format!("/{text}/")).trim_end_matches('/').into())
    }

    /// The name that a decoded path asks for, or `None` where the path lies elsewhere.
    pub(crate) fn name_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&*self.0)? {
            "" => Some("/"),
            name if name.starts_with('/') => Some(name),
            _ => None,
        }
    }

    /// The path, not encoded, that asks for a name.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_follows_the_base() {
        for (base, path, name) in [
            ("", "/a", Some("/a")),
            ("/", "/", Some("/")),
            ("/docs", "/docs", Some("/")),
            ("/docs/", "/docs/", Some("/")),
            ("docs", "/docs/a/b", Some("/a/b")),
            ("/docs", "/docs-old/a", None),
            ("/docs", "/a", None),
            ("/docs", "/", None),
            ("/a%20b//c", "/a b/c/d", Some("/d")),
        ] {
            assert_eq!(BasePath::new(base).name_of(path), name, "{base} {path}");
        }
    }

    #[test]
    fn a_path_leads_to_its_name_again() {
        for (base, name, path) in [("/", "/a", "/a"), ("/docs", "/", "/docs/"), ("docs/", "/a/b", "/docs/a/b")] {
            let base = BasePath::new(base);
            assert_eq!(base.path_of(name), path);
            assert_eq!(base.name_of(path), Some(name));
        }
    }
}
