// The Cache API: `caches.default` and named caches, kept by the edge.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayIsArray,
  ArrayPrototypeMap,
  ArrayPrototypePush,
  ArrayPrototypeSome,
  JSONStringify,
  ObjectDefineProperties,
  ObjectPrototypeIsPrototypeOf,
  SafePromiseAll,
  String,
  StringPrototypeSplit,
  StringPrototypeToLowerCase,
  StringPrototypeTrim,
  SymbolToStringTag,
  TypeError,
} = primordials;
const { ask, formatHeaders, innerBodyOf } = core.loadExtScript("ext:selvedge/door.js");
const {
  encodeBodyKey,
  fromInnerResponse,
  nullBodyStatus,
  Request,
  RequestPrototype,
  ResponsePrototype,
  toInnerRequest,
  toInnerResponse,
  webSocketKey,
  wireHeaderList,
} = core.loadExtScript("ext:selvedge/http.js");
const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const events = core.loadExtScript("ext:selvedge/events.js");

/** What stands before a header's name that is the response's, in a `put`. */
const RESPONSE_PREFIX = "x-selvedge-response-";
const NAME_BYTES_MAX = 1024;

let construct = false;

function requestOf(input) {
  return ObjectPrototypeIsPrototypeOf(RequestPrototype, input) ? input : new Request(input);
}

function isWildcardVary(list) {
  return ArrayPrototypeSome(list, ([name, value]) =>
    StringPrototypeToLowerCase(name) === "vary" &&
    ArrayPrototypeSome(StringPrototypeSplit(value, ","), (part) => StringPrototypeTrim(part) === "*"));
}

function unavailable(what) {
  return new DOMException(`Failed to execute ${what}: the cache of an edge cannot list what it holds.`, "NotSupportedError");
}

/** https://developers.cloudflare.com/workers/runtime-apis/cache/ */
class Cache {
  #name;
  constructor(name) {
    if (!construct) throw new TypeError("Illegal constructor");
    this.#name = name;
  }

  /** @returns {Promise<Response | undefined>} */
  async match(input, options = undefined) {
    const request = requestOf(input);
    const ignoreMethod = options?.ignoreMethod === true;
    if (!ignoreMethod && request.method !== "GET") return undefined;
    const reply = await this.#ask("GET", request, ignoreMethod);
    if (reply.meta === "" || JSON.parse(reply.meta).hit !== true) return undefined;
    return fromInnerResponse({
      type: "default",
      status: reply.status,
      statusMessage: reply.statusText,
      headerList: reply.headerList,
      body: nullBodyStatus(reply.status) ? null : innerBodyOf(reply.body),
      aborted: false,
      bodyDecoded: false,
      urlList: [request.url],
      url() {
        return this.urlList[0];
      },
    }, "immutable");
  }

  /** @returns {Promise<undefined>} */
  async put(input, response) {
    const request = requestOf(input);
    if (!ObjectPrototypeIsPrototypeOf(ResponsePrototype, response)) {
      throw new TypeError("Failed to execute 'put' on 'Cache': parameter 2 is not of type 'Response'.");
    }
    if (request.method !== "GET") throw new TypeError("Cannot cache response to non-GET request.");
    const inner = toInnerResponse(response);
    if (inner.type === "error") throw new TypeError("Cache is unable to store an error response");
    if (response[webSocketKey]) throw new TypeError("Cannot cache WebSocket upgrade response.");
    if (inner.status === 206) throw new TypeError("Cannot cache response to a range request (206 Partial Content).");
    const list = wireHeaderList(inner);
    if (isWildcardVary(list)) throw new TypeError("Cannot cache response with 'Vary: *' header.");
    if (inner.body !== null && inner.body.unusable()) {
      throw new TypeError("Body has already been used. It can only be used once. Use tee() first if you need to read it twice.");
    }
    const headers = [["x-selvedge-status", String(inner.status)]];
    for (let i = 0; i < list.length; i++) {
      ArrayPrototypePush(headers, [RESPONSE_PREFIX + StringPrototypeToLowerCase(list[i][0]), list[i][1]]);
    }
    const coding = response[encodeBodyKey] === "manual" ? events.codingOf(list) : undefined;
    const body = coding === undefined || inner.body === null
      ? inner.body
      : new InnerBody(core.loadExtScript("ext:selvedge/encoding.js").decoded(coding, inner.body));
    await this.#ask("PUT", request, false, headers, body);
  }

  /** @returns {Promise<boolean>} whether there was something to delete */
  async delete(input, options = undefined) {
    const request = requestOf(input);
    const ignoreMethod = options?.ignoreMethod === true;
    if (!ignoreMethod && request.method !== "GET") return false;
    return (await this.#ask("DELETE", request, ignoreMethod)).status === 200;
  }

  async add(input) {
    const request = requestOf(input);
    const response = await fetch(request);
    if (!response.ok) throw new TypeError(`Cannot cache a response of status ${response.status}.`);
    await this.put(request, response);
  }

  async addAll(inputs) {
    if (!ArrayIsArray(inputs)) inputs = [...inputs];
    await SafePromiseAll(ArrayPrototypeMap(inputs, (input) => this.add(input)));
  }

  async matchAll(input = undefined, options = undefined) {
    if (input === undefined) throw unavailable("'matchAll' on 'Cache' without a request");
    const response = await this.match(input, options);
    return response === undefined ? [] : [response];
  }

  async keys() {
    throw unavailable("'keys' on 'Cache'");
  }

  async #ask(operation, request, ignoreMethod, further = [], body = null) {
    const inner = toInnerRequest(request);
    const meta = { event: events.current()?.stream, cache: this.#name, method: inner.method, ignoreMethod };
    const reply = await ask(
      {
        target: "cache",
        method: operation,
        url: inner.url(),
        meta: JSONStringify(meta),
        headers: formatHeaders(inner.headerList) + formatHeaders(further),
      },
      body,
    );
    return reply;
  }
}

class CacheStorage {
  #default;
  constructor() {
    if (!construct) throw new TypeError("Illegal constructor");
  }

  /** The cache that the edge itself would use for these URLs. */
  get default() {
    return this.#default ??= make(undefined);
  }

  /** @returns {Promise<Cache>} */
  async open(name) {
    if (arguments.length === 0) {
      throw new TypeError("Failed to execute 'open' on 'CacheStorage': 1 argument required, but only 0 present.");
    }
    name = String(name);
    if (core.byteLength(name) > NAME_BYTES_MAX) throw new TypeError("Cache name is too long.");
    return make(name);
  }

  async match(input, options = undefined) {
    const cache = options?.cacheName === undefined ? this.default : make(String(options.cacheName));
    return await cache.match(input, options);
  }
  async has() {
    throw unavailable("'has' on 'CacheStorage'");
  }
  async delete() {
    throw unavailable("'delete' on 'CacheStorage'");
  }
  async keys() {
    throw unavailable("'keys' on 'CacheStorage'");
  }
}

function make(name) {
  construct = true;
  try {
    return new Cache(name);
  } finally {
    construct = false;
  }
}

for (const constructor of [Cache, CacheStorage]) {
  ObjectDefineProperties(constructor.prototype, {
    [SymbolToStringTag]: { __proto__: null, value: constructor.name, configurable: true },
  });
}

construct = true;
const caches = new CacheStorage();
construct = false;
// As on Workers, an own property.
const { get } = Object.getOwnPropertyDescriptor(CacheStorage.prototype, "default");
Object.defineProperty(caches, "default", { get: () => get.call(caches), enumerable: true, configurable: true });

return { Cache, caches, CacheStorage };
})();
