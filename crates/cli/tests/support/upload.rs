//! Deploys workers by the API, as any HTTP client could: one multipart request.

use serde_json::{Value, json};

use super::Answer;
use super::up::Up;

const BOUNDARY: &str = "----a-boundary-of-the-tests";

/// The multipart body of a worker of one module.
pub fn multipart(metadata: &Value, script: &str) -> Vec<u8> {
    let mut metadata = metadata.clone();
    metadata["main_module"] = json!("index.js");
    if metadata.get("compatibility_date").is_none() {
        metadata["compatibility_date"] = json!("2026-11-01");
    }
    format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n\
         --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"index.js\"; filename=\"index.js\"\r\n\
         content-type: application/javascript+module\r\n\r\n{script}\r\n--{BOUNDARY}--\r\n"
    )
    .into_bytes()
}

impl Up {
    /// The path of a worker of the first account in the API.
    pub fn script_path(&self, worker: &str) -> String {
        format!("/accounts/{}/workers/scripts/{worker}", self.account)
    }

    /// Sends a worker to the API; `path` begins behind `/client/v4`.
    pub fn upload(&self, method: &str, path: &str, metadata: &Value, script: &str) -> Answer {
        let authorization = format!("Bearer {}", self.token);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let headers = [("authorization", authorization.as_str()), ("content-type", kind.as_str())];
        let body = multipart(metadata, script);
        super::ask_host(self.api, method, &self.api.to_string(), &format!("/client/v4{path}"), &headers, &body)
    }

    /// Deploys a worker, which must go well, and opens it under the platform's domain.
    pub fn deploy(&self, worker: &str, metadata: &Value, script: &str) -> Value {
        let path = self.script_path(worker);
        let deployed = self.upload("PUT", &path, metadata, script);
        assert_eq!(deployed.status, 200, "{}", deployed.text());
        self.well("POST", &format!("{path}/subdomain"), Some(&json!({ "enabled": true, "previews_enabled": true })));
        deployed.json()["result"].clone()
    }

    /// Uploads a version, which must go well; gives its id.
    pub fn upload_version(&self, worker: &str, metadata: &Value, script: &str) -> String {
        let uploaded = self.upload("POST", &format!("{}/versions", self.script_path(worker)), metadata, script);
        assert_eq!(uploaded.status, 200, "{}", uploaded.text());
        uploaded.json()["result"]["id"].as_str().unwrap().to_owned()
    }

    /// Gives versions their shares, in percent.
    pub fn share(&self, worker: &str, shares: &[(&str, f64)]) {
        let versions: Vec<Value> = shares
            .iter()
            .map(|(version, percentage)| json!({ "version_id": version, "percentage": percentage }))
            .collect();
        let body = json!({ "strategy": "percentage", "versions": versions });
        self.well("POST", &format!("{}/deployments", self.script_path(worker)), Some(&body));
    }

    /// Asks the API, which must agree; gives the result.
    pub fn well(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.call(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()["result"].clone()
    }
}
