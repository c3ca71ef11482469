//! `_headers`, `_redirects` and `run_worker_first` on whole requests.

mod support;

use http::{Method, StatusCode};
use selvedge_assets::{AssetsConfig, HtmlHandling, NotFoundHandling, RunWorkerFirst};
use support::{Site, header, text, with_worker};

#[tokio::test]
async fn redirects_come_before_files_and_say_where() {
    let redirects = "/foo /bar 301\n/query /bar?own=1\n/frag /bar#there 303\n/same https://example.com/bar 308\n\
                     /other https://other.com/x\n/dynamic/:seg /:seg/new/?with#params\n/far/:a/:b https://:b.example/:a 307\n\
                     /splat/* /:splat/new\n/but/* /too\n";
    let site =
        Site::with_contents(&[("/_redirects", redirects), ("/foo", "foo"), ("/bar", "bar")], AssetsConfig::default());
    assert!(site.set.notices().is_empty(), "{:?}", site.set.notices());
    for (path, status, location) in [
        ("/foo", 301, "/bar"),
        ("/foo?a=b", 301, "/bar?a=b"),
        ("/query?a=b", 302, "/bar?own=1"),
        ("/frag?a=b", 303, "/bar?a=b#there"),
        ("/same", 308, "/bar"),
        ("/other?a=b", 302, "https://other.com/x?a=b"),
        ("/dynamic/foo", 302, "/foo/new/?with#params"),
        ("/far/x/y", 307, "https://y.example/x"),
        ("/splat/a/b", 302, "/a/b/new"),
        ("/splat/", 302, "/new"),
        ("/splat//evil.com", 302, "/evil.com/new"),
        ("/splat/\\evil.com", 302, "/evil.com/new"),
        ("/splat/%2Fevil.com", 302, "/%2Fevil.com/new"),
        ("/splat/https://evil.com", 302, "/https:/evil.com/new"),
    ] {
        let response = site.get(path).await;
        let actual = (response.status().as_u16(), header(&response, "location"));
        assert_eq!(actual, (status, Some(location)), "{path}");
        assert!(response.body().is_empty());
        // Rules apply to every method.
        assert_eq!(site.request(Method::POST, path, &[]).await.status().as_u16(), status);
    }
    assert_eq!(text(&site.get("/bar").await), "bar");
}

#[tokio::test]
async fn a_200_rule_serves_another_file_under_the_same_url() {
    let redirects = "/proxy /other 200\n/gone /nothing 200\n/users/* /user-page 200\n";
    let files =
        [("/_redirects", redirects), ("/other.html", "other"), ("/user-page.html", "user"), ("/404.html", "404")];
    let site = Site::with_contents(&files, AssetsConfig::default());
    for (path, status, body) in [("/proxy", 200, "other"), ("/users/1/2", 200, "user"), ("/gone", 404, "")] {
        let response = site.get(path).await;
        assert_eq!((response.status().as_u16(), text(&response)), (status, body), "{path}");
    }
    assert_eq!(site.request(Method::POST, "/proxy", &[]).await.status(), StatusCode::METHOD_NOT_ALLOWED);

    let config =
        AssetsConfig { not_found_handling: NotFoundHandling::NotFoundPage, ..with_worker(RunWorkerFirst::default()) };
    let site = Site::with_contents(&files, config);
    // A rule named the path, so assets answer it even though nothing is there.
    assert_eq!(site.outside(Method::GET, "/gone", &[]).await, Some(404));
    assert_eq!(text(&site.get("/gone").await), "404");
    assert_eq!(site.outside(Method::GET, "/unnamed", &[]).await, None);
}

#[tokio::test]
async fn header_rules_apply_to_every_answer() {
    let rules = "/*\n  X-All: :splat\n/foo.html\n  X-Foo: 1\n/page\n  ! ETag\n  Cache-Control: max-age=9\n\
                 https://www.example.com/*\n  X-Www: yes\n/moved\n  X-Moved: 1\n";
    let files = [("/_headers", rules), ("/_redirects", "/moved /page\n"), ("/foo.html", "foo"), ("/page", "page")];
    let site = Site::with_contents(&files, AssetsConfig::default());

    let page = site.get("/page").await;
    assert_eq!(header(&page, "x-all"), Some("page"));
    assert_eq!((header(&page, "etag"), header(&page, "cache-control")), (None, Some("max-age=9")));

    let redirect = site.get("/foo.html").await;
    assert_eq!((header(&redirect, "location"), header(&redirect, "x-foo")), (Some("/foo"), Some("1")));
    assert_eq!(header(&site.get("/moved").await, "x-moved"), Some("1"));
    assert_eq!(header(&site.get("/missing").await, "x-all"), Some("missing"));
    assert_eq!(header(&site.request(Method::POST, "/page", &[]).await, "x-all"), Some("page"));

    let etag = site.get("/foo").await.headers().get("etag").unwrap().to_str().unwrap().to_owned();
    let unmodified = site.request(Method::GET, "/foo", &[("if-none-match", &etag)]).await;
    assert_eq!((unmodified.status().as_u16(), header(&unmodified, "x-all")), (304, Some("foo")));

    for (host, value) in [("www.example.com:8787", Some("yes")), ("example.com", None)] {
        let response = site.request_to(Method::GET, host, "/page", &[]).await;
        assert_eq!(header(&response, "x-www"), value, "{host}");
    }
}

#[tokio::test]
async fn a_header_rule_cannot_corrupt_the_message() {
    let rules = "/*\n  Content-Length: 1\n  Transfer-Encoding: chunked\n  X-Ok: 1\n";
    let site = Site::with_contents(&[("/_headers", rules), ("/a", "four")], AssetsConfig::default());
    assert_eq!(site.set.notices().len(), 2);
    let response = site.get("/a").await;
    assert_eq!((header(&response, "content-length"), header(&response, "x-ok")), (Some("4"), Some("1")));
}

#[tokio::test]
async fn the_rule_files_are_not_served() {
    let files =
        [("/_headers", "/*\n  X: 1\n"), ("/_redirects", "/a /b\n"), ("/.assetsignore", ""), ("/x/_headers", "mine")];
    let site = Site::with_contents(&files, AssetsConfig::default());
    for path in ["/_headers", "/_redirects", "/.assetsignore"] {
        assert_eq!(site.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(text(&site.get("/x/_headers").await), "mine");
}

#[tokio::test]
async fn without_rules_the_worker_gets_what_assets_do_not_have() {
    let files = ["/foo.html", "/404.html", "/index.html"];
    for not_found_handling in
        [NotFoundHandling::None, NotFoundHandling::NotFoundPage, NotFoundHandling::SinglePageApplication]
    {
        let config = AssetsConfig { not_found_handling, ..with_worker(RunWorkerFirst::Always(false)) };
        let site = Site::new(&files, config);
        for (method, path, expected) in [
            (Method::GET, "/foo", Some(200)),
            (Method::GET, "/foo.html", Some(307)),
            (Method::GET, "/foo/", Some(307)),
            (Method::GET, "/", Some(200)),
            (Method::GET, "/404", Some(200)),
            (Method::GET, "/bar", None),
            (Method::POST, "/foo", Some(405)),
            (Method::POST, "/bar", None),
        ] {
            assert_eq!(site.outside(method, path, &[]).await, expected, "{not_found_handling:?} {path}");
        }
    }
}

#[tokio::test]
async fn without_a_worker_assets_answer_everything() {
    let config = AssetsConfig {
        run_worker_first: RunWorkerFirst::Always(true),
        not_found_handling: NotFoundHandling::SinglePageApplication,
        ..AssetsConfig::default()
    };
    let site = Site::new(&["/index.html"], config);
    assert!(!site.set.worker_first("/"));
    assert_eq!(site.outside(Method::GET, "/bar", &[]).await, Some(200));
    assert_eq!(site.outside(Method::POST, "/bar", &[]).await, Some(405));
}

#[tokio::test]
async fn run_worker_first_sends_everything_or_what_rules_name() {
    let site = Site::new(&["/a.txt"], with_worker(RunWorkerFirst::Always(true)));
    assert!(site.set.worker_first("/a.txt"));
    assert_eq!(site.outside(Method::GET, "/a.txt", &[]).await, None);

    let rules = ["/api/*", "!/api/docs/*"].map(String::from).to_vec();
    let config = AssetsConfig {
        not_found_handling: NotFoundHandling::SinglePageApplication,
        ..with_worker(RunWorkerFirst::Rules(rules))
    };
    let site = Site::new(&["/index.html", "/api/data.json", "/api/docs/x.txt"], config);
    for (path, expected) in [
        ("/api/data.json", None),
        ("/api/../api/data.json", None),
        ("/api/docs/x.txt", Some(200)),
        ("/api/docs/missing", Some(200)),
        // With rules, the rest is the single-page application's.
        ("/anything", Some(200)),
    ] {
        assert_eq!(site.outside(Method::GET, path, &[]).await, expected, "{path}");
        assert_eq!(site.set.worker_first(path), expected.is_none());
    }
}

#[tokio::test]
async fn excluded_paths_never_reach_the_worker() {
    let rules = ["/*", "!/static/*"].map(String::from).to_vec();
    let site = Site::new(&["/index.html"], with_worker(RunWorkerFirst::Rules(rules)));
    assert_eq!(site.outside(Method::GET, "/static/missing", &[]).await, Some(404));
    assert_eq!(site.outside(Method::GET, "/index.html", &[]).await, None);
}

#[tokio::test]
async fn navigations_prefer_the_single_page_application_if_the_worker_is_of_that_date() {
    for (navigation_prefers_assets, expected) in [(true, Some(200)), (false, None)] {
        let config = AssetsConfig {
            navigation_prefers_assets,
            not_found_handling: NotFoundHandling::SinglePageApplication,
            html_handling: HtmlHandling::AutoTrailingSlash,
            ..with_worker(RunWorkerFirst::Always(false))
        };
        let site = Site::new(&["/index.html"], config);
        let navigate = [("sec-fetch-mode", "navigate")];
        assert_eq!(site.outside(Method::GET, "/page", &navigate).await, expected);
        assert_eq!(site.outside(Method::GET, "/page", &[("sec-fetch-mode", "cors")]).await, None);
    }
}
