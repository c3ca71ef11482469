// `cloudflare:sockets`: https://developers.cloudflare.com/workers/runtime-apis/tcp-sockets/
import { core, primordials } from "ext:core/mod.js";
const { Error, PromiseReject } = primordials;

export function connect(address, options = undefined) {
  return core.loadExtScript("ext:selvedge/sockets.js").connect(address, options);
}

export function internalNewHttpClient(_socket) {
  return PromiseReject(new Error("internalNewHttpClient() is not available: use fetch() for HTTP."));
}
