//! Requests of static files: lines are the method, the path, and the headers Range, If-Range, If-None-Match and
//! Accept-Encoding, each of them empty where the request has none.

#![no_main]

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use selvedge_assets::{AssetRequest, AssetSet, AssetsConfig, StoredFile};
use tokio::runtime::{Builder, Runtime};

/// The size of each file, in bytes: enough to be compressed, and so little that it stays in memory.
const FILE_BYTES: usize = 2_000;

struct Site {
    runtime: Runtime,
    set: AssetSet,
    content: Vec<u8>,
}

fuzz_target!(|input: &str| {
    static SITE: OnceLock<Site> = OnceLock::new();
    let site = SITE.get_or_init(Site::open);
    let mut lines = input.split('\n');
    let Ok(method) = lines.next().unwrap_or_default().parse::<Method>() else {
        return;
    };
    let path = lines.next().unwrap_or_default();
    let names = [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::ACCEPT_ENCODING];
    let header = |(name, line): (HeaderName, &str)| {
        (!line.is_empty()).then_some(())?;
        Some((name, HeaderValue::from_str(line).ok()?))
    };
    let headers: HeaderMap = names.into_iter().zip(lines).filter_map(header).collect();
    let (response, body) = site.answer(&method, path, &headers);
    site.check(&method, &headers, &response, &body);
});

impl Site {
    /// A page, which is compressed for who can read that, and a picture, which is not.
    fn open() -> Self {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let content: Vec<u8> = b"selvedge, ".iter().copied().cycle().take(FILE_BYTES).collect();
        let path = std::env::temp_dir().join(format!("selvedge-fuzz-{}", std::process::id()));
        std::fs::write(&path, &content).expect("a file of its own");
        let file = |name: &str, content_type: &str| StoredFile {
            path: name.to_owned(),
            file: path.clone(),
            bytes: FILE_BYTES as u64,
            hash: blake3::hash(&content).to_string(),
            content_type: Some(content_type.to_owned()),
        };
        let files = [file("/index.html", "text/html"), file("/a/picture.png", "image/png")];
        let set = AssetSet::of_files(files, "", "", AssetsConfig::default()).expect("a set");
        let site = Self { runtime, set, content };
        // From then on they are in memory.
        for name in ["/", "/a/picture.png"] {
            let (response, _) = site.answer(&Method::GET, name, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::OK, "{name}");
        }
        std::fs::remove_file(&path).expect("its own file");
        site
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> (Response<()>, Vec<u8>) {
        let request = AssetRequest::new(method, "https", "example.com", path, headers);
        let answer = self.set.answer(&request);
        self.runtime.block_on(async {
            let response = self.set.respond(&request, answer).await.expect("what is in memory is there");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            (Response::from_parts(parts, ()), body.to_vec())
        })
    }

    fn check(&self, method: &Method, request: &HeaderMap, response: &Response<()>, body: &[u8]) {
        let said = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is_get = *method == Method::GET;
        match response.status() {
            StatusCode::OK if said(header::CONTENT_ENCODING).is_some() => {
                assert!(request.contains_key(header::ACCEPT_ENCODING) && !request.contains_key(header::RANGE));
                assert!(said(header::ETAG).is_some_and(|etag| etag.starts_with("W/")));
                assert_eq!(body.is_empty(), !is_get);
            }
            StatusCode::OK => {
                let expected: &[u8] = if is_get { &self.content } else { &[] };
                assert_eq!(body, expected);
                assert_eq!(said(header::CONTENT_LENGTH), Some(FILE_BYTES.to_string().as_str()));
            }
            StatusCode::PARTIAL_CONTENT => {
                let (start, end) = range_of(said(header::CONTENT_RANGE).expect("a range"));
                assert!(is_get && request.contains_key(header::RANGE));
                assert_eq!(body, &self.content[start..=end]);
                assert_eq!(said(header::CONTENT_LENGTH), Some(body.len().to_string().as_str()));
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                assert_eq!(said(header::CONTENT_RANGE), Some(format!("bytes */{FILE_BYTES}").as_str()));
                assert!(body.is_empty());
            }
            StatusCode::NOT_MODIFIED => {
                assert!(body.is_empty() && request.contains_key(header::IF_NONE_MATCH));
            }
            StatusCode::TEMPORARY_REDIRECT => {
                let location = said(header::LOCATION).expect("a place");
                assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
                let path = location.split('?').next().unwrap_or_default();
                assert!(!path.contains('\\') && body.is_empty(), "{location}");
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => assert!(body.is_empty()),
            status => panic!("{status}"),
        }
    }
}

/// The first and the last byte of `bytes 0-9/10`.
fn range_of(text: &str) -> (usize, usize) {
    let range = text.strip_prefix("bytes ").and_then(|rest| rest.strip_suffix(&format!("/{FILE_BYTES}")));
    let (start, end) = range.and_then(|range| range.split_once('-')).expect("a range");
    (start.parse().expect("a number"), end.parse().expect("a number"))
}
