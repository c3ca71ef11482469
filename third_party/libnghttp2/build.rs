//! Compiles nghttp2's C sources.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=nghttp2");
    let mut build = cc::Build::new();
    build
        .include("nghttp2/includes")
        .warnings(false)
        .define("NGHTTP2_STATICLIB", None)
        .define("HAVE_NETINET_IN", None)
        .define("HAVE_TIME_H", None)
        .define("HAVE_ARPA_INET_H", None);
    let mut sources: Vec<_> = std::fs::read_dir("nghttp2")
        .expect("the sources are beside this script")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    build.files(sources.iter().map(Path::new)).compile("nghttp2");
}
