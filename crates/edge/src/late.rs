//! Failures of a worker after its answer began: the client has its status, so only the log can tell.

use std::sync::Arc;

use selvedge_door::{Reset, ResetCode};
use selvedge_model::Failure;

use crate::deployed::Deployed;
use crate::edge::Edge;
use crate::pages;
use crate::watch::Watch;

/// Whom to tell of an event whose answer has begun.
pub struct Late {
    pub edge: Arc<Edge>,
    pub deployed: Arc<Deployed>,
    pub request_id: String,
    /// Held until the answer has been sent.
    pub watch: Option<Arc<Watch>>,
    /// The client asked for the head alone: that it takes no body says nothing.
    pub head_only: bool,
}

impl Late {
    /// The client went away before it had the whole answer.
    pub fn abandoned(&self) {
        if let Some(watch) = self.watch.as_ref().filter(|_| !self.head_only) {
            watch.cancelled();
        }
    }

    /// Records what ended an answer, where it is the worker's doing; gives it as a sentence.
    pub fn ended(&self, reset: &Reset) -> String {
        // An exception in a body was logged by the isolate.
        if reset.code != ResetCode::Limit {
            return reset.text.clone();
        }
        match serde_json::from_str::<Failure>(&reset.text) {
            Ok(failure) => {
                let failure = self.deployed.map(failure);
                if let Some(watch) = &self.watch {
                    watch.failed(&failure);
                }
                self.edge.records().failed(&self.deployed.version.manifest.worker, &self.request_id, &failure);
                pages::sentence(&failure)
            }
            Err(_) => reset.text.clone(),
        }
    }
}
