// Request and Response as Workers have them: the fetch standard's, and `cf`, `webSocket`, `encodeBody`.
(function () {
const { core, primordials } = __bootstrap;
const { ObjectDefineProperty, ReflectConstruct, Symbol, TypeError, JSONParse } = primordials;
const requestModule = core.loadExtScript("ext:deno_fetch/23_request.js");
const responseModule = core.loadExtScript("ext:deno_fetch/23_response.js");

const DenoRequest = requestModule.Request;
const DenoResponse = responseModule.Response;
const _cf = Symbol("cf");
const _cfText = Symbol("cf text");
const _webSocket = Symbol("webSocket");
const _encodeBody = Symbol("encodeBody");

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
  const cf = init?.cf ?? input?.cf;
  if (cf !== undefined) request[_cf] = cf;
  return request;
}, DenoRequest);

const Response = face(function Response(body = null, init = undefined) {
  if (new.target === undefined) throw new TypeError("Class constructor Response cannot be invoked without 'new'");
  if (init !== null && typeof init === "object") {
    const response = ReflectConstruct(DenoResponse, [body, init], new.target);
    if (init.webSocket) response[_webSocket] = init.webSocket;
    if (init.encodeBody !== undefined) response[_encodeBody] = init.encodeBody;
    if (init.cf !== undefined) response[_cf] = init.cf;
    return response;
  }
  return ReflectConstruct(DenoResponse, [body, init], new.target);
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

return {
  ...requestModule,
  ...responseModule,
  Request,
  Response,
  DenoResponse,
  /** Where the meta of an incoming request is kept until `cf` is asked for. */
  cfTextKey: _cfText,
  webSocketKey: _webSocket,
  encodeBodyKey: _encodeBody,
};
})();
