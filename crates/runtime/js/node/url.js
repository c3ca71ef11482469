// `node:url`: Deno's, with the methods of Node's older class.
(function () {
const { core, primordials } = __bootstrap;
const { ObjectAssign } = primordials;
const url = core.loadExtScript("ext:deno_node/url.ts");
const exports = url.default ?? url;
const { Url } = exports;
Url.prototype.parse ??= function parse(text, parseQuery, slashesDenoteHost) {
  return ObjectAssign(this, exports.parse(text, parseQuery, slashesDenoteHost));
};
Url.prototype.parseHost ??= function parseHost() {
  const { hostname, port } = exports.parse(`//${this.host}`, false, true);
  if (port !== null) this.port = port;
  if (hostname !== null) this.hostname = hostname;
};
exports.toPathIfFileURL ??= core.loadExtScript("ext:deno_node/internal/url.ts").toPathIfFileURL;
return exports;
})();
