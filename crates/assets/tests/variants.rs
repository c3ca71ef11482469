//! Compressed variants of big files: made once, kept, and never served unless they are whole.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use selvedge_assets::{AssetRequest, AssetSet, AssetsConfig, StoredFile, Variants};
use support::{header, headers};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;

/// A site of one file that a store keeps.
struct Stored {
    folder: TempDir,
    content: String,
    variants: Arc<Variants>,
    set: AssetSet,
}

impl Stored {
    fn new() -> Self {
        Self::kept_in("variants")
    }

    fn kept_in(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let content: String = (0..60_000).map(|number| format!("line {}\n", number * 7919 % 10_007)).collect();
        fs::write(folder.path().join("blob"), &content).unwrap();
        let variants = Variants::open(&folder.path().join(name), MIB);
        let set = set(folder.path(), &content, &variants);
        Self { folder, content, variants, set }
    }

    /// As after a restart.
    fn reopen(&mut self) {
        self.variants = Variants::open(&self.folder.path().join("variants"), MIB);
        self.set = set(self.folder.path(), &self.content, &self.variants);
    }

    async fn request(&self, method: Method, pairs: &[(&str, &str)]) -> Response<Bytes> {
        let headers = headers(pairs);
        let request = AssetRequest::new(&method, "https", "example.com", "/app.js", &headers);
        let answer = self.set.answer(&request);
        let (parts, body) = self.set.respond(&request, answer).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    /// An answer whose body is the file, compressed with brotli; how long it says that it is.
    async fn compressed(&self) -> Option<usize> {
        let response = self.request(Method::GET, &[("accept-encoding", "br, gzip")]).await;
        assert_eq!(header(&response, "content-encoding"), Some("br"));
        assert_eq!(header(&response, "vary"), Some("Accept-Encoding"));
        let mut decoded = String::new();
        brotli::Decompressor::new(&response.body()[..], 4096).read_to_string(&mut decoded).unwrap();
        assert!(decoded == self.content);
        let length = header(&response, "content-length").map(|length| length.parse().unwrap());
        assert!(length.is_none_or(|length: usize| length == response.body().len()));
        length
    }

    fn files(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.folder.path().join("variants")).unwrap();
        let folders = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        folders.flat_map(|path| fs::read_dir(path).unwrap()).map(|entry| entry.unwrap().path()).collect()
    }
}

fn set(folder: &Path, content: &str, variants: &Arc<Variants>) -> AssetSet {
    let file = StoredFile {
        path: "/app.js".into(),
        file: folder.join("blob"),
        bytes: content.len() as u64,
        hash: blake3::hash(content.as_bytes()).to_hex().to_string(),
        content_type: Some("text/javascript; charset=utf-8".into()),
    };
    let set = AssetSet::of_files([file], "", "", AssetsConfig::default()).unwrap();
    set.with_variants(Arc::clone(variants))
}

#[tokio::test]
async fn a_variant_is_made_once_and_kept() {
    let mut stored = Stored::new();
    stored.compressed().await;
    stored.variants.settled().await;
    let files = stored.files();
    let made = |files: &[PathBuf]| fs::metadata(&files[0]).unwrap().modified().unwrap();
    let first = made(&files);
    for _ in 0..3 {
        assert!(stored.compressed().await.is_some());
    }
    stored.reopen();
    assert!(stored.compressed().await.is_some());
    stored.variants.settled().await;
    assert_eq!(stored.files(), files);
    assert_eq!(made(&files), first);
    assert_eq!(files.len(), 1);
}

#[tokio::test]
async fn all_who_ask_while_it_is_made_get_all_of_it() {
    let stored = Arc::new(Stored::new());
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let stored = Arc::clone(&stored);
            tokio::spawn(async move { stored.compressed().await })
        })
        .collect();
    for asked in asking {
        asked.await.unwrap();
    }
    stored.variants.settled().await;
    assert_eq!(stored.files().len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_leaves_it_to_the_next() {
    let stored = Stored::new();
    let (method, headers) = (Method::GET, headers(&[("accept-encoding", "br")]));
    let request = AssetRequest::new(&method, "https", "example.com", "/app.js", &headers);
    drop(stored.set.respond(&request, stored.set.answer(&request)).await.unwrap());
    stored.variants.settled().await;
    assert!(stored.compressed().await.is_some());
}

#[tokio::test]
async fn a_kept_variant_is_validated_and_asked_about_like_any_answer() {
    let stored = Stored::new();
    let plain = stored.request(Method::GET, &[]).await;
    let etag = header(&plain, "etag").unwrap();
    for coding in ["br", "gzip"] {
        let accept = ("accept-encoding", coding);
        // HEAD has nothing made.
        let head = stored.request(Method::HEAD, &[accept]).await;
        assert_eq!((header(&head, "content-encoding"), header(&head, "content-length")), (Some(coding), None));
        stored.variants.settled().await;
        let made = stored.request(Method::GET, &[accept]).await;
        stored.variants.settled().await;
        let kept = stored.request(Method::GET, &[accept]).await;
        assert!(made.body() == kept.body());
        let weak = format!("W/{etag}");
        for response in [&made, &kept] {
            assert_eq!(header(response, "content-encoding"), Some(coding));
            assert_eq!(header(response, "etag"), Some(weak.as_str()));
            assert_eq!(header(response, "accept-ranges"), None);
        }
        let head = stored.request(Method::HEAD, &[accept]).await;
        assert_eq!(header(&head, "content-length"), Some(kept.body().len().to_string().as_str()));
        assert!(head.body().is_empty());
        let unmodified = stored.request(Method::GET, &[accept, ("if-none-match", weak.as_str())]).await;
        assert_eq!(unmodified.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header(&unmodified, "etag"), Some(weak.as_str()));
        // Ranges are of the file itself.
        let range = stored.request(Method::GET, &[accept, ("range", "bytes=0-5")]).await;
        assert_eq!((range.status(), &range.body()[..]), (StatusCode::PARTIAL_CONTENT, &b"line 0"[..]));
        assert_eq!(header(&range, "content-encoding"), None);
    }
    assert_eq!(stored.files().len(), 2);
}

#[tokio::test]
async fn what_is_missing_torn_or_damaged_is_made_again() {
    let mut stored = Stored::new();
    let whole = {
        stored.compressed().await;
        stored.variants.settled().await;
        fs::read(&stored.files()[0]).unwrap()
    };
    let file = stored.files().remove(0);
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let zeros = vec![0; whole.len()];
    for content in [&whole[..whole.len() - 1], &whole[..10], &[][..], &damaged[..], &zeros[..]] {
        fs::write(&file, content).unwrap();
        stored.reopen();
        assert_eq!(stored.compressed().await, None, "what was served is not the file");
        stored.variants.settled().await;
        assert_eq!(stored.compressed().await, Some(whole.len() - 32));
    }
    // Seen while it is served, too.
    for remove in [true, false] {
        let changed = if remove { fs::remove_file(&file) } else { fs::write(&file, &whole[1..]) };
        changed.unwrap();
        assert_eq!(stored.compressed().await, None);
        stored.variants.settled().await;
        assert!(fs::read(&file).unwrap() == whole);
    }
}

#[tokio::test]
async fn what_a_killed_process_was_writing_is_removed() {
    let mut stored = Stored::new();
    let left = stored.folder.path().join("variants").join("making-7");
    fs::write(&left, "half").unwrap();
    stored.reopen();
    assert!(!left.exists());
}

#[tokio::test]
async fn where_none_can_be_kept_answers_are_compressed_all_the_same() {
    // The blob itself stands where the folder would be.
    let stored = Stored::kept_in("blob");
    assert_eq!(stored.compressed().await, None);
    stored.variants.settled().await;
    let again = stored.request(Method::GET, &[("accept-encoding", "br")]).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert!(fs::read_to_string(stored.folder.path().join("blob")).unwrap() == stored.content);
}

#[tokio::test]
async fn variants_of_what_is_gone_are_removed() {
    let stored = Stored::new();
    for coding in ["br", "gzip"] {
        stored.request(Method::GET, &[("accept-encoding", coding)]).await;
        stored.variants.settled().await;
    }
    let hash = blake3::hash(stored.content.as_bytes()).to_hex();
    assert_eq!(stored.variants.retain(|there| there == hash.as_str()).unwrap(), 0);
    assert_eq!(stored.files().len(), 2);
    assert_eq!(stored.variants.retain(|_| false).unwrap(), 2);
    assert!(stored.files().is_empty());
}

#[tokio::test]
async fn a_folder_that_holds_more_than_it_may_is_brought_down() {
    let mut stored = Stored::new();
    for number in 0..5_u8 {
        let name = format!("{}.br", blake3::hash(&[number]).to_hex());
        let folder = stored.folder.path().join("variants").join(&name[..2]);
        fs::create_dir_all(&folder).unwrap();
        let file = fs::File::create(folder.join(name)).unwrap();
        file.set_len(MIB / 2).unwrap();
        let made = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(number));
        file.set_modified(made).unwrap();
    }
    stored.reopen();
    let mut left: Vec<_> =
        stored.files().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    left.sort();
    let mut newest: Vec<String> = [3_u8, 4].map(|number| format!("{}.br", blake3::hash(&[number]).to_hex())).into();
    newest.sort();
    assert_eq!(left, newest);
}
