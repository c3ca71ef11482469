// `node:timers`: Deno's, with Node's older functions.
(function () {
const { core } = __bootstrap;
const timers = core.loadExtScript("ext:deno_node/timers.ts");
const { Timeout } = core.loadExtScript("ext:deno_node/internal/timers.mjs");
const exports = timers.default ?? timers;

/** An object of the worker's own as a timer: https://nodejs.org/api/deprecations.html#DEP0095 */
function enroll(item, milliseconds) {
  unenroll(item);
  item._idleTimeout = milliseconds;
}
function unenroll(item) {
  if (item._selvedgeTimer !== undefined) exports.clearTimeout(item._selvedgeTimer);
  item._selvedgeTimer = undefined;
}
function active(item) {
  unenroll(item);
  if (item._idleTimeout >= 0) item._selvedgeTimer = exports.setTimeout(() => item._onTimeout?.(), item._idleTimeout);
}

exports.Timeout ??= Timeout;
exports.active ??= active;
exports.enroll ??= enroll;
exports.unenroll ??= unenroll;
return exports;
})();
