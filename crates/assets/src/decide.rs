//! What to do with a request. Pure: reads the index, touches no file.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use crate::asset::Asset;
use crate::base_path::BasePath;
use crate::config::NotFoundHandling;
use crate::path;
use crate::redirect_rules::Redirect;
use crate::request::AssetRequest;
use crate::resolve::{Intent, Resolver};
use crate::set::AssetSet;
use crate::worker_first::First;

/// Who answers a request that came from outside.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Assets do: hand this to [`AssetSet::respond`].
    Answer(Answer),
    RunWorker,
}

/// How assets answer a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Serve(AssetPlan),
    /// `location` is a path, or the absolute URL that a rule in `_redirects` names.
    Redirect {
        status: StatusCode,
        location: HeaderValue,
    },
    NotFound,
    MethodNotAllowed,
}

/// A file to serve.
#[derive(Clone, Debug)]
pub struct AssetPlan {
    pub(crate) asset: Arc<Asset>,
    pub(crate) status: StatusCode,
}

enum Outcome {
    Answer(Answer),
    /// Neither a file nor a rule concerns this path.
    Nothing,
}

// === impl AssetSet ===

impl AssetSet {
    /// Whether `run_worker_first` sends this path (as it stands in the URL) to the worker without asking assets.
    pub fn worker_first(&self, path: &str) -> bool {
        self.config.has_worker && self.worker_first.first(path) == First::Worker
    }

    /// Decides for a request from outside. `run_worker_first` is part of the decision.
    pub fn decide(&self, request: &AssetRequest<'_>) -> Decision {
        if self.config.has_worker {
            match self.worker_first.first(request.path()) {
                First::Worker => return Decision::RunWorker,
                First::Assets if !self.concerns(request) => return Decision::RunWorker,
                First::Assets | First::AssetsOnly => {}
            }
        }
        Decision::Answer(self.answer(request))
    }

    /// Decides for a request through a worker's assets binding (`env.ASSETS.fetch`): assets always answer.
    pub fn answer(&self, request: &AssetRequest<'_>) -> Answer {
        match self.outcome(request, self.config.not_found_handling) {
            Outcome::Answer(answer) => answer,
            Outcome::Nothing => Answer::NotFound,
        }
    }

    /// Whether assets, rather than the worker behind them, answer this request. `not_found_handling` counts only where
    /// the worker is not meant to render pages.
    fn concerns(&self, request: &AssetRequest<'_>) -> bool {
        let is_navigation = self.config.navigation_prefers_assets && is_navigation(request.headers);
        let not_found_handling = if self.worker_first.has_rules() || is_navigation {
            self.config.not_found_handling
        } else {
            NotFoundHandling::None
        };
        matches!(self.outcome(request, not_found_handling), Outcome::Answer(_))
    }

    fn outcome(&self, request: &AssetRequest<'_>, not_found_handling: NotFoundHandling) -> Outcome {
        let Some(url) = request.url() else {
            return Outcome::Nothing;
        };
        let rewritten = match self.redirects.find(request.target()) {
            Some(redirect) if redirect.status == StatusCode::OK => Some(join_path(url, &redirect.to)),
            Some(redirect) if redirect.status == StatusCode::NOT_FOUND => return Outcome::Answer(Answer::NotFound),
            Some(redirect) => return Outcome::Answer(redirect_to(url, &redirect)),
            None => None,
        };
        let path = rewritten.as_deref().unwrap_or_else(|| url.path());
        let decoded = path::decode(path);
        let resolver = Resolver { index: &self.index, html_handling: self.config.html_handling, not_found_handling };
        let name = self.base_path.name_of(&decoded);
        let Some((name, intent)) = name.and_then(|name| Some((name, resolver.resolve(name)?))) else {
            // A rule named this path, so the worker is not asked.
            return match rewritten {
                Some(_) => Outcome::Answer(Answer::NotFound),
                None => Outcome::Nothing,
            };
        };
        if *request.method != Method::GET && *request.method != Method::HEAD {
            return Outcome::Answer(Answer::MethodNotAllowed);
        }
        Outcome::Answer(carry_out(intent, path, &self.base_path, name, url.query()))
    }
}

/// Serves at the one canonical path of a file, and redirects there from every other spelling of it.
fn carry_out(intent: Intent, path: &str, base: &BasePath, name: &str, query: Option<&str>) -> Answer {
    let (destination, plan) = match intent {
        Intent::Redirect(to) => (base.path_of(&to), None),
        Intent::Serve { asset, status } => (base.path_of(name), Some(AssetPlan { asset, status })),
    };
    let destination = path::encode(&destination);
    match plan {
        Some(plan) if destination == path => Answer::Serve(plan),
        _ => {
            let location = with_query(&destination, query);
            redirect_answer(StatusCode::TEMPORARY_REDIRECT, &location)
        }
    }
}

/// Where a rule leads, keeping the request's query unless the rule has its own.
fn redirect_to(url: &Url, redirect: &Redirect) -> Answer {
    let Ok(mut destination) = url.join(&redirect.to) else {
        return Answer::NotFound;
    };
    if destination.query().unwrap_or_default().is_empty() {
        destination.set_query(url.query().filter(|query| !query.is_empty()));
    }
    let is_same_origin = destination.origin() == url.origin();
    let location = if is_same_origin {
        let fragment = destination.fragment().filter(|fragment| !fragment.is_empty());
        let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
        with_query(destination.path(), destination.query()) + &fragment
    } else {
        destination.into()
    };
    redirect_answer(redirect.status, &location)
}

fn redirect_answer(status: StatusCode, location: &str) -> Answer {
    match HeaderValue::from_str(location) {
        Ok(location) => Answer::Redirect { status, location },
        // URLs are ASCII once parsed, so this is not reached; nothing is there if it is.
        Err(_) => Answer::NotFound,
    }
}

fn join_path(url: &Url, to: &str) -> String {
    url.join(to).map_or_else(|_| to.to_owned(), |joined| joined.path().to_owned())
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    }
}

fn is_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}
