//! `wasm_modules`, `text_blobs` and `data_blobs`: files that a worker in the service-worker form has as globals. wrangler
//! reads them at the top level only, for every environment.

use crate::{
    bindings::Taken,
    error::ProblemKind,
    name::BindingName,
    paths::Paths,
    project::{FileKind, GlobalFile},
    reader::{At, Fields, Placed, Reader},
    tree::Entry,
};

const KINDS: [FileKind; 3] = [FileKind::Wasm, FileKind::Text, FileKind::Data];

/// A file before it is known whether it exists, and whether its name is taken.
#[derive(Debug)]
pub(crate) struct GlobalSettings {
    name: Placed<BindingName>,
    kind: FileKind,
    path: Placed<String>,
}

pub(crate) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Vec<GlobalSettings> {
    let mut found = Vec::new();
    for kind in KINDS {
        let Some(files) = fields.get(kind.key()) else {
            continue;
        };
        for (entry, at) in reader.entries(&files).unwrap_or_default() {
            let (name, path) = (name(reader, entry, &at), reader.text(&at));
            if let (Some(name), Some(path)) = (name, path) {
                found.push(GlobalSettings { name: reader.placed(&at, name), kind, path: reader.placed(&at, path) });
            }
        }
    }
    found
}

fn name(reader: &mut Reader<'_>, entry: &Entry, at: &At<'_>) -> Option<BindingName> {
    let name = reader.key_name(entry, at)?;
    match name.check_part() {
        Ok(()) => Some(name),
        Err(invalid) => {
            reader.problem(at, ProblemKind::Name(invalid));
            None
        }
    }
}

/// The files that exist, under names that nothing else has.
pub(crate) fn resolve(
    reader: &mut Reader<'_>,
    paths: &Paths,
    settings: Vec<GlobalSettings>,
    has_main: bool,
    taken: &mut Taken,
) -> Vec<GlobalFile> {
    let mut files = Vec::new();
    for GlobalSettings { name, kind, path } in settings {
        if !has_main {
            reader.problem_at(path.at.clone(), path.key.clone(), ProblemKind::NeedsMain);
        }
        let is_free = taken.take_placed(reader, &name);
        if let Some(path) = paths.file(reader, &path).filter(|_| is_free) {
            files.push(GlobalFile { name: name.value, kind, path });
        }
    }
    files
}
