//! Which file answers which path: `html_handling`, `not_found_handling`, encodings, hostile paths.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used)]

mod support;

use http::{Method, StatusCode};
use selvedge_assets::{AssetsConfig, HtmlHandling, NotFoundHandling, RunWorkerFirst};
use support::{Site, header, text, with_worker};

/// A request path, the file that answers in the end (by itself or after one redirect), and the path it answers at.
type Case = (&'static str, Option<(&'static str, &'static str)>);

async fn check(html_handling: HtmlHandling, files: &[&str], cases: &[Case]) {
    let config = AssetsConfig { html_handling, ..AssetsConfig::default() };
    let site = Site::new(files, config);
    for (path, expected) in cases {
        let context = format!("{html_handling:?} {path} of {files:?}");
        let mut at = (*path).to_owned();
        let mut response = site.get(path).await;
        if response.status() == StatusCode::TEMPORARY_REDIRECT {
            at = header(&response, "location").unwrap().to_owned();
            response = site.get(&at).await;
        }
        match expected {
            Some((file, final_path)) => {
                assert_eq!(response.status(), StatusCode::OK, "{context}");
                assert_eq!((text(&response), at.as_str()), (*file, *final_path), "{context}");
            }
            None => assert_eq!(response.status(), StatusCode::NOT_FOUND, "{context}"),
        }
    }
}

#[tokio::test]
async fn auto_trailing_slash_serves_files_without_and_folders_with() {
    let check = async |files: &[&str], cases: &[Case]| check(HtmlHandling::AutoTrailingSlash, files, cases).await;
    let index = Some(("/index.html", "/"));
    check(&["/index.html"], &[("/", index), ("/index", index), ("/index.html", index), ("/x", None)]).await;
    let (file, folder) = (Some(("/both.html", "/both")), Some(("/both/index.html", "/both/")));
    check(
        &["/both.html", "/both/index.html"],
        &[
            ("/both", file),
            ("/both.html", file),
            ("/both/", folder),
            ("/both/index", folder),
            ("/both/index.html", folder),
        ],
    )
    .await;
    let file = Some(("/file.html", "/file"));
    for path in ["/file", "/file.html", "/file/", "/file/index", "/file/index.html"] {
        check(&["/file.html"], &[(path, file)]).await;
    }
    let folder = Some(("/folder/index.html", "/folder/"));
    for path in ["/folder", "/folder.html", "/folder/", "/folder/index", "/folder/index.html"] {
        check(&["/folder/index.html"], &[(path, folder)]).await;
    }
    let folder = Some(("/bin/index.html", "/bin/"));
    check(
        &["/bin%2F", "/bin/index.html"],
        &[
            ("/bin", folder),
            ("/bin.html", folder),
            ("/bin%2F", folder),
            ("/bin/", folder),
            ("/bin/index", folder),
            ("/bin%252F", Some(("/bin%2F", "/bin%252F"))),
        ],
    )
    .await;
    check(
        &["/file-bin", "/file-bin.html"],
        &[
            ("/file-bin", Some(("/file-bin", "/file-bin"))),
            ("/file-bin.html", Some(("/file-bin.html", "/file-bin.html"))),
            ("/file-bin/", None),
            ("/file-bin/index", None),
            ("/file-bin/index.html", None),
        ],
    )
    .await;
}

#[tokio::test]
async fn drop_trailing_slash_serves_both_without() {
    let check = async |files: &[&str], cases: &[Case]| check(HtmlHandling::DropTrailingSlash, files, cases).await;
    let index = Some(("/index.html", "/"));
    check(&["/index.html"], &[("/", index), ("/index", index), ("/index.html", index)]).await;
    let file = Some(("/both.html", "/both"));
    check(
        &["/both.html", "/both/index.html"],
        &[
            ("/both", file),
            ("/both.html", file),
            ("/both/", file),
            ("/both/index", file),
            ("/both/index.html", Some(("/both/index.html", "/both/index.html"))),
        ],
    )
    .await;
    let file = Some(("/file.html", "/file"));
    for path in ["/file", "/file.html", "/file/", "/file/index", "/file/index.html"] {
        check(&["/file.html"], &[(path, file)]).await;
    }
    let folder = Some(("/folder/index.html", "/folder"));
    for path in ["/folder", "/folder.html", "/folder/", "/folder/index", "/folder/index.html"] {
        check(&["/folder/index.html"], &[(path, folder)]).await;
    }
    let folder = Some(("/bin/index.html", "/bin"));
    check(
        &["/bin%2F", "/bin/index.html"],
        &[("/bin", folder), ("/bin%2F", folder), ("/bin/", folder), ("/bin%252F", Some(("/bin%2F", "/bin%252F")))],
    )
    .await;
    check(
        &["/file-bin", "/file-bin.html"],
        &[
            ("/file-bin", Some(("/file-bin", "/file-bin"))),
            ("/file-bin.html", Some(("/file-bin.html", "/file-bin.html"))),
            ("/file-bin/", None),
            ("/file-bin/index", None),
            ("/file-bin/index.html", None),
        ],
    )
    .await;
}

#[tokio::test]
async fn force_trailing_slash_serves_both_with() {
    let check = async |files: &[&str], cases: &[Case]| check(HtmlHandling::ForceTrailingSlash, files, cases).await;
    let index = Some(("/index.html", "/"));
    check(&["/index.html"], &[("/", index), ("/index", index), ("/index.html", index)]).await;
    let folder = Some(("/both/index.html", "/both/"));
    check(
        &["/both.html", "/both/index.html"],
        &[
            ("/both", folder),
            ("/both.html", Some(("/both.html", "/both.html"))),
            ("/both/", folder),
            ("/both/index", folder),
            ("/both/index.html", folder),
        ],
    )
    .await;
    let file = Some(("/file.html", "/file/"));
    for path in ["/file", "/file.html", "/file/", "/file/index", "/file/index.html"] {
        check(&["/file.html"], &[(path, file)]).await;
    }
    let folder = Some(("/folder/index.html", "/folder/"));
    for path in ["/folder", "/folder.html", "/folder/", "/folder/index", "/folder/index.html"] {
        check(&["/folder/index.html"], &[(path, folder)]).await;
    }
    let file = Some(("/file-bin.html", "/file-bin/"));
    check(
        &["/file-bin", "/file-bin.html"],
        &[
            ("/file-bin", Some(("/file-bin", "/file-bin"))),
            ("/file-bin.html", file),
            ("/file-bin/", file),
            ("/file-bin/index", file),
            ("/file-bin/index.html", file),
        ],
    )
    .await;
}

#[tokio::test]
async fn no_html_handling_serves_names_only() {
    let check = async |files: &[&str], cases: &[Case]| check(HtmlHandling::None, files, cases).await;
    check(
        &["/index.html", "/both.html", "/both/index.html", "/file-bin", "/bin%2F"],
        &[
            ("/", None),
            ("/index", None),
            ("/index.html", Some(("/index.html", "/index.html"))),
            ("/both", None),
            ("/both/", None),
            ("/both.html", Some(("/both.html", "/both.html"))),
            ("/both/index.html", Some(("/both/index.html", "/both/index.html"))),
            ("/file-bin", Some(("/file-bin", "/file-bin"))),
            ("/file-bin/", None),
            ("/bin%2F", None),
            ("/bin%252F", Some(("/bin%2F", "/bin%252F"))),
        ],
    )
    .await;
}

#[tokio::test]
async fn every_spelling_of_a_path_leads_to_the_encoded_one() {
    let check = async |files: &[&str], cases: &[Case]| check(HtmlHandling::AutoTrailingSlash, files, cases).await;
    let file = Some(("/[boop].html", "/%5Bboop%5D"));
    for path in ["/[boop]", "/%5Bboop%5D", "/%5bboop%5d", "/[boop].html", "/%5Bboop%5D/", "/[boop]/"] {
        check(&["/[boop].html"], &[(path, file)]).await;
        check(&["/[boop].html", "/%5Bboop%5D.html"], &[(path, file)]).await;
    }
    check(
        &["/%5Bboop%5D.html", "/beep/[bòop].html", "/beep?boop.html", "/awesome/file.bin"],
        &[
            ("/%255Bboop%255D", Some(("/%5Bboop%5D.html", "/%255Bboop%255D"))),
            ("/%255Bboop%255D.html", Some(("/%5Bboop%5D.html", "/%255Bboop%255D"))),
            ("/beep/[b%C3%B2op]", Some(("/beep/[bòop].html", "/beep/%5Bb%C3%B2op%5D"))),
            ("/beep?boop", None),
            ("/beep%3Fboop", Some(("/beep?boop.html", "/beep%3Fboop"))),
            ("/awesome/file%2ebin", Some(("/awesome/file.bin", "/awesome/file.bin"))),
            ("//awesome///file.bin", Some(("/awesome/file.bin", "/awesome/file.bin"))),
            ("/%2fawesome/file.bin", Some(("/awesome/file.bin", "/awesome/file.bin"))),
        ],
    )
    .await;
    // Bytes that are not UTF-8 mean themselves.
    check(&["/%A0%A0.html"], &[("/%A0", None), ("/%A0%A0", Some(("/%A0%A0.html", "/%25A0%25A0")))]).await;
}

#[tokio::test]
async fn redirects_keep_the_query() {
    let site = Site::new(&["/file.html"], AssetsConfig::default());
    let response = site.get("/file.html?a=b&c").await;
    assert_eq!(header(&response, "location"), Some("/file?a=b&c"));
    assert_eq!(text(&site.get("/file?a=b").await), "/file.html");
}

#[tokio::test]
async fn not_found_handling_answers_what_nothing_else_does() {
    let files = ["/404.html", "/index.html", "/blog/404.html", "/blog/post.html"];
    for (not_found_handling, cases) in [
        (NotFoundHandling::None, &[("/x", 404, ""), ("/blog/x", 404, "")][..]),
        (
            NotFoundHandling::NotFoundPage,
            &[
                ("/x", 404, "/404.html"),
                ("/blog/x", 404, "/blog/404.html"),
                ("/blog/a/b/c.png", 404, "/blog/404.html"),
                ("/other/x", 404, "/404.html"),
                ("/blog/post", 200, "/blog/post.html"),
            ],
        ),
        (
            NotFoundHandling::SinglePageApplication,
            &[("/x", 200, "/index.html"), ("/a/b", 200, "/index.html"), ("/blog/post", 200, "/blog/post.html")],
        ),
    ] {
        let config = AssetsConfig { not_found_handling, ..AssetsConfig::default() };
        let site = Site::new(&files, config);
        for (path, status, body) in cases {
            let response = site.get(path).await;
            assert_eq!(
                (response.status().as_u16(), text(&response)),
                (*status, *body),
                "{not_found_handling:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn not_found_handling_without_its_file_is_a_bare_404() {
    for not_found_handling in [NotFoundHandling::NotFoundPage, NotFoundHandling::SinglePageApplication] {
        let config = AssetsConfig { not_found_handling, ..AssetsConfig::default() };
        let response = Site::new(&["/a.txt"], config).get("/x").await;
        assert_eq!((response.status(), text(&response)), (StatusCode::NOT_FOUND, ""));
    }
}

#[tokio::test]
async fn the_nearest_404_page_is_found_from_any_depth() {
    let config = AssetsConfig { not_found_handling: NotFoundHandling::NotFoundPage, ..AssetsConfig::default() };
    let site = Site::new(&["/404.html", "/a/404.html"], config);
    for (path, page) in [
        ("/a/x".to_owned(), "/a/404.html"),
        (format!("/a{}", "/b".repeat(4_000)), "/a/404.html"),
        (format!("/b{}", "/%C3%A4".repeat(2_000)), "/404.html"),
    ] {
        let response = site.get(&path).await;
        assert_eq!((response.status(), text(&response)), (StatusCode::NOT_FOUND, page), "{path:.20}");
    }
}

#[tokio::test]
async fn a_base_path_stands_before_every_file() {
    let files = ["/index.html", "/a/b.html", "/404.html", "/docs/own.txt"];
    let config = AssetsConfig { not_found_handling: NotFoundHandling::NotFoundPage, ..AssetsConfig::default() };
    let mut site = Site::new(&files, config);
    for base in ["/docs", "docs", "/docs/"] {
        site.set = site.set.with_base_path(base);
        for (path, status, expected) in [
            ("/docs/", 200, "/index.html"),
            ("/docs", 307, "/docs/"),
            ("/docs/index.html", 307, "/docs/"),
            ("/docs/a/b", 200, "/a/b.html"),
            ("/docs/a/b.html?x=1", 307, "/docs/a/b?x=1"),
            ("//docs//a/b", 307, "/docs/a/b"),
            ("/%64ocs/a/b", 307, "/docs/a/b"),
            ("/docs/docs/own.txt", 200, "/docs/own.txt"),
            ("/docs/none", 404, "/404.html"),
            ("/docs/own.txt", 404, "/404.html"),
            ("/docs-old/a/b", 404, ""),
            ("/a/b", 404, ""),
            ("/", 404, ""),
        ] {
            let response = site.get(path).await;
            let said = header(&response, "location").unwrap_or(text(&response));
            assert_eq!((response.status().as_u16(), said), (status, expected), "{base} {path}");
        }
    }
    site.set = Site::new(&files, with_worker(RunWorkerFirst::default())).set.with_base_path("/docs");
    assert_eq!(site.outside(Method::POST, "/docs/a/b", &[]).await, Some(405));
    assert_eq!(site.outside(Method::GET, "/a/b", &[]).await, None, "what lies elsewhere is the worker's");
}

#[tokio::test]
async fn rules_name_whole_paths_with_a_base_path() {
    let rules = [
        ("/_redirects", "/docs/old /docs/new\n/docs/same /docs/page 200\n/docs/lost /page 200\n"),
        ("/_headers", "/docs/page\n  X-Page: 1\n/page\n  X-Page: 2\n"),
        ("/page", "page"),
    ];
    let mut site = Site::with_contents(&rules, AssetsConfig::default());
    site.set = site.set.with_base_path("/docs");
    assert_eq!(header(&site.get("/docs/old").await, "location"), Some("/docs/new"));
    assert_eq!(text(&site.get("/docs/same").await), "page");
    assert_eq!(site.get("/docs/lost").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&site.get("/docs/page").await, "x-page"), Some("1"));
}

#[tokio::test]
async fn hostile_paths_reach_no_file_and_no_other_site() {
    let site = Site::new(&["/index.html", "/evil.com/index.html", "/secret/x.txt"], AssetsConfig::default());
    support::write(site.directory.path().parent().unwrap(), "selvedge-outside.txt", b"outside");
    let long_path = format!("/{}", "a/".repeat(100_000));
    for path in [
        "/../selvedge-outside.txt",
        "/..%2fselvedge-outside.txt",
        "/%2e%2e/selvedge-outside.txt",
        "/%2e%2e%2fselvedge-outside.txt",
        "/%252e%252e%252fselvedge-outside.txt",
        "/..%5cselvedge-outside.txt",
        "/..\\selvedge-outside.txt",
        "/secret/..%00/x.txt",
        "/secret/x.txt%00",
        "/secret/x.txt%00.html",
        "/%c0%ae%c0%ae/x",
        "/%ff",
        "/%",
        "/secret/./x.txt/",
        "/secret",
        "/secret/",
        &long_path,
    ] {
        let response = site.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{}", path.get(..40).unwrap_or(path));
    }
    for path in [
        "//evil.com",
        "//evil.com/",
        "//evil.com/index.html",
        "/%2fevil.com",
        "/%2f%2fevil.com%2findex.html",
        "/\\evil.com",
        "/%5cevil.com",
        "///evil.com/index",
        "/.//evil.com",
    ] {
        for method in [Method::GET, Method::HEAD] {
            let response = site.request(method, path, &[]).await;
            let location = header(&response, "location").unwrap_or("/");
            assert!(
                location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/\\"),
                "{path}: {location}"
            );
        }
    }
    std::fs::remove_file(site.directory.path().parent().unwrap().join("selvedge-outside.txt")).unwrap();
}
