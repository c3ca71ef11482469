//! The `assets` part of a worker's configuration.

use serde::{Deserialize, Serialize};

/// From this compatibility date on, navigations prefer `not_found_handling` to the worker.
const NAVIGATION_PREFERS_ASSETS_DATE: &str = "2025-04-01";
const NAVIGATION_PREFERS_ASSETS: &str = "assets_navigation_prefers_asset_serving";
const NAVIGATION_HAS_NO_EFFECT: &str = "assets_navigation_has_no_effect";

/// How the assets of one worker are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssetsConfig {
    pub html_handling: HtmlHandling,
    pub not_found_handling: NotFoundHandling,
    pub run_worker_first: RunWorkerFirst,
    /// Whether there is a script to fall back to; without one every request is answered from assets.
    pub has_worker: bool,
    /// `Sec-Fetch-Mode: navigate` requests that match nothing get `not_found_handling` before the worker.
    pub navigation_prefers_assets: bool,
}

/// `html_handling`: which URL an HTML file is served at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HtmlHandling {
    /// `/foo.html` at `/foo`, `/foo/index.html` at `/foo/`.
    #[default]
    AutoTrailingSlash,
    /// Both at `/foo/`.
    ForceTrailingSlash,
    /// Both at `/foo`.
    DropTrailingSlash,
    /// Files at their own paths only.
    None,
}

/// `not_found_handling`: what answers a path without a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotFoundHandling {
    #[default]
    #[serde(rename = "none")]
    None,
    /// The nearest `404.html` up the tree, with status 404.
    #[serde(rename = "404-page")]
    NotFoundPage,
    /// `/index.html`, with status 200.
    #[serde(rename = "single-page-application")]
    SinglePageApplication,
}

/// `run_worker_first`: which paths the worker sees before assets do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RunWorkerFirst {
    Always(bool),
    /// Globs; those with `!` name exceptions, which go to assets whatever else matches.
    Rules(Vec<String>),
}

// === impl AssetsConfig ===

impl AssetsConfig {
    /// Whether a worker of this compatibility date (`YYYY-MM-DD`) and these flags has `navigation_prefers_assets`.
    pub fn navigation_prefers_assets<F: AsRef<str>>(compatibility_date: &str, flags: &[F]) -> bool {
        let has = |flag| flags.iter().any(|known| known.as_ref() == flag);
        has(NAVIGATION_PREFERS_ASSETS)
            || (compatibility_date >= NAVIGATION_PREFERS_ASSETS_DATE && !has(NAVIGATION_HAS_NO_EFFECT))
    }
}

// === impl RunWorkerFirst ===

impl Default for RunWorkerFirst {
    fn default() -> Self {
        Self::Always(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_reads_the_platforms_spelling() {
        let html = |text| serde_json::from_str::<HtmlHandling>(text).unwrap();
        assert_eq!(html("\"auto-trailing-slash\""), HtmlHandling::AutoTrailingSlash);
        assert_eq!(html("\"force-trailing-slash\""), HtmlHandling::ForceTrailingSlash);
        assert_eq!(html("\"drop-trailing-slash\""), HtmlHandling::DropTrailingSlash);
        assert_eq!(html("\"none\""), HtmlHandling::None);
        let not_found = |text| serde_json::from_str::<NotFoundHandling>(text).unwrap();
        assert_eq!(not_found("\"404-page\""), NotFoundHandling::NotFoundPage);
        assert_eq!(not_found("\"single-page-application\""), NotFoundHandling::SinglePageApplication);
        assert_eq!(not_found("\"none\""), NotFoundHandling::None);
        let first = |text| serde_json::from_str::<RunWorkerFirst>(text).unwrap();
        assert_eq!(first("true"), RunWorkerFirst::Always(true));
        assert_eq!(first("[\"/api/*\"]"), RunWorkerFirst::Rules(vec!["/api/*".into()]));
    }

    #[test]
    fn navigation_preference_follows_date_and_flags() {
        for (date, flags, expected) in [
            ("2025-03-31", &[][..], false),
            ("2025-04-01", &[], true),
            ("2025-04-01", &["assets_navigation_has_no_effect"], false),
            ("2024-01-01", &["assets_navigation_prefers_asset_serving"], true),
        ] {
            let actual = AssetsConfig::navigation_prefers_assets(date, flags);
            assert_eq!(actual, expected, "{date} {flags:?}");
        }
    }
}
