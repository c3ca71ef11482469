//! Which imports give a module of their own, and of which kind.
//!
//! The order and the meaning of `fallthrough` are wrangler's: the user's rules come first, and a rule without
//! `fallthrough` ends the list for its kind, the built-in rule of that kind included.

use std::path::{Component, Path, PathBuf};

use fast_glob::glob_match;

use crate::options::Rule;
use crate::output::ModuleKind;

const BUILT_IN: [(ModuleKind, &[&str]); 3] = [
    (ModuleKind::Text, &["**/*.txt", "**/*.html", "**/*.sql"]),
    (ModuleKind::Data, &["**/*.bin"]),
    (ModuleKind::Wasm, &["**/*.wasm", "**/*.wasm?module"]),
];

#[derive(Debug)]
pub(crate) struct Rules {
    list: Vec<(ModuleKind, Vec<String>)>,
}

impl Rules {
    pub(crate) fn new(user: &[Rule]) -> Self {
        let mut list = Vec::with_capacity(user.len() + BUILT_IN.len());
        let mut ended: Vec<ModuleKind> = Vec::new();
        for rule in user {
            if ended.contains(&rule.kind) {
                continue;
            }
            let globs = rule.globs.iter().map(|glob| glob.trim_start_matches("./").to_owned());
            list.push((rule.kind, globs.collect()));
            if !rule.fallthrough {
                ended.push(rule.kind);
            }
        }
        for (kind, globs) in BUILT_IN {
            if !ended.contains(&kind) {
                list.push((kind, globs.iter().map(|&glob| glob.to_owned()).collect()));
            }
        }
        Self { list }
    }

    /// The kind of the file at `path`, relative to the folder the rules are about.
    pub(crate) fn kind_of_path(&self, path: &str) -> Option<ModuleKind> {
        let matching = |globs: &[String]| globs.iter().any(|glob| matches(glob, path));
        self.list.iter().find(|(_, globs)| matching(globs)).map(|(kind, _)| *kind)
    }

    /// The kind of the module that `specifier`, imported from the file `importer`, stands for. `None` for what the
    /// bundler compiles.
    pub(crate) fn kind_of_import(&self, specifier: &str, importer: Option<&str>, root: &Path) -> Option<ModuleKind> {
        let kind = self.kind_of_path(specifier.trim_start_matches(['.', '/'])).or_else(|| {
            let relative = specifier.starts_with("./") || specifier.starts_with("../");
            let folder = relative.then(|| Path::new(importer?).parent()).flatten()?;
            let path = normalized(&folder.join(specifier));
            self.kind_of_path(path.strip_prefix(root).ok()?.to_str()?)
        })?;
        (!kind.is_script()).then_some(kind)
    }
}

/// A glob without a folder holds in every folder.
fn matches(glob: &str, path: &str) -> bool {
    if glob.contains('/') {
        return glob_match(glob, path);
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    glob_match(glob, name)
}

/// `path` without `.` and `..`, by its text alone.
pub(crate) fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: ModuleKind, glob: &str, fallthrough: bool) -> Rule {
        Rule { kind, globs: vec![glob.to_owned()], fallthrough }
    }

    fn kind(rules: &Rules, specifier: &str) -> Option<ModuleKind> {
        rules.kind_of_import(specifier, Some("/w/src/index.ts"), Path::new("/w"))
    }

    #[test]
    fn built_in_rules_hold_without_any() {
        let rules = Rules::new(&[]);
        assert_eq!(kind(&rules, "./a.txt"), Some(ModuleKind::Text));
        assert_eq!(kind(&rules, "../q/b.sql"), Some(ModuleKind::Text));
        assert_eq!(kind(&rules, "pkg/d.bin"), Some(ModuleKind::Data));
        assert_eq!(kind(&rules, "./e.wasm?module"), Some(ModuleKind::Wasm));
        assert_eq!(kind(&rules, "./f.ts"), None);
        assert_eq!(kind(&rules, "./g.json"), None);
    }

    #[test]
    fn rule_without_fallthrough_replaces_the_built_in_one() {
        let rules = Rules::new(&[rule(ModuleKind::Text, "**/*.md", false)]);
        assert_eq!(kind(&rules, "./a.md"), Some(ModuleKind::Text));
        assert_eq!(kind(&rules, "./a.txt"), None);
        assert_eq!(kind(&rules, "./a.bin"), Some(ModuleKind::Data));
    }

    #[test]
    fn rule_with_fallthrough_adds_to_it() {
        let rules = Rules::new(&[rule(ModuleKind::Text, "*.md", true)]);
        assert_eq!(kind(&rules, "./docs/a.md"), Some(ModuleKind::Text));
        assert_eq!(kind(&rules, "./a.txt"), Some(ModuleKind::Text));
    }

    #[test]
    fn a_glob_with_a_folder_is_about_the_path_from_the_root() {
        let rules = Rules::new(&[rule(ModuleKind::Data, "src/raw/*.js", true)]);
        assert_eq!(kind(&rules, "./raw/a.js"), Some(ModuleKind::Data));
        assert_eq!(kind(&rules, "./a.js"), None);
    }
}
