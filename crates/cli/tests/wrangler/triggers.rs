//! What wakes a worker besides its own host name: routes, custom domains, cron triggers.

use serde_json::json;

use crate::support::eventually;
use crate::support::up::Up;
use crate::support::wrangler::{Client, Project};

fn worker(word: &str) -> String {
    format!(
        "export default {{ fetch(request) {{ return new Response(`{word} ${{request.url}}`) }}, scheduled() {{}} }}"
    )
}

fn routes_lead_to_the_most_specific_worker(client: Client) {
    let up = Up::start();
    let shop = Project::script(&up, client, "shop", &worker("shop"));
    let routes = json!([
        { "pattern": "bazaar.test/*", "zone_name": "bazaar.test" },
        { "pattern": "*.bazaar.test/items/*", "zone_name": "bazaar.test" },
    ]);
    shop.config("shop", &json!({ "routes": routes }));
    let text = shop.run(&["deploy"]);
    assert!(text.contains("bazaar.test/*"), "{text}");
    let api = Project::script(&up, client, "api", &worker("api"));
    api.config("api", &json!({ "route": { "pattern": "bazaar.test/api/*", "zone_name": "bazaar.test" } }));
    api.deploy(&[]);

    let asked = |host: &str, path: &str| up.get_host(host, path);
    assert_eq!(asked("bazaar.test", "/x?y").text(), "shop http://bazaar.test/x?y");
    assert_eq!(asked("bazaar.test", "/api/x").text(), "api http://bazaar.test/api/x");
    assert_eq!(asked("eu.bazaar.test", "/items/1").text(), "shop http://eu.bazaar.test/items/1");
    assert_eq!(asked("eu.bazaar.test", "/else").status, 404);

    // A deploy replaces the worker's routes.
    api.config("api", &json!({ "route": { "pattern": "bazaar.test/v2/*", "zone_name": "bazaar.test" } }));
    api.deploy(&[]);
    eventually("the old route is gone", || {
        (asked("bazaar.test", "/api/x").text() == "shop http://bazaar.test/api/x").then_some(())
    });
    assert_eq!(asked("bazaar.test", "/v2/x").text(), "api http://bazaar.test/v2/x");
}

fn a_custom_domain_leads_to_one_worker_whole(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "garden", &worker("garden"));
    let routes = json!([{ "pattern": "www.garden.test", "custom_domain": true }]);
    project.config("garden", &json!({ "routes": routes, "workers_dev": false }));
    let text = project.run(&["deploy"]);
    assert!(text.contains("www.garden.test"), "{text}");
    assert_eq!(up.get_host("www.garden.test", "/roses").text(), "garden http://www.garden.test/roses");
    assert_eq!(up.get_host("garden.test", "/roses").status, 404);
    assert_eq!(project.get("garden", "/").status, 404, "workers_dev is off");
}

fn triggers_change_without_the_code(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "bells", &worker("bells"));
    project.config("bells", &json!({ "triggers": { "crons": ["*/5 * * * *", "0 12 * * mon-fri"] } }));
    let text = project.run(&["deploy"]);
    assert!(text.contains("*/5 * * * *"), "{text}");
    let crons = || {
        let schedules = project.api("/workers/scripts/bells/schedules");
        let list = schedules.get("schedules").unwrap_or(&schedules).as_array().unwrap().clone();
        list.iter().map(|schedule| schedule["cron"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(crons(), ["*/5 * * * *", "0 12 * * mon-fri"]);

    project.file("src/index.js", &worker("never uploaded"));
    let routes = json!([{ "pattern": "bells.test/*", "zone_name": "bells.test" }]);
    project.config("bells", &json!({ "triggers": { "crons": ["30 6 1 * *"] }, "routes": routes }));
    project.run(&["triggers", "deploy"]);
    assert_eq!(crons(), ["30 6 1 * *"]);
    assert_eq!(up.get_host("bells.test", "/").text(), "bells http://bells.test/");

    project.config("bells", &json!({ "triggers": { "crons": ["61 * * * *"] } }));
    let text = project.fails(&["triggers", "deploy"]);
    assert!(text.contains("61 * * * *"), "{text}");
    assert_eq!(crons(), ["30 6 1 * *"]);

    project.config("bells", &json!({ "triggers": { "crons": [] } }));
    project.run(&["triggers", "deploy"]);
    assert!(crons().is_empty());
}

with_both_clients!(
    routes_lead_to_the_most_specific_worker,
    a_custom_domain_leads_to_one_worker_whole,
    triggers_change_without_the_code,
);
