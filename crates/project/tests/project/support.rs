//! A project on disk for one test.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use selvedge_project::{Project, ProjectError, Var, Warning, load};

pub struct Folder {
    temporary: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        Self { temporary }
    }

    /// With `wrangler.jsonc` and an empty `index.js`.
    pub fn jsonc(config: &str) -> Self {
        Self::new().file("index.js", "").file("wrangler.jsonc", config)
    }

    /// With `wrangler.toml` and an empty `index.js`.
    pub fn toml(config: &str) -> Self {
        Self::new().file("index.js", "").file("wrangler.toml", config)
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub fn folder(self, name: &str) -> Self {
        fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        symlink(target, self.path(name)).unwrap();
        self
    }

    /// Absolute and free of symlinks.
    pub fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().canonicalize().unwrap().join(name)
    }

    pub fn try_load(&self, env: Option<&str>) -> Result<Project, ProjectError> {
        load(self.temporary.path(), env)
    }

    pub fn load(&self) -> Project {
        self.try_load(None).unwrap()
    }

    pub fn load_env(&self, env: &str) -> Project {
        self.try_load(Some(env)).unwrap()
    }

    /// The error's message, with the folder's own path cut out.
    pub fn error(&self) -> String {
        self.cut(&self.try_load(None).unwrap_err().to_string())
    }

    pub fn warnings(&self, project: &Project) -> Vec<String> {
        let message = |warning: &Warning| self.cut(&warning.to_string());
        project.warnings.iter().map(message).collect()
    }

    pub fn cut(&self, message: &str) -> String {
        let canonical = format!("{}/", self.path("").display().to_string().trim_end_matches('/'));
        let given = format!("{}/", self.temporary.path().display());
        message.replace(&canonical, "").replace(&given, "")
    }
}

pub fn text(project: &Project, name: &str) -> Option<String> {
    match project.vars.get(name) {
        Some(Var::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

pub fn secret(project: &Project, name: &str) -> Option<String> {
    let secret = project.secrets.get(name)?;
    Some(secret.expose().to_owned())
}
