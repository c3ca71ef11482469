//! `delete`.

use serde_json::json;

use crate::support::up::Up;
use crate::support::wrangler::{Client, Project};

fn a_deleted_worker_is_gone_and_its_name_is_free(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "brief", "export default { fetch: () => new Response('here') }");
    let routes = json!([{ "pattern": "brief.test/*", "zone_name": "brief.test" }]);
    project.config("brief", &json!({ "routes": routes, "workers_dev": true }));
    project.deploy(&[]);
    assert_eq!(up.get_host("brief.test", "/").text(), "here");
    project.run(&["delete"]);
    assert_eq!(project.get("brief", "/").status, 404);
    assert_eq!(up.get_host("brief.test", "/").status, 404);
    project.fails(&["deployments", "list"]);

    project.file("src/index.js", "export default { fetch: () => new Response('again') }");
    project.deploy(&[]);
    assert_eq!(project.text("brief", "/"), "again");
    assert_eq!(project.api("/workers/scripts/brief/versions?deployable=true")["items"].as_array().unwrap().len(), 1);
}

fn a_worker_that_others_are_bound_to_goes_only_by_force(client: Client) {
    let up = Up::start();
    let back = Project::script(&up, client, "needed", "export default { fetch: () => new Response('needed') }");
    back.deploy(&[]);
    let front = Project::script(
        &up,
        client,
        "needs",
        "export default { async fetch(request, env) {
            try { return new Response(await (await env.OTHER.fetch(request)).text()) }
            catch (error) { return new Response(String(error), { status: 500 }) }
         } }",
    );
    front.config("needs", &json!({ "services": [{ "binding": "OTHER", "service": "needed" }] }));
    front.deploy(&[]);
    assert_eq!(front.text("needs", "/"), "needed");
    // Without a terminal the question "are you sure" is answered with no, or the server refuses.
    let path = format!("/accounts/{}/workers/services/needed?force=false", up.account);
    let refused = up.call("DELETE", &path, None);
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    assert!(refused.text().contains("needs"), "{}", refused.text());
    assert_eq!(back.text("needed", "/"), "needed");

    back.run(&["delete", "--force"]);
    assert_eq!(back.get("needed", "/").status, 404);
    let answer = front.get("needs", "/");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("needed"), "{}", answer.text());
}

with_both_clients!(a_deleted_worker_is_gone_and_its_name_is_free, a_worker_that_others_are_bound_to_goes_only_by_force);
