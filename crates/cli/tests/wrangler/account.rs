//! Who is asking, and what becomes of those who may not.

use std::process::Command;

use crate::support::up::{Up, printed};
use crate::support::wrangler::{Client, Project};

const WORKER: &str = "export default { fetch() { return new Response('here') } }";

fn the_client_and_its_node_are_those_that_are_meant(client: Client) {
    let (wrangler, node) = match client {
        Client::Node20 => ("4.86.0", "v20."),
        Client::Latest => ("4.164.0", "v22."),
    };
    let up = Up::start();
    let version = Project::empty(&up, client).run(&["--version"]);
    assert!(version.contains(wrangler), "{version}");
    let version = printed(&Command::new(client.node()).arg("--version").output().unwrap());
    assert!(version.starts_with(node), "{version}");
}

fn whoami_names_the_account(client: Client) {
    let up = Up::start();
    let text = Project::empty(&up, client).run(&["whoami"]);
    assert!(text.contains(&up.account), "{text}");
}

fn a_wrong_token_deploys_nothing_and_is_told_so(client: Client) {
    let mut up = Up::start();
    let right = std::mem::replace(&mut up.token, "slv_0000000000000000000000000000000000000000000".to_owned());
    let text = Project::script(&up, client, "intruder", WORKER).fails(&["deploy"]);
    assert!(text.contains("uthenticat"), "{text}");
    up.token = right;
    let path = format!("/accounts/{}/workers/services/intruder", up.account);
    assert_eq!(up.call("GET", &path, None).status, 404);
    assert_ne!(up.get("intruder", "/").status, 200);
}

with_both_clients!(
    the_client_and_its_node_are_those_that_are_meant,
    whoami_names_the_account,
    a_wrong_token_deploys_nothing_and_is_told_so,
);
