// `cloudflare:workers`
import { core } from "ext:core/mod.js";
const workers = core.loadExtScript("ext:selvedge/workers.js");
const events = core.loadExtScript("ext:selvedge/events.js");

export const { DurableObject, RpcTarget, WorkerEntrypoint, WorkflowEntrypoint } = workers;
export const env = core.loadExtScript("ext:selvedge/env.js").env;
export const waitUntil = events.waitUntil;
