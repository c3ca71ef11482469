//! A directory of assets, and requests to it.
// Each test binary uses its own part; and a helper that cannot do its work ends the test.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use selvedge_assets::{AssetRequest, AssetSet, AssetsConfig, AssetsError, Decision, RunWorkerFirst};
use tempfile::TempDir;

pub struct Site {
    pub directory: TempDir,
    pub set: AssetSet,
}

impl Site {
    /// A site whose files each hold their own name.
    pub fn new(files: &[&str], config: AssetsConfig) -> Self {
        let contents = files.iter().map(|name| (*name, *name)).collect::<Vec<_>>();
        Self::with_contents(&contents, config)
    }

    pub fn with_contents(files: &[(&str, &str)], config: AssetsConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, contents) in files {
            write(directory.path(), name, contents.as_bytes());
        }
        let set = AssetSet::open(directory.path(), config).unwrap();
        Self { directory, set }
    }

    pub fn reopen(&mut self) -> Result<(), AssetsError> {
        self.set = AssetSet::open(self.directory.path(), self.set.config().clone())?;
        Ok(())
    }

    pub async fn get(&self, path: &str) -> Response<Bytes> {
        self.request(Method::GET, path, &[]).await
    }

    /// As through the assets binding: the worker is never asked.
    pub async fn request(&self, method: Method, path: &str, pairs: &[(&str, &str)]) -> Response<Bytes> {
        self.request_to(method, "example.com", path, pairs).await
    }

    pub async fn request_to(&self, method: Method, host: &str, path: &str, pairs: &[(&str, &str)]) -> Response<Bytes> {
        let headers = headers(pairs);
        let request = AssetRequest::new(&method, "https", host, path, &headers);
        let answer = self.set.answer(&request);
        let (parts, body) = self.set.respond(&request, answer).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    /// What a request from outside comes to: a status, or the worker.
    pub async fn outside(&self, method: Method, path: &str, pairs: &[(&str, &str)]) -> Option<u16> {
        let headers = headers(pairs);
        let request = AssetRequest::new(&method, "https", "example.com", path, &headers);
        match self.set.decide(&request) {
            Decision::RunWorker => None,
            Decision::Answer(answer) => Some(self.set.respond(&request, answer).await.unwrap().status().as_u16()),
        }
    }
}

pub fn write(directory: &Path, name: &str, contents: &[u8]) {
    let path = directory.join(name.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

pub fn header<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

pub fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

pub fn with_worker(rules: RunWorkerFirst) -> AssetsConfig {
    AssetsConfig { has_worker: true, run_worker_first: rules, ..AssetsConfig::default() }
}
