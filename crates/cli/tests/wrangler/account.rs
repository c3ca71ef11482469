//! Who is asking, and what becomes of those who may not.

use crate::support::up::Up;
use crate::support::wrangler::{Client, Project};

const WORKER: &str = "export default { fetch() { return new Response('here') } }";

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

with_both_clients!(whoami_names_the_account, a_wrong_token_deploys_nothing_and_is_told_so);
