//! Static assets: how paths become files, `_headers`, `_redirects`, and what is uploaded again.

use serde_json::json;

use crate::support::up::Up;
use crate::support::wrangler::{Client, Project};

const WORKER: &str = "export default { async fetch(request, env) {
        const { pathname } = new URL(request.url);
        if (pathname === '/api/page') return env.ASSETS.fetch(new URL('/about/', request.url));
        return new Response(`worker ${pathname}`);
    } }";

fn files(project: &Project<'_>) {
    project.file("public/index.html", "<h1>Home</h1>");
    project.file("public/about/index.html", "<h1>About</h1>");
    project.file("public/contact.html", "<h1>Contact</h1>");
    project.file("public/with space.txt", "a space");
    project.file("public/data/numbers.json", "[1,2,3]");
    project.file("public/404.html", "<h1>Nothing here</h1>");
    project.file("public/_headers", "/data/*\n  x-kind: numbers\n  cache-control: max-age=60\n");
    project.file("public/_redirects", "/old /contact 301\n/blog/:slug /about/?from=:slug 302\n");
}

fn paths_headers_and_redirects_are_as_documented(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "site", WORKER);
    files(&project);
    let assets = json!({ "directory": "public", "binding": "ASSETS", "run_worker_first": ["/api/*"] });
    project.config("site", &json!({ "assets": assets }));
    project.deploy(&[]);

    assert_eq!(project.text("site", "/"), "<h1>Home</h1>");
    assert_eq!(project.text("site", "/about/"), "<h1>About</h1>");
    assert_eq!(project.text("site", "/contact"), "<h1>Contact</h1>");
    assert_eq!(project.text("site", "/with%20space.txt"), "a space");
    assert_eq!(project.text("site", "/api/page"), "<h1>About</h1>");
    assert_eq!(project.text("site", "/api/else"), "worker /api/else");
    assert_eq!(project.text("site", "/nowhere"), "worker /nowhere");
    for (path, to) in [("/about", "/about/"), ("/contact.html", "/contact"), ("/index.html", "/")] {
        let answer = project.get("site", path);
        assert_eq!((answer.status, answer.header("location")), (307, Some(to)), "{path}");
    }
    let moved = project.get("site", "/old");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/contact")));
    let moved = project.get("site", "/blog/cats");
    assert_eq!((moved.status, moved.header("location")), (302, Some("/about/?from=cats")));
    let numbers = project.get("site", "/data/numbers.json");
    assert_eq!(numbers.text(), "[1,2,3]");
    assert_eq!(numbers.header("x-kind"), Some("numbers"));
    assert_eq!(numbers.header("cache-control"), Some("max-age=60"));
    assert_eq!(numbers.header("content-type"), Some("application/json"));
    assert_eq!(project.text("site", "/_headers"), "worker /_headers");

    let etag = numbers.header("etag").unwrap();
    let host = format!("site.localhost:{}", up.http.port());
    let unchanged = up.ask("GET", &host, "/data/numbers.json", &[("if-none-match", etag)], &[]);
    assert_eq!(unchanged.status, 304);
    let part = up.ask("GET", &host, "/data/numbers.json", &[("range", "bytes=1-3")], &[]);
    assert_eq!((part.status, part.text().as_str()), (206, "1,2"));
}

fn only_what_changed_is_uploaded_again(client: Client) {
    let up = Up::start();
    let project = Project::empty(&up, client);
    files(&project);
    let assets = |more: &str| json!({ "main": null, "assets": { "directory": "public", "not_found_handling": more } });
    project.config("files", &assets("404-page"));
    let text = project.run(&["deploy"]);
    assert!(text.contains("Uploaded 6"), "{text}");
    assert_eq!(project.text("files", "/"), "<h1>Home</h1>");
    let lost = project.get("files", "/nowhere");
    assert_eq!((lost.status, lost.text().as_str()), (404, "<h1>Nothing here</h1>"));

    let text = project.run(&["deploy"]);
    assert!(text.contains("No updated asset files to upload"), "{text}");
    assert_eq!(project.text("files", "/contact"), "<h1>Contact</h1>");

    project.file("public/contact.html", "<h1>Contact us</h1>");
    std::fs::remove_file(project.path().join("public/with space.txt")).unwrap();
    project.config("files", &assets("single-page-application"));
    let text = project.run(&["deploy"]);
    assert!(text.contains("Uploaded 1"), "{text}");
    assert_eq!(project.text("files", "/contact"), "<h1>Contact us</h1>");
    assert_eq!(project.text("files", "/with%20space.txt"), "<h1>Home</h1>");
    assert_eq!(project.text("files", "/app/route"), "<h1>Home</h1>");

    // Another worker with the same files has nothing to upload either: the same content is stored once.
    project.config("twin", &assets("none"));
    project.deploy(&[]);
    assert_eq!(project.text("twin", "/contact"), "<h1>Contact us</h1>");
    assert_eq!(project.get("twin", "/app/route").status, 404);
}

fn a_site_of_many_files_is_all_there(client: Client) {
    let up = Up::start();
    let project = Project::empty(&up, client);
    for number in 0..300 {
        project.file(&format!("public/pages/{number}.txt"), &format!("page {number} {}", "é".repeat(number)));
    }
    // Several megabytes, that no text is.
    let large: Vec<u8> = (0..6_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(project.path().join("public/large.bin"), &large).unwrap();
    project.file("public/no-extension", "plain");
    project.config("many", &json!({ "main": null, "assets": { "directory": "public" } }));
    project.deploy(&[]);
    for number in 0..300 {
        assert_eq!(
            project.text("many", &format!("/pages/{number}.txt")),
            format!("page {number} {}", "é".repeat(number))
        );
    }
    assert!(project.get("many", "/large.bin").body == large);
    assert_eq!(project.get("many", "/no-extension").header("content-type"), None);
}

with_both_clients!(
    paths_headers_and_redirects_are_as_documented,
    only_what_changed_is_uploaded_again,
    a_site_of_many_files_is_all_there,
);
