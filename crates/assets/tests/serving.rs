//! What an answer carries: validators, ranges, compression, files that change, and what is not served at all.

mod support;

use std::fs;
use std::io::Read;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use selvedge_assets::{AssetRequest, AssetSet, AssetsConfig, AssetsError, FILE_BYTES_MAX, ServeError, StoredFile};
use support::{Site, header, headers, text, write};

const KIB: usize = 1024;

#[tokio::test]
async fn an_answer_says_what_it_is() {
    let site = Site::with_contents(&[("/a.html", "<p>"), ("/b.unknownkind", "?")], AssetsConfig::default());
    let first = site.get("/a").await;
    assert_eq!(first.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "public, max-age=0, must-revalidate"),
        ("content-length", "3"),
        ("accept-ranges", "bytes"),
        ("cf-cache-status", "MISS"),
    ] {
        assert_eq!(header(&first, name), Some(value), "{name}");
    }
    let etag = header(&first, "etag").unwrap();
    assert!(etag.len() == 34 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let again = site.get("/a").await;
    assert_eq!((header(&again, "etag"), header(&again, "cf-cache-status")), (Some(etag), Some("HIT")));
    assert_eq!(header(&site.get("/b.unknownkind").await, "content-type"), None);
}

#[tokio::test]
async fn shared_caches_are_told_nothing_of_authorized_or_partial_answers() {
    let site = Site::new(&["/a.txt"], AssetsConfig::default());
    for request in [("authorization", "Bearer x"), ("range", "bytes=0-1")] {
        let response = site.request(Method::GET, "/a.txt", &[request]).await;
        assert_eq!(header(&response, "cache-control"), None, "{request:?}");
    }
}

#[tokio::test]
async fn a_client_that_has_it_is_told_so() {
    let site = Site::new(&["/a.txt"], AssetsConfig::default());
    let etag = header(&site.get("/a.txt").await, "etag").unwrap().to_owned();
    for (condition, status) in [
        (etag.clone(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"x\", {etag}"), 304),
        ("*".into(), 304),
        ("\"x\"".into(), 200),
        (etag.trim_matches('"').to_owned(), 200),
    ] {
        let response = site.request(Method::GET, "/a.txt", &[("if-none-match", &condition)]).await;
        assert_eq!(response.status().as_u16(), status, "{condition}");
        assert_eq!(header(&response, "etag"), Some(etag.as_str()));
        assert_eq!(response.body().is_empty(), status == 304);
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let site = Site::new(&["/a.txt"], AssetsConfig::default());
    let (get, head) = (site.get("/a.txt").await, site.request(Method::HEAD, "/a.txt", &[]).await);
    assert!(head.body().is_empty());
    for name in ["content-length", "content-type", "etag", "cache-control"] {
        assert_eq!(header(&head, name), header(&get, name), "{name}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_where_a_file_is() {
    let site = Site::new(&["/a.txt"], AssetsConfig::default());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let response = site.request(method.clone(), "/a.txt", &[]).await;
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(site.request(method, "/missing", &[]).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn ranges_give_parts_of_small_and_big_files() {
    let big = "0123456789".repeat(20 * KIB);
    let site = Site::with_contents(&[("/small.bin", "0123456789"), ("/big.bin", &big)], AssetsConfig::default());
    for (path, contents) in [("/small.bin", "0123456789"), ("/big.bin", big.as_str())] {
        let length = contents.len();
        let etag = header(&site.get(path).await, "etag").unwrap().to_owned();
        let last = length - 3;
        for (request, status, expected, content_range) in [
            (vec![("range", "bytes=2-4")], 206, "234", Some(format!("bytes 2-4/{length}"))),
            (vec![("range", "bytes=-3")], 206, "789", Some(format!("bytes {last}-{}/{length}", length - 1))),
            (vec![("range", "bytes=2-4"), ("if-range", &etag)], 206, "234", Some(format!("bytes 2-4/{length}"))),
            (vec![("range", "bytes=2-4"), ("if-range", "\"x\"")], 200, contents, None),
            (vec![("range", "bytes=99999999-")], 416, "", Some(format!("bytes */{length}"))),
            (vec![("range", "bytes=0-1,3-4")], 200, contents, None),
            (vec![("range", "nonsense")], 200, contents, None),
        ] {
            let response = site.request(Method::GET, path, &request).await;
            assert_eq!(response.status().as_u16(), status, "{path} {request:?}");
            assert!(text(&response) == expected, "{path} {request:?}");
            assert_eq!(header(&response, "content-range").map(String::from), content_range);
        }
        let head = site.request(Method::HEAD, path, &[("range", "bytes=2-4")]).await;
        assert_eq!(head.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_big_file_is_streamed_in_small_pieces() {
    let big = "x".repeat(4 * KIB * KIB);
    let site = Site::with_contents(&[("/big.bin", &big)], AssetsConfig::default());
    let (method, headers) = (Method::GET, headers(&[]));
    let request = AssetRequest::new(&method, "http", "example.com", "/big.bin", &headers);
    let answer = site.set.answer(&request);
    let mut body = site.set.respond(&request, answer).await.unwrap().into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() <= 64 * KIB);
        received += piece.len();
    }
    assert_eq!(received, big.len());
}

#[tokio::test]
async fn text_is_compressed_for_those_who_accept_it() {
    for length in [2 * KIB, 300 * KIB] {
        let contents = "selvedge ".repeat(length / 9);
        let site = Site::with_contents(&[("/a.txt", &contents), ("/a.png", &contents)], AssetsConfig::default());
        let plain_etag = header(&site.get("/a.txt").await, "etag").unwrap().to_owned();
        for _ in 0..2 {
            let response = site.request(Method::GET, "/a.txt", &[("accept-encoding", "gzip, br")]).await;
            assert_eq!(header(&response, "content-encoding"), Some("br"));
            assert_eq!(header(&response, "vary"), Some("Accept-Encoding"));
            assert_eq!(header(&response, "etag"), Some(format!("W/{plain_etag}").as_str()));
            let mut decoded = String::new();
            let mut decoder = brotli_decoder(response.body());
            decoder.read_to_string(&mut decoded).unwrap();
            assert!(decoded == contents && response.body().len() < contents.len() / 4);
        }
        let weak = format!("W/{plain_etag}");
        let unmodified = [("accept-encoding", "br"), ("if-none-match", weak.as_str())];
        let unmodified = site.request(Method::GET, "/a.txt", &unmodified).await;
        assert_eq!(unmodified.status(), StatusCode::NOT_MODIFIED);
        // What a cache has is brought up to date by an answer of the same tag only.
        assert_eq!(header(&unmodified, "etag"), Some(weak.as_str()));
        assert_eq!(header(&unmodified, "vary"), Some("Accept-Encoding"));
        let plain = site.get("/a.txt").await;
        assert_eq!((header(&plain, "content-encoding"), header(&plain, "vary")), (None, Some("Accept-Encoding")));
        let head = site.request(Method::HEAD, "/a.txt", &[("accept-encoding", "br")]).await;
        assert_eq!((header(&head, "content-encoding"), head.body().len()), (Some("br"), 0));
        let ranged = [("accept-encoding", "br"), ("range", "bytes=0-7")];
        assert_eq!(text(&site.request(Method::GET, "/a.txt", &ranged).await), "selvedge");
        let image = site.request(Method::GET, "/a.png", &[("accept-encoding", "br")]).await;
        assert_eq!((header(&image, "content-encoding"), header(&image, "vary")), (None, None));
    }
}

fn brotli_decoder(bytes: &[u8]) -> impl Read + '_ {
    brotli::Decompressor::new(bytes, 4 * KIB)
}

#[tokio::test]
async fn a_deployers_own_encoding_is_left_alone() {
    let contents = "x".repeat(4 * KIB);
    let files = [("/_headers", "/a.txt\n  Content-Encoding: gzip\n"), ("/a.txt", contents.as_str())];
    let site = Site::with_contents(&files, AssetsConfig::default());
    let response = site.request(Method::GET, "/a.txt", &[("accept-encoding", "br")]).await;
    assert_eq!(header(&response, "content-encoding"), Some("gzip"));
    assert_eq!(response.body().len(), 4 * KIB);
}

#[tokio::test]
async fn a_deployers_own_vary_is_not_said_twice() {
    let contents = "x".repeat(4 * KIB);
    for rule in ["accept-encoding, Origin", "*"] {
        let headers = format!("/a.txt\n  Vary: {rule}\n");
        let files = [("/_headers", headers.as_str()), ("/a.txt", contents.as_str())];
        let site = Site::with_contents(&files, AssetsConfig::default());
        let response = site.request(Method::GET, "/a.txt", &[("accept-encoding", "br")]).await;
        let said: Vec<_> = response.headers().get_all("vary").iter().collect();
        assert_eq!(said, [rule]);
    }
}

#[tokio::test]
async fn a_changed_file_is_served_as_it_is_with_its_own_tag() {
    let mut site = Site::with_contents(&[("/a.txt", "old"), ("/b.txt", "old")], AssetsConfig::default());
    write(site.directory.path(), "/a.txt", b"newer");
    let changed = site.get("/a.txt").await;
    assert_eq!((text(&changed), header(&changed, "content-length")), ("newer", Some("5")));
    assert_ne!(header(&changed, "etag"), header(&site.get("/b.txt").await, "etag"));

    let etag = header(&changed, "etag").unwrap().to_owned();
    site.reopen().unwrap();
    assert_eq!(header(&site.get("/a.txt").await, "etag"), Some(etag.as_str()));
}

#[tokio::test]
async fn a_vanished_file_is_an_error_that_names_it() {
    let site = Site::new(&["/a.txt"], AssetsConfig::default());
    fs::remove_file(site.directory.path().join("a.txt")).unwrap();
    let (method, headers) = (Method::GET, headers(&[]));
    let request = AssetRequest::new(&method, "http", "example.com", "/a.txt", &headers);
    let error = site.set.respond(&request, site.set.answer(&request)).await.unwrap_err();
    assert!(matches!(&error, ServeError::Read { path, .. } if path.ends_with("a.txt")), "{error}");
}

#[tokio::test]
async fn a_stored_file_that_is_damaged_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    for (content, damaged) in [
        ("cut off".to_owned(), "cut".to_owned()),
        ("changed".to_owned(), "CHANGED".to_owned()),
        ("large ".repeat(64 * KIB), "large ".to_owned()),
    ] {
        let file = folder.path().join("blob");
        fs::write(&file, damaged).unwrap();
        let stored = StoredFile {
            path: "/a.txt".into(),
            file,
            bytes: content.len() as u64,
            hash: blake3::hash(content.as_bytes()).to_hex().to_string(),
            content_type: None,
        };
        let set = AssetSet::of_files([stored], "", "", AssetsConfig::default()).unwrap();
        let (method, headers) = (Method::GET, headers(&[]));
        let request = AssetRequest::new(&method, "http", "example.com", "/a.txt", &headers);
        let error = set.respond(&request, set.answer(&request)).await.unwrap_err();
        assert!(matches!(error, ServeError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn assetsignore_hides_files() {
    let ignore = "*.map\n/private/\nnode_modules\n!keep.map\n# comment\n";
    let files = [
        ("/.assetsignore", ignore),
        ("/a.js", "js"),
        ("/a.js.map", "map"),
        ("/x/keep.map", "keep"),
        ("/private/deep/x.txt", "no"),
        ("/y/private/x.txt", "yes"),
        ("/y/node_modules/z/x.txt", "no"),
        ("/.well-known/x.txt", "yes"),
        ("/_worker.js", "an .assetsignore is there, so this is meant"),
    ];
    let site = Site::with_contents(&files, AssetsConfig::default());
    for (path, status) in [
        ("/a.js", 200),
        ("/a.js.map", 404),
        ("/x/keep.map", 200),
        ("/private/deep/x.txt", 404),
        ("/y/private/x.txt", 200),
        ("/y/node_modules/z/x.txt", 404),
        ("/.well-known/x.txt", 200),
        ("/_worker.js", 200),
    ] {
        assert_eq!(site.get(path).await.status().as_u16(), status, "{path}");
    }
    assert_eq!(site.set.len(), 5);
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_inside_the_directory_only() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "secret.txt", b"secret");
    let mut site = Site::new(&["/real.txt", "/folder/x.txt"], AssetsConfig::default());
    let root = site.directory.path();
    symlink("real.txt", root.join("inside.txt")).unwrap();
    symlink(outside.path().join("secret.txt"), root.join("outside.txt")).unwrap();
    symlink("../../../../../../etc/hostname", root.join("folder/up.txt")).unwrap();
    symlink(outside.path(), root.join("outside")).unwrap();
    symlink("/", root.join("slash")).unwrap();
    symlink(".", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    site.reopen().unwrap();

    assert_eq!(text(&site.get("/inside.txt").await), "/real.txt");
    for path in
        ["/outside.txt", "/folder/up.txt", "/outside/secret.txt", "/slash/etc/hostname", "/loop/real.txt", "/dangling"]
    {
        assert_eq!(site.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(site.set.notices().len(), 6);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn names_that_are_not_text_are_passed_over() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut site = Site::new(&["/a.txt"], AssetsConfig::default());
    fs::write(site.directory.path().join(OsStr::from_bytes(b"\xff.txt")), "x").unwrap();
    site.reopen().unwrap();
    assert_eq!((site.set.len(), site.set.notices().len()), (1, 1));
}

#[test]
fn a_directory_that_cannot_be_served_is_refused_with_a_reason() {
    let open = |site: &tempfile::TempDir| AssetSet::open(site.path(), AssetsConfig::default());
    let directory = tempfile::tempdir().unwrap();
    let missing = AssetSet::open(&directory.path().join("missing"), AssetsConfig::default());
    assert!(matches!(missing, Err(AssetsError::Open { .. })));

    write(directory.path(), "file", b"");
    let file = AssetSet::open(&directory.path().join("file"), AssetsConfig::default());
    assert!(matches!(file, Err(AssetsError::NotADirectory { .. })));

    let large = fs::File::create(directory.path().join("large.bin")).unwrap();
    large.set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(matches!(open(&directory), Err(AssetsError::FileTooLarge { bytes, .. }) if bytes == FILE_BYTES_MAX + 1));
    large.set_len(FILE_BYTES_MAX).unwrap();
    assert!(open(&directory).is_ok());

    write(directory.path(), "_worker.js", b"export default {}");
    assert!(matches!(open(&directory), Err(AssetsError::PagesWorker { .. })));
    write(directory.path(), ".assetsignore", b"_worker.js\nlarge.bin");
    assert_eq!(open(&directory).unwrap().len(), 1);
}

#[tokio::test]
async fn an_empty_file_is_an_answer() {
    let site = Site::with_contents(&[("/empty.txt", "")], AssetsConfig::default());
    for request in [&[][..], &[("accept-encoding", "br")], &[("range", "bytes=-5")]] {
        let response = site.request(Method::GET, "/empty.txt", request).await;
        assert_eq!((response.status().as_u16(), header(&response, "content-length")), (200, Some("0")), "{request:?}");
    }
    let response = site.request(Method::GET, "/empty.txt", &[("range", "bytes=0-")]).await;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[test]
fn a_set_lists_what_it_serves_and_nothing_else() {
    let site = Site::with_contents(
        &[("/b.css", "b"), ("/a b.html", "<p>"), ("/_headers", ""), ("/old.txt", ""), ("/.assetsignore", "old.txt")],
        AssetsConfig::default(),
    );
    let listed: Vec<_> = site.set.files().iter().map(|file| (file.path, file.bytes, file.content_type)).collect();
    assert_eq!(
        listed,
        [("/a b.html", 3, Some("text/html; charset=utf-8")), ("/b.css", 1, Some("text/css; charset=utf-8"))]
    );
}
