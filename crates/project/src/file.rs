//! One text file, read whole under a bound, that can say where a byte offset lies.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::error::{Location, ProjectError};

/// The largest config, `.dev.vars` or `.env` that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What is piped in, as a path. It is read without being opened: a socket, which it is where Node starts the process,
/// cannot be.
const INPUT: &str = "/dev/stdin";

/// The text of a file and the path to name it by.
#[derive(Debug)]
pub(crate) struct SourceFile {
    path: PathBuf,
    text: String,
}

// === impl SourceFile ===

impl SourceFile {
    pub(crate) fn read(path: &Path) -> Result<Self, ProjectError> {
        let file: Box<dyn Read> = if path == Path::new(INPUT) {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(path).map_err(|source| read_error(path, source))?)
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|source| read_error(path, source))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let length = std::fs::metadata(path).map_or(bytes.len() as u64, |meta| meta.len());
            return Err(ProjectError::TooLarge { path: path.to_owned(), bytes: length, bytes_max: FILE_BYTES_MAX });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
            ProjectError::NotText { at: locate(path, &before, valid) }
        })?;
        Ok(Self::new(path, &text))
    }

    /// Like [`SourceFile::read`], but a file that is not there is `None`.
    pub(crate) fn read_if_present(path: &Path) -> Result<Option<Self>, ProjectError> {
        match Self::read(path) {
            Ok(file) => Ok(Some(file)),
            Err(ProjectError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A byte-order mark, which no parser wants, is dropped.
    pub(crate) fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.strip_prefix('\u{feff}').unwrap_or(text).to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn locate(&self, offset: usize) -> Location {
        locate(&self.path, &self.text, offset)
    }
}

fn locate(path: &Path, text: &str, offset: usize) -> Location {
    let mut line = 1;
    let mut column = 1;
    for (at, character) in text.char_indices() {
        if at >= offset {
            break;
        }
        if character == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    Location { file: path.to_owned(), line, column }
}

fn read_error(path: &Path, source: io::Error) -> ProjectError {
    let path = path.to_owned();
    // Below a file there is nothing either.
    if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        ProjectError::NotFound { path }
    } else {
        ProjectError::Read { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let file = SourceFile::new(Path::new("a"), "\u{feff}é = 1\nsecond");
        assert_eq!(file.locate(0).column, 1);
        assert_eq!(file.locate("é".len()).column, 2);
        let second = file.locate(file.text().find("second").unwrap());
        assert_eq!((second.line, second.column), (2, 1));
    }
}
