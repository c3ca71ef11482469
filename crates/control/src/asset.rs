//! Uploads of static assets: what is missing is asked for, checked as it comes, and kept once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use selvedge_model::{AccountId, AssetFile, AssetFiles, BlobHash, WorkerName};
use serde::{Deserialize, Serialize};

use crate::bounds::{
    ASSET_BYTES_MAX, ASSET_FILES_MAX, ASSET_PATH_BYTES_MAX, ASSETS_BUCKET_BYTES, ASSETS_BUCKET_FILES, ASSETS_SESSION,
    ASSETS_SESSION_FILES_MAX, ASSETS_SESSIONS_MAX, ROWS_MAX,
};
use crate::caller::{Caller, Permission};
use crate::control::{Control, random_id};
use crate::error::ControlError;
use crate::pins::Pinned;
use crate::secret::SecretsKey;
use crate::store::{KnownAsset, Session};

/// One file that an upload is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetEntry {
    /// The first 32 hexadecimal digits of BLAKE3 over the content in base64 followed by the extension without its dot.
    pub hash: String,
    /// Bytes.
    pub size: u64,
}

/// An upload of assets has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetsSession {
    /// Lets its holder upload these files, and nothing else. It also is the completion token, if nothing is missing.
    pub token: String,
    /// The hashes of what is missing, grouped as they are to be sent.
    pub buckets: Vec<Vec<String>>,
}

/// How far an upload of assets is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetsUploaded {
    /// How many files are missing yet.
    pub missing: u64,
    /// What an upload's metadata names as `assets.jwt`: there once nothing is missing.
    pub completion: Option<String>,
}

/// What a token of an upload says, signed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub session: String,
    /// Seconds since 1970.
    pub exp: u64,
}

/// What the signing key is derived for.
const PURPOSE: &str = "selvedge 2026-11 uploads of assets";
const HASH_CHARS: usize = 32;
/// The longest content type that is kept, in bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// What a client says of a file whose type it does not know.
const NO_CONTENT_TYPE: &str = "application/null";

impl Control {
    /// Begins an upload of assets for a worker, which need not exist yet. Needs `workers:write`.
    pub async fn start_assets(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        manifest: BTreeMap<String, AssetEntry>,
    ) -> Result<AssetsSession, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        check_manifest(&manifest)?;
        let _kept = self.blobs.read().await;
        let now_ms = self.core.clock.now_ms();
        let sizes: BTreeMap<String, u64> = manifest.values().map(|entry| (entry.hash.clone(), entry.size)).collect();
        let missing = self.missing_assets(caller, account, &sizes, now_ms).await?;
        let expires_ms = now_ms + ASSETS_SESSION.as_millis() as u64;
        let (id, own, worker) = (random_id(), account.clone(), worker.clone());
        let token = token_of(&Claims { session: id.clone(), exp: expires_ms / 1000 }, &self.key)?;
        let buckets = buckets(&missing, &sizes);
        let (files, begun) = ((manifest.len() as u64, missing.len() as u64), id.clone());
        self.core
            .store
            .write(move |view| {
                view.forget_sessions(now_ms)?;
                let (sessions, under_way) = view.count_sessions(&own, now_ms)?;
                if sessions >= ASSETS_SESSIONS_MAX || under_way + files.0 > ASSETS_SESSION_FILES_MAX {
                    let what = "uploads of assets under way";
                    return Err(ControlError::TooMany { what, count_max: ASSETS_SESSIONS_MAX });
                }
                view.insert_session(&begun, &own, &worker, expires_ms, files)
            })
            .await?;
        self.fill_session(&id, manifest, missing).await?;
        Ok(AssetsSession { token, buckets })
    }

    /// Writes down what an upload is to have. Piece by piece, so that no other account's command waits for a large one: nobody
    /// has its token yet.
    async fn fill_session(
        &self,
        id: &str,
        manifest: BTreeMap<String, AssetEntry>,
        missing: Vec<String>,
    ) -> Result<(), ControlError> {
        let mut files = manifest.into_iter();
        let mut missing = missing.into_iter();
        loop {
            let files: Vec<_> = files.by_ref().take(ROWS_MAX).collect();
            let missing: Vec<_> = missing.by_ref().take(ROWS_MAX).collect();
            if files.is_empty() && missing.is_empty() {
                return Ok(());
            }
            let id = id.to_owned();
            self.core.store.write(move |view| view.insert_session_files(&id, &files, &missing)).await?;
        }
    }

    /// Which of the files are not here. Those that are stay for another while.
    async fn missing_assets(
        &self,
        caller: &Caller,
        account: &AccountId,
        sizes: &BTreeMap<String, u64>,
        now_ms: u64,
    ) -> Result<Vec<String>, ControlError> {
        let (own, hashes): (_, Vec<String>) = (account.clone(), sizes.keys().cloned().collect());
        let known = self
            .ask(caller, account, Permission::WorkersWrite, move |view| {
                view.known_assets(&own, hashes.iter().map(String::as_str))
            })
            .await?;
        let blobs: Vec<_> = known.iter().map(|asset| asset.blob.clone()).collect();
        let mut gone: BTreeSet<_> = self.core.fabric.missing_blobs(&blobs).await?.into_iter().collect();
        gone.extend(self.damaged_assets(&known, sizes).await?);
        let here: BTreeSet<String> =
            known.iter().filter(|asset| !gone.contains(&asset.blob)).map(|asset| asset.hash.clone()).collect();
        for piece in blobs.chunks(ROWS_MAX) {
            let piece = piece.to_vec();
            self.core.store.write(move |view| view.note_unused(&piece, now_ms)).await?;
        }
        Ok(sizes.keys().filter(|hash| !here.contains(*hash)).cloned().collect())
    }

    /// Which of them have another size in the fabric than they had when they were uploaded, as far as that shows without
    /// reading them: uploaded again, they are whole again.
    async fn damaged_assets(
        &self,
        known: &[KnownAsset],
        sizes: &BTreeMap<String, u64>,
    ) -> Result<Vec<BlobHash>, ControlError> {
        let expected: Vec<(BlobHash, u64)> =
            known.iter().filter_map(|asset| Some((asset.blob.clone(), *sizes.get(&asset.hash)?))).collect();
        let fabric = Arc::clone(&self.core.fabric);
        let looked = tokio::task::spawn_blocking(move || {
            let is_damaged = |(blob, size): &(BlobHash, u64)| {
                let file = fabric.blob_file(blob).and_then(|path| std::fs::metadata(path).ok());
                file.is_some_and(|file| file.len() != *size)
            };
            expected.into_iter().filter(is_damaged).map(|(blob, _)| blob).collect()
        });
        looked.await.map_err(|error| ControlError::View { action: "look for damaged assets", source: error.into() })
    }

    /// The account of an upload of assets, by its token. Refuses one that is unknown or has expired: before its body is
    /// read.
    pub async fn check_assets_token(&self, token: &str) -> Result<AccountId, ControlError> {
        self.assets_session(token).await.map(|(_, session)| session.account)
    }

    /// Takes one file of an upload, whose token says which. The content is compared with the hash. Without a content
    /// type, or with `application/null`, the file is served without one.
    pub async fn put_asset(
        &self,
        token: &str,
        hash: &str,
        content_type: Option<&str>,
        content: Bytes,
    ) -> Result<AssetsUploaded, ControlError> {
        let (id, session) = self.assets_session(token).await?;
        let (asked, of) = (id.clone(), hash.to_owned());
        let paths = self.core.store.read(move |view| view.session_paths(&asked, &of)).await?;
        let at = || format!("the asset {}", hash.chars().take(HASH_CHARS).collect::<String>());
        if paths.is_empty() {
            return Err(ControlError::invalid(at(), "the manifest of this upload has no file of that hash"));
        }
        let bytes = content.len() as u64;
        let checked = content.clone();
        let extensions: BTreeSet<String> = paths.iter().map(|(path, _)| extension_of(path).to_owned()).collect();
        let sized = paths.iter().any(|(_, size)| *size == bytes);
        let hashes = tokio::task::spawn_blocking(move || hashes_of(&checked, &extensions));
        let hashes =
            hashes.await.map_err(|error| ControlError::View { action: "hash an asset", source: error.into() })?;
        if !sized || !hashes.iter().any(|known| known == hash) {
            return Err(ControlError::invalid(
                at(),
                "its content is not the one that the manifest announced: send it again",
            ));
        }
        let content_type = match content_type.map(str::trim) {
            None | Some("" | NO_CONTENT_TYPE) => None,
            Some(text)
                if text.len() <= CONTENT_TYPE_BYTES_MAX && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) =>
            {
                Some(text.to_owned())
            }
            Some(_) => return Err(ControlError::invalid(at(), "its content type is not one")),
        };
        let (blobs, _pinned) = self.put_blobs(vec![content]).await?;
        let Some(blob) = blobs.into_iter().next() else {
            return Err(ControlError::invalid(at(), "it could not be kept"));
        };
        let (account, hash) = (session.account, hash.to_owned());
        let file = AssetFile { blob, bytes, content_type };
        let missing = self.core.store.write(move |view| view.insert_asset(&id, &account, &hash, &file)).await?;
        Ok(AssetsUploaded { missing, completion: (missing == 0).then(|| token.to_owned()) })
    }

    /// The files of an upload of assets that is complete, and what holds them until a version uses them.
    pub(crate) async fn completed_assets(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        token: &str,
    ) -> Result<(AssetFiles, Pinned), ControlError> {
        let _kept = self.blobs.read().await;
        let (id, session) = self.assets_session(token).await?;
        // Another's token is as good as none.
        if session.account != *account || session.worker != *worker {
            return Err(ControlError::AssetsToken);
        }
        if session.missing > 0 {
            let problem = format!("{} files of the upload of assets are missing yet", session.missing);
            return Err(ControlError::invalid("assets.jwt", problem));
        }
        let account = account.clone();
        let (files, count) = self
            .core
            .store
            .read(move |view| Ok((view.session_files(&id, &account)?, view.count_session_files(&id)?)))
            .await?;
        if files.len() as u64 != count {
            return Err(ControlError::invalid("assets.jwt", "files of the upload have gone since: deploy again"));
        }
        let pinned = self.pins.pin(files.values().map(|file| file.blob.clone()).collect());
        Ok((files, pinned))
    }

    /// The upload that a token is of.
    async fn assets_session(&self, token: &str) -> Result<(String, Session), ControlError> {
        let claims = claims_of(token, &self.key).ok_or(ControlError::AssetsToken)?;
        let now_ms = self.core.clock.now_ms();
        let id = claims.session.clone();
        let session = self.core.store.read(move |view| view.session(&id, now_ms)).await?;
        session.map(|session| (claims.session, session)).ok_or(ControlError::AssetsToken)
    }
}

/// A token that says that.
pub(crate) fn token_of(claims: &Claims, key: &SecretsKey) -> Result<String, ControlError> {
    let claims = serde_json::to_vec(claims)
        .map_err(|error| ControlError::View { action: "write a token", source: error.into() })?;
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&key.derive(PURPOSE), signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// What a token says, if it is one that was signed here.
pub(crate) fn claims_of(token: &str, key: &SecretsKey) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    // Compares in constant time.
    hmac::verify(&key.derive(PURPOSE), signed.as_bytes(), &signature).ok()?;
    let (_, claims) = signed.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

pub(crate) fn check_manifest(manifest: &BTreeMap<String, AssetEntry>) -> Result<(), ControlError> {
    if manifest.len() > ASSET_FILES_MAX {
        let problem = format!("it has {} files: at most {ASSET_FILES_MAX} are allowed", manifest.len());
        return Err(ControlError::invalid("manifest", problem));
    }
    for (path, entry) in manifest {
        let shown: String = path.chars().filter(|char| !char.is_control()).take(120).collect();
        let problem = if !path.starts_with('/')
            || path.len() > ASSET_PATH_BYTES_MAX
            || path.chars().any(char::is_control)
        {
            format!(
                "the path must begin with /, and have at most {ASSET_PATH_BYTES_MAX} bytes without control characters"
            )
        } else if entry.hash.len() != HASH_CHARS
            || !entry.hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            format!("the hash must have {HASH_CHARS} hexadecimal digits in lower case")
        } else if entry.size > ASSET_BYTES_MAX {
            format!("{} bytes: at most {ASSET_BYTES_MAX} are allowed", entry.size)
        } else {
            continue;
        };
        return Err(ControlError::invalid(format!("manifest: {shown}"), problem));
    }
    Ok(())
}

/// Groups what is missing as it is to be sent.
pub(crate) fn buckets(missing: &[String], sizes: &BTreeMap<String, u64>) -> Vec<Vec<String>> {
    let mut buckets: Vec<Vec<String>> = Vec::new();
    let (mut bucket, mut bytes) = (Vec::new(), 0);
    for hash in missing {
        let size = sizes.get(hash).copied().unwrap_or_default();
        if !bucket.is_empty() && (bucket.len() >= ASSETS_BUCKET_FILES || bytes + size > ASSETS_BUCKET_BYTES) {
            buckets.push(std::mem::take(&mut bucket));
            bytes = 0;
        }
        bucket.push(hash.clone());
        bytes += size;
    }
    if !bucket.is_empty() {
        buckets.push(bucket);
    }
    buckets
}

/// The extension of a file without its dot, as Node's `path.extname` finds it.
fn extension_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rfind('.') {
        Some(at) if at > 0 => name.get(at + 1..).unwrap_or_default(),
        _ => "",
    }
}

/// What the content's hash is under each extension.
fn hashes_of(content: &[u8], extensions: &BTreeSet<String>) -> Vec<String> {
    let text = STANDARD.encode(content);
    let hash = |extension: &String| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes()).update(extension.as_bytes());
        hasher.finalize().to_hex().chars().take(HASH_CHARS).collect()
    };
    extensions.iter().map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_those_that_the_client_hashes() {
        for (path, extension) in [
            ("/index.html", "html"),
            ("/a.tar.gz", "gz"),
            ("/.nojekyll", ""),
            ("/a.b/c", ""),
            ("/LICENSE", ""),
            ("/a.", ""),
            ("/.well-known/x.json", "json"),
        ] {
            assert_eq!(extension_of(path), extension, "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_asked_for_in_pieces() {
        let sizes: BTreeMap<String, u64> = (0..250).map(|at| (format!("{at:03}"), 10)).collect();
        let missing: Vec<String> = sizes.keys().cloned().collect();
        let lengths: Vec<usize> = buckets(&missing, &sizes).iter().map(Vec::len).collect();
        assert_eq!(lengths, [100, 100, 50]);
        let large: BTreeMap<String, u64> = (0..3).map(|at| (format!("{at}"), ASSETS_BUCKET_BYTES)).collect();
        assert_eq!(buckets(&large.keys().cloned().collect::<Vec<_>>(), &large).len(), 3);
        assert!(buckets(&[], &sizes).is_empty());
    }
}
