//! Why there is no bundle.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// One thing wrong with the worker's files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostic {
    pub message: String,
    /// Relative to the root where it is below it.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1, in UTF-16 code units, as editors and V8 count.
    pub column: Option<u32>,
    /// The lines around the place, numbered, with a caret below the column.
    pub frame: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: message`, the frame and the hint below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if let Some(frame) = &self.frame {
            write!(f, "\n{frame}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("{}", summary(.diagnostics))]
    Build {
        diagnostics: Vec<Diagnostic>,
        /// Every file that was read before the build failed: the next attempt waits for one of them to change.
        watched: Vec<PathBuf>,
    },
    #[error("the entry {} does not exist", path.display())]
    EntryMissing { path: PathBuf },
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the modules are {actual_bytes} bytes together, {max_bytes} are allowed")]
    TooLarge { actual_bytes: u64, max_bytes: u64 },
    #[error("more than {max} files match the module rules below {}", path.display())]
    TooManyFiles { path: PathBuf, max: usize },
    #[error(
        "`find_additional_modules` is for a worker that exports its handlers, and {} does not: take it out of the \
         configuration, or write `export default {{ fetch(request, env) {{ … }} }}`", entry.display()
    )]
    NotModules { entry: PathBuf },
    #[error("bundling took longer than {} s", time_max.as_secs_f32())]
    TimedOut { time_max: Duration },
    #[error("could not start the bundler's threads")]
    Threads { source: std::io::Error },
    #[error("the bundler failed on its own account: {reason}")]
    Internal { reason: String },
}

impl BundleError {
    /// What a user reads: every diagnostic with its frame, or the error and its causes.
    pub fn report(&self) -> String {
        let mut text = String::new();
        if let Self::Build { diagnostics, .. } = self {
            for diagnostic in diagnostics {
                let _ = writeln!(text, "{diagnostic}\n");
            }
        } else {
            text.push_str(&self.to_string());
            let mut source = std::error::Error::source(self);
            while let Some(cause) = source {
                let _ = write!(text, ": {cause}");
                source = cause.source();
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

fn summary(diagnostics: &[Diagnostic]) -> String {
    match diagnostics {
        [] => "the build failed".to_owned(),
        [only] => only.message.clone(),
        [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
    }
}
