// `node:diagnostics_channel`: Deno's, with the class of its tracing channels.
(function () {
const channels = __bootstrap.core.loadExtScript("ext:deno_node/diagnostics_channel.js");
const exports = channels.default ?? channels;
exports.TracingChannel ??= exports.tracingChannel("selvedge").constructor;
return exports;
})();
