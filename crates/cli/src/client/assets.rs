//! Static files: what changed is uploaded, the rest is there already.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selvedge_assets::{AssetSet, ListedFile};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Body, Call};
use super::console::{Console, Progress};
use super::error::ClientError;
use super::multipart::Form;
use super::worker::Worker;

/// Requests at once.
const UPLOADS_AT_ONCE: usize = 3;
/// Hexadecimal digits of a file's hash that name it.
const HASH_CHARS: usize = 32;
/// What stands for the type of a file that is to be served without one.
const NO_TYPE: &str = "application/null";

/// What became of a version's files.
#[derive(Debug, Default)]
pub struct Uploaded {
    /// Says to the API that all of them are there.
    pub token: String,
    pub files: usize,
    pub sent: usize,
    pub sent_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Session {
    jwt: Option<String>,
    #[serde(default)]
    buckets: Vec<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Receipt {
    jwt: Option<String>,
}

/// A file by its hash.
struct Source {
    file: PathBuf,
    content_type: String,
    bytes: u64,
}

/// Uploads what of the set the platform does not have.
pub fn upload(worker: &Worker, set: &AssetSet, console: &Console) -> Result<Uploaded, ClientError> {
    let files = set.files();
    let mut manifest = BTreeMap::new();
    let mut sources = HashMap::new();
    for file in &files {
        let hash = hash(file)?;
        manifest.insert(file.path, json!({ "hash": hash, "size": file.bytes }));
        sources.insert(
            hash,
            Source {
                file: file.file.to_owned(),
                content_type: file.content_type.unwrap_or(NO_TYPE).to_owned(),
                bytes: file.bytes,
            },
        );
    }
    let path = worker.path(&["assets-upload-session"]);
    let session: Session = worker.place.api.send("POST", &path, &[], &json!({ "manifest": manifest }))?;
    let Some(token) = session.jwt else {
        return Err(ClientError::Missing("the API opened no session for the assets".to_owned()));
    };
    let wanted: Vec<&String> = session.buckets.iter().flatten().collect();
    let sent_bytes = wanted.iter().filter_map(|hash| sources.get(*hash)).map(|source| source.bytes).sum();
    let mut uploaded = Uploaded { token, files: files.len(), sent: wanted.len(), sent_bytes };
    if session.buckets.is_empty() {
        return Ok(uploaded);
    }
    console.progress(&format!("uploading {} of {} files", uploaded.sent, uploaded.files));
    let bar = console.bar("assets", sent_bytes);
    let completion = send(worker, &uploaded.token, session.buckets, &sources, &bar)?;
    bar.finish();
    uploaded.token = completion
        .ok_or_else(|| ClientError::Missing("the API did not confirm that all assets arrived; try again".to_owned()))?;
    Ok(uploaded)
}

/// Sends the buckets, some at once; gives the token of completion.
fn send(
    worker: &Worker,
    session: &str,
    buckets: Vec<Vec<String>>,
    sources: &HashMap<String, Source>,
    bar: &Progress,
) -> Result<Option<String>, ClientError> {
    let threads = UPLOADS_AT_ONCE.min(buckets.len());
    let waiting = Mutex::new(VecDeque::from(buckets));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let one = || {
        let mut completion = None;
        while let Some(bucket) = next() {
            match send_bucket(worker, session, &bucket, sources, bar) {
                Ok(receipt) => completion = receipt.jwt.filter(|jwt| !jwt.is_empty()).or(completion),
                Err(error) => {
                    // The others need not go on.
                    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return Err(error);
                }
            }
        }
        Ok(completion)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let mut completion = None;
        for thread in threads {
            match thread.join() {
                Ok(result) => completion = result?.or(completion),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(completion)
    })
}

fn send_bucket(
    worker: &Worker,
    session: &str,
    bucket: &[String],
    sources: &HashMap<String, Source>,
    bar: &Progress,
) -> Result<Receipt, ClientError> {
    let mut form = Form::new();
    let mut bytes = 0;
    for hash in bucket {
        let source = sources
            .get(hash)
            .ok_or_else(|| ClientError::Missing(format!("the API asks for an asset {hash}, which there is not")))?;
        form.file(hash, &source.content_type, STANDARD.encode(read(&source.file)?).as_bytes());
        bytes += source.bytes;
    }
    let (content_type, body) = form.finish();
    let receipt = worker.place.api.read(&Call {
        method: "POST",
        path: &["accounts", &worker.place.account, "workers", "assets", "upload"],
        query: &[("base64", "true")],
        body: Body::Bytes { content_type: &content_type, bytes: &body, sent: &|_| {} },
        token: Some(session),
        repeatable: true,
    });
    bar.add(bytes);
    receipt
}

/// As wrangler names files: by what is uploaded of them, and their extension.
fn hash(file: &ListedFile<'_>) -> Result<String, ClientError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(STANDARD.encode(read(file.file)?).as_bytes());
    hasher.update(extension(file.path).as_bytes());
    Ok(hasher.finalize().to_hex().get(..HASH_CHARS).unwrap_or_default().to_owned())
}

/// Without the dot, as Node.js sees it.
fn extension(path: &str) -> &str {
    let extension = Path::new(path).extension();
    extension.and_then(|extension| extension.to_str()).unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|source| ClientError::File { path: path.to_owned(), source })
}

/// The configuration of the assets, as the API has it.
pub fn config(assets: &selvedge_project::Assets) -> Result<Value, ClientError> {
    use selvedge_project::{HtmlHandling, NotFoundHandling, RunWorkerFirst};
    let html_handling = match assets.html_handling {
        HtmlHandling::AutoTrailingSlash => "auto-trailing-slash",
        HtmlHandling::ForceTrailingSlash => "force-trailing-slash",
        HtmlHandling::DropTrailingSlash => "drop-trailing-slash",
        HtmlHandling::None => "none",
    };
    let not_found_handling = match assets.not_found_handling {
        NotFoundHandling::SinglePageApplication => "single-page-application",
        NotFoundHandling::NotFoundPage => "404-page",
        NotFoundHandling::None => "none",
    };
    let mut config = json!({ "html_handling": html_handling, "not_found_handling": not_found_handling });
    let run_worker_first = match &assets.run_worker_first {
        RunWorkerFirst::Never => None,
        RunWorkerFirst::Always => Some(json!(true)),
        RunWorkerFirst::Matching(rules) => {
            let negated = rules.assets.iter().map(|rule| format!("!{rule}"));
            Some(json!(rules.worker.iter().cloned().chain(negated).collect::<Vec<_>>()))
        }
    };
    let texts = ["_headers", "_redirects"].into_iter().map(|name| {
        let path = assets.directory.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok((name, Some(Value::String(text)))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((name, None)),
            Err(source) => Err(ClientError::File { path, source }),
        }
    });
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    if let Some(object) = config.as_object_mut() {
        let base_path = assets.base_path.clone().map(Value::String);
        let all = texts.into_iter().chain([("run_worker_first", run_worker_first), ("base_path", base_path)]);
        object.extend(all.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_those_of_node() {
        for (path, expected) in
            [("/a/b.tar.gz", "gz"), ("/.well-known/x", ""), ("/.hidden", ""), ("/a.", ""), ("/a b.TXT", "TXT")]
        {
            assert_eq!(extension(path), expected, "{path}");
        }
    }

    #[test]
    fn a_file_is_named_as_wrangler_names_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.html"), "<h1>Hello</h1>\n").unwrap();
        let set = AssetSet::open(folder.path(), selvedge_assets::AssetsConfig::default()).unwrap();
        let expected = blake3::hash(b"PGgxPkhlbGxvPC9oMT4Khtml").to_hex();
        assert_eq!(hash(&set.files()[0]).unwrap(), expected.as_str()[..32]);
    }
}
