//! What the path given to `selvedge dev` means.

use std::path::{Path, PathBuf};

use crate::{
    error::ProjectError,
    file::SourceFile,
    jsonc,
    reader::{At, Reader},
};

#[derive(Debug)]
pub(crate) enum Target {
    /// A worker's file, without a config.
    Script { file: PathBuf },
    /// A folder without a config that holds a worker under one of the usual names.
    Bare { folder: PathBuf, main: PathBuf },
    Config {
        folder: PathBuf,
        file: PathBuf,
        format: Format,
        /// The folder that paths may not leave, but for a repository around it.
        within: PathBuf,
        /// Configs in the same folder that are not read.
        shadowed: Vec<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// wrangler reads `.json` as JSONC too.
    Jsonc,
    Toml,
}

const SCRIPT_EXTENSIONS: &[&str] = &["js", "mjs", "jsx", "ts", "mts", "tsx"];

/// Written by plugins that make a worker out of a framework's project; wrangler reads it too.
const REDIRECT: &str = ".wrangler/deploy/config.json";

/// In wrangler's order of precedence.
const CONFIGS: &[(&str, Format)] =
    &[("wrangler.json", Format::Jsonc), ("wrangler.jsonc", Format::Jsonc), ("wrangler.toml", Format::Toml)];

const MAINS: &[&str] = &[
    "index.ts",
    "index.tsx",
    "index.mts",
    "index.js",
    "index.jsx",
    "index.mjs",
    "src/index.ts",
    "src/index.tsx",
    "src/index.mts",
    "src/index.js",
    "src/index.jsx",
    "src/index.mjs",
];

pub(crate) fn locate(path: &Path) -> Result<Target, ProjectError> {
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            ProjectError::NotFound { path: path.to_owned() }
        }
        _ => ProjectError::Read { path: path.to_owned(), source },
    })?;
    if metadata.is_dir() {
        return locate_folder(path);
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let format = match extension {
        extension if SCRIPT_EXTENSIONS.contains(&extension) => {
            let file = path.to_owned();
            return Ok(Target::Script { file });
        }
        "json" | "jsonc" => Format::Jsonc,
        "toml" => Format::Toml,
        _ => {
            return Err(ProjectError::UnknownFileType { path: path.to_owned() });
        }
    };
    let folder = folder_of(path);
    Ok(Target::Config { within: folder.clone(), folder, file: path.to_owned(), format, shadowed: Vec::new() })
}

/// What a framework's build left for the deployment of `folder`: the config that it wrote.
pub(crate) fn redirected(folder: &Path) -> Result<Option<PathBuf>, ProjectError> {
    let Some(redirect) = SourceFile::read_if_present(&folder.join(REDIRECT))? else {
        return Ok(None);
    };
    let tree = jsonc::parse(&redirect)?;
    let mut reader = Reader::new(&redirect);
    let at = At { node: &tree, key: String::new() };
    let path = reader.fields(&at).and_then(|mut fields| {
        let at = fields.require(&mut reader, "configPath", "the path of a config")?;
        reader.text(&at)
    });
    reader.problems.check()?;
    Ok(path.map(|path| folder_of(redirect.path()).join(path)))
}

fn locate_folder(folder: &Path) -> Result<Target, ProjectError> {
    let mut found =
        CONFIGS.iter().map(|(name, format)| (folder.join(name), *format)).filter(|(file, _)| file.is_file());
    if let Some((file, format)) = found.next() {
        return Ok(Target::Config {
            folder: folder.to_owned(),
            within: folder.to_owned(),
            file,
            format,
            shadowed: found.map(|(file, _)| file).collect(),
        });
    }
    let main = MAINS.iter().map(|name| folder.join(name)).find(|file| file.is_file());
    match main {
        Some(main) => Ok(Target::Bare { folder: folder.to_owned(), main }),
        None => Err(ProjectError::NothingToRun { folder: folder.to_owned() }),
    }
}

/// The configs a folder could hold: any that appears changes what the folder means.
pub(crate) fn candidates(folder: &Path) -> impl Iterator<Item = PathBuf> {
    CONFIGS.iter().map(|(name, _)| folder.join(name))
}

/// `wrangler.toml` alone has an empty parent, which no system call takes.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
