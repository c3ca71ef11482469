// The entry of the snapshot: evaluates what most workers need, leaves the rest to first use, and gives the host its
// handles. The host takes `__selvedge` off the global object before tenant code runs.
import { core } from "ext:core/mod.js";

core.loadExtScript("ext:selvedge/errors.js").registerErrors();
const { installGlobals } = core.loadExtScript("ext:selvedge/globals.js");
const events = core.loadExtScript("ext:selvedge/events.js");
core.loadExtScript("ext:selvedge/env.js");

installGlobals();

globalThis.__selvedge = {
  prepare: events.prepare,
  start: events.start,
  dispatch: events.dispatch,
  cancel: events.cancel,
  handlers: events.handlers,
  hung: events.hung,
  forget: events.forget,
};
