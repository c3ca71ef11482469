// Other workers, as bindings: https://developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayPrototypeJoin,
  Error,
  ObjectDefineProperty,
  ObjectPrototypeIsPrototypeOf,
  PromiseReject,
  Proxy,
  ReflectGet,
  ReflectHas,
  SafeWeakMap,
  StringPrototypeToLowerCase,
  SymbolToStringTag,
  TypeError,
  ArrayPrototypeFilter,
} = primordials;
const events = core.loadExtScript("ext:selvedge/events.js");
const { send } = core.loadExtScript("ext:deno_fetch/26_fetch.js");
const { Request, RequestPrototype, redirectStatus, toInnerRequest, toInnerResponse } = core
  .loadExtScript("ext:selvedge/http.js");

/** As the fetch standard has it. */
const REDIRECTS_MAX = 20;

/** What a stub leads to: `{ fetch, rpc }` targets of the host door, and props for entrypoints of this worker. */
const leads = new SafeWeakMap();

const _illegal = { __proto__: null };

class ServiceStub {
  constructor(key, lead) {
    if (key !== _illegal) throw new TypeError("Illegal constructor");
    leads.set(this, lead);
  }
  fetch(input, init = undefined) {
    const lead = leadOf(this);
    let request;
    try {
      request = ObjectPrototypeIsPrototypeOf(RequestPrototype, input) && init === undefined
        ? input
        : new Request(input, init);
    } catch (error) {
      return PromiseReject(error);
    }
    return fetchFrom(lead, request);
  }
  connect(_address, _options = undefined) {
    leadOf(this);
    throw new Error("Incoming CONNECT on a worker not supported: a service binding answers fetch() and RPC calls.");
  }
}
ObjectDefineProperty(ServiceStub.prototype, SymbolToStringTag, { __proto__: null, value: "ServiceStub", configurable: true });

/** What `ctx.exports` holds: called with `{ props }` it gives a stub whose entrypoint finds them as `ctx.props`. */
class LoopbackServiceStub extends ServiceStub {}
ObjectDefineProperty(LoopbackServiceStub.prototype, SymbolToStringTag, {
  __proto__: null,
  value: "LoopbackServiceStub",
  configurable: true,
});

function leadOf(stub) {
  const lead = leads.get(stub);
  if (lead === undefined) throw new TypeError("Illegal invocation: function called with incorrect `this` reference.");
  return lead;
}

/** Whoever makes a service do something: the event whose code runs, for the limits. */
function extraOf(lead) {
  const extra = { event: events.current()?.stream };
  if (lead.props !== undefined) extra.props = lead.props;
  return extra;
}

/** What statuses are called: https://www.iana.org/assignments/http-status-codes */
const STATUS_TEXTS = {
  __proto__: null,
  101: "Switching Protocols",
  200: "OK",
  201: "Created",
  202: "Accepted",
  203: "Non-Authoritative Information",
  204: "No Content",
  205: "Reset Content",
  206: "Partial Content",
  207: "Multi-Status",
  208: "Already Reported",
  226: "IM Used",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  305: "Use Proxy",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Payload Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  418: "I'm a teapot",
  421: "Misdirected Request",
  422: "Unprocessable Entity",
  423: "Locked",
  424: "Failed Dependency",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  506: "Variant Also Negotiates",
  507: "Insufficient Storage",
  508: "Loop Detected",
  510: "Not Extended",
  511: "Network Authentication Required",
};

/** Sends a request to a service once. A status that its worker gave no text has the usual one, as by HTTP/1.1. */
async function ask(lead, request, extra) {
  const response = await send(lead.fetch, request, extra);
  const inner = toInnerResponse(response);
  if (inner.statusMessage === "") inner.statusMessage = STATUS_TEXTS[inner.status] ?? "";
  return response;
}

/** Sends a request to a service, and follows its redirects (to the same service) if the request says so. */
async function fetchFrom(lead, request) {
  const inner = toInnerRequest(request);
  if (inner.redirectMode === "manual") return await ask(lead, request, extraOf(lead));
  const mode = inner.redirectMode;
  const { signal, cf } = request;
  const urls = [inner.url()];
  // Bytes can be sent again; a stream cannot.
  const source = inner.body?.streamOrStatic;
  const bytes = source !== undefined && source.consumed === false ? source.body : undefined;
  let method = inner.method;
  let headers = inner.headerList;
  let body = bytes;
  for (let redirects = 0;; redirects++) {
    const response = await ask(lead, request, { ...extraOf(lead), redirect: "manual" });
    const location = redirectStatus(response.status) ? response.headers.get("location") : null;
    if (location === null) {
      toInnerResponse(response).urlList = urls;
      return response;
    }
    if (mode === "error") throw new TypeError(`Failed to fetch: the service redirects to ${location}, and redirect is "error".`);
    if (redirects === REDIRECTS_MAX) throw new TypeError("Too many redirects.");
    if (response.body !== null) await response.body.cancel();
    const { status } = response;
    if ((status === 303 && method !== "GET" && method !== "HEAD") || ((status === 301 || status === 302) && method === "POST")) {
      method = "GET";
      body = undefined;
      headers = ArrayPrototypeFilter(headers, (header) => !isOfBody(header[0]));
    } else if (inner.body !== null && body === undefined) {
      throw new TypeError("A request with a one-time-use body (it was initialized from a stream, not a buffer) encountered a redirect requiring the body to be retransmitted.");
    }
    const url = new (core.loadExtScript("ext:deno_web/00_url.js").URL)(location, urls[urls.length - 1]).href;
    urls.push(url);
    request = new Request(url, { method, headers, body, redirect: "manual", signal, cf });
  }
}

function isOfBody(name) {
  const lower = StringPrototypeToLowerCase(name);
  return lower === "content-encoding" || lower === "content-language" || lower === "content-location" ||
    lower === "content-type" || lower === "content-length";
}

/** Reaches an entrypoint of a worker: each call is an event of its own. */
class ServiceHook {
  constructor(lead) {
    this.lead = lead;
  }
  #ask(path, args, get) {
    const { call } = core.loadExtScript("ext:selvedge/rpc_session.js");
    const meta = { ...extraOf(this.lead), method: ArrayPrototypeJoin(path, ".") };
    return call(this.lead.rpc, meta, path, args, get, events.current());
  }
  async call(path, args) {
    if (path.length === 1 && path[0] === "fetch") {
      const [input, init] = args;
      return await fetchFrom(this.lead, new Request(input, init));
    }
    return await this.#ask(path, args, false);
  }
  async get(path) {
    return await this.#ask(path, [], true);
  }
  dup() {
    return this;
  }
  dispose() {}
}

function handlerFor(lead) {
  return {
    __proto__: null,
    get(target, property, receiver) {
      if (typeof property === "symbol" || property === "then" || ReflectHas(this.stub ?? target, property)) {
        return ReflectGet(this.stub ?? target, property, receiver);
      }
      const { makeProperty } = core.loadExtScript("ext:selvedge/rpc_stub.js");
      return makeProperty(new ServiceHook(lead), [property]);
    },
  };
}

/** A stub whose properties are the methods of what it leads to. */
function proxied(stub, lead) {
  const proxy = new Proxy(stub, handlerFor(lead));
  leads.set(proxy, lead);
  return proxy;
}

/** @param {string} target `service:NAME` */
function serviceBinding(target) {
  const lead = { fetch: target, rpc: "rpc:" + target.slice("service:".length), props: undefined };
  return proxied(new ServiceStub(_illegal, lead), lead);
}

/** An entrypoint of this worker. */
function loopback(name) {
  const entrypoint = name === "default" ? "" : name;
  const leadWith = (props) => ({ fetch: `self:${entrypoint}`, rpc: `selfrpc:${entrypoint}`, props });
  const lead = leadWith(undefined);
  const stub = new LoopbackServiceStub(_illegal, lead);
  const target = () => {};
  delete target.name;
  delete target.length;
  const handler = handlerFor(lead);
  handler.stub = stub;
  handler.getPrototypeOf = () => LoopbackServiceStub.prototype;
  handler.apply = (_target, _receiver, args) => {
    const given = leadWith(args[0]?.props);
    return proxied(new ServiceStub(_illegal, given), given);
  };
  const proxy = new Proxy(target, handler);
  leads.set(proxy, lead);
  return proxy;
}

/** What is sent when a binding is an argument of a call: something that leads where it does. */
function hookOfService(value) {
  const lead = typeof value === "object" || typeof value === "function" ? leads.get(value) : undefined;
  return lead === undefined ? undefined : new ServiceHook(lead);
}

return { fetchFrom, hookOfService, loopback, serviceBinding, ServiceStub };
})();
