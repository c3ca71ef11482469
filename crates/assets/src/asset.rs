//! One file: what is known of it, and how its contents are read.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use thiserror::Error;

use crate::FILE_BYTES_MAX;
use crate::compress::Coding;
use crate::variants::Key;

/// Files up to this size are kept in memory once served, while [`MEMORY_BYTES_MAX`] lasts. In bytes: 64 KiB.
const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;
/// What one set keeps in memory of its small files, in bytes: 32 MiB.
const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What all sets of this process keep so together, in bytes: 256 MiB.
const TOTAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Characters of the content's hash that make the entity tag: 128 bits.
const ETAG_HEX_CHARS: usize = 32;
/// Read at a time while hashing, in bytes.
const HASH_BUFFER_BYTES: usize = 128 * 1024;

/// What all sets keep in memory now.
static TOTAL_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Content types that wrangler, whose uploads bring them along, takes from another table of file extensions.
const CONTENT_TYPES: &[(&str, &str)] = &[
    ("3mf", "model/3mf"),
    ("aif", "audio/x-aiff"),
    ("aiff", "audio/x-aiff"),
    ("asc", "application/pgp-keys"),
    ("c", "text/x-c"),
    ("cjs", "application/node"),
    ("cpp", "text/x-c"),
    ("dtd", "application/xml-dtd"),
    ("flac", "audio/x-flac"),
    ("h", "text/x-c"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ipynb", "application/x-ipynb+json"),
    ("java", "text/x-java-source"),
    ("jfif", "image/pjpeg"),
    ("jsx", "text/jsx"),
    ("jxr", "image/jxr"),
    ("ktx2", "image/ktx2"),
    ("lottie", "application/zip+dotlottie"),
    ("m2ts", "video/mp2t"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4b", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    ("manifest", "text/cache-manifest"),
    ("map", "application/json"),
    ("mdx", "text/mdx"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript"),
    ("mtl", "model/mtl"),
    ("mts", "video/mp2t"),
    ("mvt", "application/vnd.mapbox-vector-tile"),
    ("obj", "model/obj"),
    ("otf", "font/otf"),
    ("psd", "image/vnd.adobe.photoshop"),
    ("rar", "application/vnd.rar"),
    ("rpm", "application/x-redhat-package-manager"),
    ("sql", "application/sql"),
    ("step", "model/step"),
    ("stl", "model/stl"),
    ("stp", "model/step"),
    ("toml", "application/toml"),
    ("ts", "video/mp2t"),
    ("ttml", "application/ttml+xml"),
    ("usdz", "model/vnd.usdz+zip"),
    ("vcs", "text/x-vcalendar"),
    ("wgsl", "text/wgsl"),
    ("woff", "font/woff"),
    ("wsdl", "application/wsdl+xml"),
    ("xlf", "application/xliff+xml"),
    ("xml", "application/xml"),
    ("xsd", "application/xml"),
    ("xsl", "application/xml"),
    ("xslt", "application/xslt+xml"),
    ("yaml", "text/yaml"),
    ("yml", "text/yaml"),
];

/// A file of the index. Its contents are read when first served.
#[derive(Debug)]
pub(crate) struct Asset {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
    content_type: Option<HeaderValue>,
    /// The entity tag, where the file's name says what it holds: it never changes.
    fixed_etag: Option<HeaderValue>,
    /// The hash of its content, where the same holds.
    hash: Option<blake3::Hash>,
    known: OnceLock<Known>,
}

/// A file that a store keeps under the hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// What requests ask for: `/index.html`, unencoded.
    pub path: String,
    /// Where the content is.
    pub file: PathBuf,
    pub bytes: u64,
    /// BLAKE3 of the content, in hexadecimal digits.
    pub hash: String,
    /// None for a file that is served without `Content-Type`.
    pub content_type: Option<String>,
}

/// What reading the file once has shown, for as long as the file does not change.
#[derive(Clone, Debug)]
struct Known {
    etag: HeaderValue,
    content: Option<Bytes>,
    /// The content compressed, once someone has asked for it; none where there was no memory for it.
    brotli: OnceLock<Option<Bytes>>,
    gzip: OnceLock<Option<Bytes>>,
}

/// The memory one set spends on contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Held>);

/// What a set has taken of the memory for all; it is given back with the set.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicUsize,
}

/// A file opened to be served.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) etag: HeaderValue,
    pub(crate) bytes: u64,
    pub(crate) content: Content,
    /// Whether the file was read before.
    pub(crate) is_warm: bool,
}

#[derive(Debug)]
pub(crate) enum Content {
    Memory(Bytes),
    /// Positioned at its start.
    File(File),
}

/// A file that was indexed and cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot read the asset {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the asset {} has grown to {bytes} bytes; the limit is {FILE_BYTES_MAX}", .path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("the asset {} is no longer a file", .path.display())]
    NotAFile { path: PathBuf },
    /// Of one that never changes.
    #[error("the asset {} is damaged: its content is not the one that was uploaded", .path.display())]
    Damaged { path: PathBuf },
    #[error("the reader of assets has stopped")]
    Stopped,
}

// === impl Asset ===

impl Asset {
    pub(crate) fn new(path: PathBuf, bytes: u64, modified: Option<SystemTime>) -> Self {
        Self {
            content_type: content_type(&path),
            path,
            bytes,
            modified,
            fixed_etag: None,
            hash: None,
            known: OnceLock::new(),
        }
    }

    /// A file that never changes, of which all is known.
    pub(crate) fn stored(file: StoredFile) -> Self {
        let short = file.hash.get(..ETAG_HEX_CHARS).unwrap_or(&file.hash);
        Self {
            path: file.file,
            bytes: file.bytes,
            modified: None,
            content_type: file.content_type.and_then(|text| HeaderValue::from_str(&text).ok()),
            fixed_etag: HeaderValue::from_str(&format!("\"{short}\"")).ok(),
            hash: blake3::Hash::from_hex(&file.hash).ok(),
            known: OnceLock::new(),
        }
    }

    /// Where its content is.
    pub(crate) fn file(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }

    pub(crate) fn read_error(&self, source: io::Error) -> ServeError {
        ServeError::Read { path: self.path.clone(), source }
    }

    /// Opens the file, off the async threads unless its contents are in memory.
    pub(crate) async fn open(self: &Arc<Self>, memory: &Memory) -> Result<Opened, ServeError> {
        if let Some(Known { etag, content: Some(content), .. }) = self.known.get() {
            return Ok(Opened {
                etag: etag.clone(),
                bytes: content.len() as u64,
                content: Content::Memory(content.clone()),
                is_warm: true,
            });
        }
        let (asset, memory) = (Arc::clone(self), memory.clone());
        let opened = tokio::task::spawn_blocking(move || asset.open_blocking(&memory));
        opened.await.map_err(|_| ServeError::Stopped)?
    }

    fn open_blocking(&self, memory: &Memory) -> Result<Opened, ServeError> {
        let read_error = |source| self.read_error(source);
        // Asked before opening, because opening a pipe would wait for its other end.
        let is_file = fs::metadata(&self.path).map_err(read_error)?.is_file();
        if !is_file {
            return Err(ServeError::NotAFile { path: self.path.clone() });
        }
        let file = File::open(&self.path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(ServeError::TooLarge { path: self.path.clone(), bytes: metadata.len() });
        }
        if self.hash.is_some() && metadata.len() != self.bytes {
            return Err(ServeError::Damaged { path: self.path.clone() });
        }
        let is_unchanged =
            metadata.len() == self.bytes && (self.fixed_etag.is_some() || metadata.modified().ok() == self.modified);
        if let Some(etag) = self.fixed_etag.as_ref().filter(|_| is_unchanged && self.bytes > SMALL_FILE_BYTES_MAX) {
            return Ok(Opened { etag: etag.clone(), bytes: self.bytes, content: Content::File(file), is_warm: true });
        }
        if let Some(known) = self.known.get().filter(|_| is_unchanged) {
            return Ok(Opened {
                etag: known.etag.clone(),
                bytes: self.bytes,
                content: Content::File(file),
                is_warm: true,
            });
        }
        let opened = read(file, metadata.len()).map_err(read_error)?;
        if self.hash.is_some() && self.fixed_etag.as_ref() != Some(&opened.etag) {
            return Err(ServeError::Damaged { path: self.path.clone() });
        }
        if is_unchanged && opened.bytes == self.bytes {
            self.remember(&opened, memory);
        }
        Ok(opened)
    }

    fn remember(&self, opened: &Opened, memory: &Memory) {
        self.known.get_or_init(|| Known {
            etag: opened.etag.clone(),
            content: match &opened.content {
                Content::Memory(content) if memory.reserve(content.len()) => Some(content.clone()),
                Content::Memory(_) | Content::File(_) => None,
            },
            brotli: OnceLock::new(),
            gzip: OnceLock::new(),
        });
    }

    /// `content`, which [`Self::open`] gave from memory, compressed. None where it could not be remembered: not to be
    /// done anew for each request.
    pub(crate) async fn encoded(&self, content: &Bytes, coding: Coding, memory: &Memory) -> io::Result<Option<Bytes>> {
        // Content that is not the remembered one is of a file that has changed, or found no room.
        let known = self.known.get().filter(|known| known.content.as_ref() == Some(content));
        let slot = known.map(|known| match coding {
            Coding::Brotli => &known.brotli,
            Coding::Gzip => &known.gzip,
        });
        let Some(slot) = slot else {
            return Ok(None);
        };
        if let Some(encoded) = slot.get() {
            return Ok(encoded.clone());
        }
        let encoded = coding.encode_all(content.clone()).await?;
        // Inside, because others may have compressed it meanwhile, and one of them alone takes memory for it.
        slot.get_or_init(|| memory.reserve(encoded.len()).then(|| encoded.clone()));
        Ok(Some(encoded))
    }

    /// Under what a compressed variant of what was opened is kept. None for what may be something else the next time.
    pub(crate) fn variant(&self, opened: &Opened, coding: Coding) -> Option<Key> {
        let hash = self.hash.filter(|_| self.fixed_etag.as_ref() == Some(&opened.etag))?;
        Some(Key { hash, coding })
    }
}

// === impl Memory ===

impl Memory {
    /// Takes `bytes` of what is left, for as long as the set lives.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let Self(held) = self;
        if !take(&held.bytes, bytes, MEMORY_BYTES_MAX) {
            return false;
        }
        let taken = take(&TOTAL_BYTES, bytes, TOTAL_BYTES_MAX);
        if !taken {
            held.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        TOTAL_BYTES.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// Adds `bytes` to those that are used, unless that would be more than `bytes_max`.
fn take(used: &AtomicUsize, bytes: usize, bytes_max: usize) -> bool {
    let add = |used: usize| used.checked_add(bytes).filter(|used| *used <= bytes_max);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

/// Hashes a file: a small one while it is read into memory, a big one in a pass of its own.
fn read(mut file: File, bytes: u64) -> io::Result<Opened> {
    let mut hasher = blake3::Hasher::new();
    let (content, bytes) = if bytes <= SMALL_FILE_BYTES_MAX {
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut content)?;
        hasher.update(&content);
        let bytes = content.len() as u64;
        (Content::Memory(content.into()), bytes)
    } else {
        let mut reader = io::BufReader::with_capacity(HASH_BUFFER_BYTES, (&file).take(bytes));
        io::copy(&mut reader, &mut hasher)?;
        file.rewind()?;
        (Content::File(file), bytes)
    };
    Ok(Opened { etag: etag(&hasher.finalize()), bytes, content, is_warm: false })
}

fn etag(hash: &blake3::Hash) -> HeaderValue {
    let hex = hash.to_hex();
    let short = hex.get(..ETAG_HEX_CHARS).unwrap_or_default();
    // Hexadecimal digits between quotes are a header value.
    HeaderValue::from_str(&format!("\"{short}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// By extension; `None` for an unknown one, which then has no `Content-Type`.
fn content_type(path: &Path) -> Option<HeaderValue> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let known = CONTENT_TYPES.iter().find(|(known, _)| *known == extension);
    let content_type = match known {
        Some((_, content_type)) => content_type,
        None => mime_guess::from_ext(&extension).first_raw()?,
    };
    let text = if content_type.starts_with("text/") && !content_type.contains("charset") {
        format!("{content_type}; charset=utf-8")
    } else {
        content_type.to_owned()
    };
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_come_from_the_extension() {
        for (name, expected) in [
            ("index.html", Some("text/html; charset=utf-8")),
            ("a.CSS", Some("text/css; charset=utf-8")),
            ("a.js", Some("text/javascript; charset=utf-8")),
            ("a.mjs", Some("text/javascript; charset=utf-8")),
            ("a.txt", Some("text/plain; charset=utf-8")),
            ("a.json", Some("application/json")),
            ("a.js.map", Some("application/json")),
            ("a.svg", Some("image/svg+xml")),
            ("a.png", Some("image/png")),
            ("a.ico", Some("image/vnd.microsoft.icon")),
            ("a.wasm", Some("application/wasm")),
            ("a.woff2", Some("font/woff2")),
            ("a.webmanifest", Some("application/manifest+json")),
            ("sitemap.xml", Some("application/xml")),
            ("a.woff", Some("font/woff")),
            ("a.m3u8", Some("application/vnd.apple.mpegurl")),
            ("a.yaml", Some("text/yaml; charset=utf-8")),
            ("a.xlsx", Some("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")),
            ("a.unknown-kind", None),
            ("LICENSE", None),
            (".html", None),
        ] {
            let actual = content_type(Path::new(name));
            let actual = actual.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(actual, expected, "{name}");
        }
    }

    #[test]
    fn memory_is_given_until_it_is_gone() {
        let memory = Memory::default();
        assert!(memory.reserve(MEMORY_BYTES_MAX - 1));
        assert!(!memory.reserve(2));
        assert!(memory.reserve(1));
        assert!(!memory.reserve(usize::MAX));
        drop(memory);

        // One test for both bounds, because one of them is the whole process's.
        let sets: Vec<Memory> = (0..TOTAL_BYTES_MAX / MEMORY_BYTES_MAX).map(|_| Memory::default()).collect();
        assert!(sets.iter().all(|set| set.reserve(MEMORY_BYTES_MAX)));
        let another = Memory::default();
        assert!(!another.reserve(1));
        drop(sets);
        assert!(another.reserve(1));
    }
}
