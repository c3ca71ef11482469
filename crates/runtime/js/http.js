// Request and Response as Workers have them: the fetch standard's, and `cf`, `webSocket`, `encodeBody`.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayBufferIsView,
  FunctionPrototypeCall,
  JSONParse,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  ObjectPrototypeIsPrototypeOf,
  ObjectSetPrototypeOf,
  RangeError,
  ReflectApply,
  ReflectConstruct,
  StringPrototypeToUpperCase,
  Symbol,
  SymbolToStringTag,
  TypeError,
} = primordials;
const { knownLengthOf } = core.loadExtScript("ext:selvedge/door.js");
const requestModule = core.loadExtScript("ext:deno_fetch/23_request.js");
const responseModule = core.loadExtScript("ext:deno_fetch/23_response.js");

const DenoRequest = requestModule.Request;
const DenoResponse = responseModule.Response;
const _cf = Symbol("cf");
const _cfText = Symbol("cf text");
const _webSocket = Symbol("webSocket");
const _encodeBody = Symbol("encodeBody");
const _fetcher = Symbol("fetcher");

/** Makes `Constructor` the public face of `Native`: same prototype, same statics. */
function face(Constructor, Native) {
  for (const name of ["error", "redirect", "json"]) {
    if (Native[name] !== undefined) {
      ObjectDefineProperty(Constructor, name, {
        __proto__: null,
        value: Native[name],
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
  }
  ObjectDefineProperty(Constructor, "prototype", {
    __proto__: null,
    value: Native.prototype,
    writable: false,
    enumerable: false,
    configurable: false,
  });
  ObjectDefineProperty(Native.prototype, "constructor", {
    __proto__: null,
    value: Constructor,
    writable: true,
    enumerable: false,
    configurable: true,
  });
  return Constructor;
}

const Request = face(function Request(input, init = undefined) {
  if (new.target === undefined) throw new TypeError("Class constructor Request cannot be invoked without 'new'");
  const request = ReflectConstruct(DenoRequest, [input, init], new.target);
  // The standard leaves a method that browsers had never heard of, such as "patch", as it is written; Workers do not.
  if (init?.method !== undefined) {
    const inner = requestModule.toInnerRequest(request);
    inner.method = StringPrototypeToUpperCase(inner.method);
  }
  const cf = init?.cf ?? input?.cf;
  if (cf !== undefined) request[_cf] = cf;
  const fetcher = init?.fetcher ?? input?.fetcher;
  if (fetcher !== undefined && fetcher !== null) request[_fetcher] = fetcher;
  if (init?.body !== undefined) tellLength(requestModule.toInnerRequest(request), init.body);
  return request;
}, DenoRequest);

/** A stream that knows its length tells the body that it becomes. */
function tellLength(inner, source) {
  if (source === null || typeof source !== "object") return;
  const length = knownLengthOf(source);
  if (length !== undefined && inner.body !== null) inner.body.length = length;
}

/** As on Workers, a body of nothing is none where a status allows none. */
function isEmpty(body) {
  if (body === "") return true;
  return body !== null && typeof body === "object" && (ArrayBufferIsView(body) || core.isAnyArrayBuffer(body)) &&
    body.byteLength === 0;
}

const Response = face(function Response(body = null, init = undefined) {
  if (new.target === undefined) throw new TypeError("Class constructor Response cannot be invoked without 'new'");
  if (isEmpty(body) && responseModule.nullBodyStatus(init?.status)) body = null;
  const response = ReflectConstruct(DenoResponse, [body, init], new.target);
  if (body !== null && typeof body === "object") tellLength(responseModule.getInnerResponse(response), body);
  if (init !== null && typeof init === "object") {
    const { cf, encodeBody, webSocket } = init;
    if (webSocket !== undefined && webSocket !== null) {
      if (response.status !== 101) throw new RangeError("Responses with a WebSocket must have status code 101.");
      core.loadExtScript("ext:selvedge/websocket.js").assertWebSocket(webSocket);
      response[_webSocket] = webSocket;
    }
    if (encodeBody !== undefined) {
      if (encodeBody !== "automatic" && encodeBody !== "manual") {
        throw new TypeError(`encodeBody: unexpected value: ${encodeBody}`);
      }
      response[_encodeBody] = encodeBody;
    }
    if (cf !== undefined) response[_cf] = cf;
  }
  return response;
}, DenoResponse);

function getter(prototype, name, get) {
  ObjectDefineProperty(prototype, name, { __proto__: null, get, enumerable: true, configurable: true });
}

getter(DenoRequest.prototype, "cf", function cf() {
  if (this[_cf] === undefined && this[_cfText] !== undefined) {
    this[_cf] = this[_cfText] === "" ? undefined : JSONParse(this[_cfText])?.cf;
  }
  return this[_cf];
});
// Workers' Request has no such members: what they mean in a browser has no meaning at an edge.
for (const name of ["mode", "credentials", "referrer", "referrerPolicy", "destination"]) {
  delete DenoRequest.prototype[name];
}
getter(DenoResponse.prototype, "cf", function cf() {
  return this[_cf];
});
getter(DenoResponse.prototype, "webSocket", function webSocket() {
  return this[_webSocket] ?? null;
});

getter(DenoRequest.prototype, "fetcher", function fetcher() {
  return this[_fetcher] ?? null;
});

/** Lets a clone keep what the standard's knows nothing of. */
function keepOnClone(prototype, keys, check) {
  const { value: clone } = ObjectGetOwnPropertyDescriptor(prototype, "clone");
  ObjectDefineProperty(prototype, "clone", {
    __proto__: null,
    value: {
      clone() {
        check?.(this);
        const copy = ReflectApply(clone, this, []);
        for (let i = 0; i < keys.length; i++) {
          if (this[keys[i]] !== undefined) copy[keys[i]] = this[keys[i]];
        }
        return copy;
      },
    }.clone,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}
keepOnClone(DenoRequest.prototype, [_cf, _cfText, _fetcher]);
keepOnClone(DenoResponse.prototype, [_cf, _encodeBody], (response) => {
  if (response[_webSocket] !== undefined) {
    throw new TypeError("Cannot clone a response to a WebSocket handshake.");
  }
});

/** What Request and Response have in common; a global of its own on Workers. */
class Body {
  constructor() {
    throw new TypeError("Illegal constructor");
  }
}
for (const name of ["body", "bodyUsed", "arrayBuffer", "blob", "bytes", "formData", "json", "text"]) {
  const ofRequest = ObjectGetOwnPropertyDescriptor(DenoRequest.prototype, name);
  const ofResponse = ObjectGetOwnPropertyDescriptor(DenoResponse.prototype, name);
  const descriptor = { __proto__: null, enumerable: true, configurable: true };
  const key = ofRequest.get === undefined ? "value" : "get";
  descriptor[key] = function () {
    const of = ObjectPrototypeIsPrototypeOf(DenoResponse.prototype, this) ? ofResponse : ofRequest;
    return FunctionPrototypeCall(of[key], this);
  };
  if (key === "value") descriptor.writable = true;
  ObjectDefineProperty(Body.prototype, name, descriptor);
}
ObjectDefineProperty(Body.prototype, SymbolToStringTag, { __proto__: null, value: "Body", configurable: true });
ObjectSetPrototypeOf(DenoRequest.prototype, Body.prototype);
ObjectSetPrototypeOf(DenoResponse.prototype, Body.prototype);

return {
  ...requestModule,
  ...responseModule,
  Body,
  Request,
  Response,
  DenoResponse,
  /** Where the meta of an incoming request is kept until `cf` is asked for. */
  cfTextKey: _cfText,
  webSocketKey: _webSocket,
  encodeBodyKey: _encodeBody,
  fetcherKey: _fetcher,
};
})();
