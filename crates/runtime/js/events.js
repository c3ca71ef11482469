// The handler model: an event comes in by the host door, the worker's handler runs, the answer goes out.
(function () {
const { core, primordials } = __bootstrap;
const {
  op_event_done,
  op_event_fail,
  op_respond_bytes,
  op_respond_start,
  op_respond_text,
  op_stream_reset,
} = core.ops;
const {
  ArrayPrototypePush,
  Error,
  FunctionPrototypeCall,
  JSONParse,
  JSONStringify,
  MapPrototypeForEach,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototypeThen,
  PromiseResolve,
  SafeMap,
  String,
  StringPrototypeIncludes,
  StringPrototypeSlice,
  StringPrototypeToLowerCase,
  Symbol,
  SymbolToStringTag,
  TypeError,
} = primordials;
const { formatHeaders, innerBodyOf, lengthIn, parseHeaders, pump, setKnownLength, withLength } = core.loadExtScript("ext:selvedge/door.js");
const http = core.loadExtScript("ext:selvedge/http.js");
const {
  abortRequest,
  cfTextKey,
  fromInnerRequest,
  responseBodyUsed,
  ResponsePrototype,
  serveFastBodyKey,
  serveFastConsumedKey,
  serveFastContentTypeKey,
  serveFastHeaderKindKey,
  SERVE_FAST_HEADER_DEFAULT_TEXT,
  SERVE_FAST_HEADER_NONE,
  toInnerResponse,
  webSocketKey,
  wireHeaderList,
  encodeBodyKey,
} = http;
const { WorkerEntrypoint } = core.loadExtScript("ext:selvedge/workers.js");
const { ReadableStreamPrototype } = core.loadExtScript("ext:deno_web/06_streams.js");
const { env, fill } = core.loadExtScript("ext:selvedge/env.js");
const { getAsyncContext, setAsyncContext } = core;

/** Events whose work is not over, by stream. */
const live = new SafeMap();

/** The worker's exports, or what `addEventListener` registered. */
let worker = { exports: { __proto__: null }, listeners: { __proto__: null }, loaded: false };

/** Under this key the asynchronous context has the event. `AsyncLocalStorage` copies the context's own properties when
 * it adds a store, so the event stays known inside. */
const eventKey = Symbol("event");

/** One event: what its handler is given as `ctx`, and what the host is owed. */
class Invocation {
  constructor(stream, request) {
    this[eventKey] = this;
    this.stream = stream;
    this.request = request;
    this.responded = false;
    /** The client's WebSocket messages, where it asks for a WebSocket. */
    this.bodyRid = undefined;
    /** Stops the response's body. */
    this.cancelBody = undefined;
    /** The body of the response is on its way. */
    this.streaming = false;
    this.cancelled = false;
    this.passThrough = false;
    this.waiting = 0;
    /** Something that the event waited for failed. */
    this.failed = false;
    /** Answers an event whose answer tells how all of its work ended, once its handler is through. */
    this.conclude = undefined;
  }

  /** Holds the event open until `promise` settles. */
  waitUntil(promise) {
    this.waiting++;
    const settled = () => {
      this.waiting--;
      this.settle();
    };
    PromisePrototypeThen(PromiseResolve(promise), settled, (error) => {
      this.failed = true;
      reportException(this.stream, error, "waitUntil");
      settled();
    });
  }

  /** Tells the host when nothing is left to do. */
  settle() {
    if (this.waiting !== 0) return;
    if (!this.responded) {
      this.conclude?.();
    } else if (leave(this)) {
      if (this.bodyRid !== undefined) core.tryClose(this.bodyRid);
      op_event_done(this.stream);
    }
  }

  fail(report) {
    if (this.responded) return;
    this.responded = true;
    report.passThrough = this.passThrough;
    op_event_fail(this.stream, JSONStringify(report));
    this.settle();
  }
}

/** An event's work is over; what it holds of other workers goes with it. */
function leave(invocation) {
  if (!live.delete(invocation.stream)) return false;
  invocation.sessions?.end();
  return true;
}

/** https://developers.cloudflare.com/workers/runtime-apis/context/ */
class ExecutionContext {
  #invocation;
  #meta;
  #props;
  constructor(invocation, meta) {
    this.#invocation = invocation;
    this.#meta = meta;
  }
  get props() {
    return this.#props ??= propsOf(this.#meta) ?? {};
  }
  /** The invocation, of a receiver that has one: `ctx.waitUntil` may have been taken off its object. */
  static #of(ctx) {
    if (ctx === null || typeof ctx !== "object" || !(#invocation in ctx)) {
      throw new TypeError("Illegal invocation: function called with incorrect `this` reference.");
    }
    return ctx.#invocation;
  }
  waitUntil(promise) {
    ExecutionContext.#of(this).waitUntil(promise);
  }
  passThroughOnException() {
    ExecutionContext.#of(this).passThrough = true;
  }
  /** This worker's own entrypoints, as service bindings. */
  get exports() {
    return loopbacks();
  }
  get tracing() {
    return core.loadExtScript("ext:selvedge/tracing.js").tracing;
  }
  /** Ends the event with an exception. */
  abort(reason) {
    this.#invocation.fail(exceptionReport(reason ?? new Error("The execution context was aborted.")));
  }
  get [SymbolToStringTag]() {
    return "ExecutionContext";
  }
}

function reportException(stream, error, during) {
  core.loadExtScript("ext:selvedge/console.js").logException(stream, exceptionReport(error), during);
}

/** The most of an exception's message and stack that is reported, in UTF-16 units. */
const EXCEPTION_LENGTH_MAX = 16384;

function cut(text) {
  return text.length > EXCEPTION_LENGTH_MAX ? StringPrototypeSlice(text, 0, EXCEPTION_LENGTH_MAX) : text;
}

/** An exception as text, whatever its getters and traps do. */
function errorText(error) {
  try {
    if (error !== null && typeof error === "object") {
      const stack = error.stack;
      if (typeof stack === "string") return cut(stack);
    }
    return cut(String(error));
  } catch {
    return "[an exception that cannot be shown as text]";
  }
}

/** What the host is told of an exception. */
function exceptionReport(error) {
  let name = "Error";
  let message;
  try {
    if (error !== null && typeof error === "object") {
      name = cut(String(error.name ?? "Error"));
      message = cut(String(error.message ?? ""));
    } else {
      message = cut(String(error));
    }
  } catch {
    message = "[an exception that cannot be shown as text]";
  }
  // Without a prototype: a worker may have given all objects a toJSON.
  return { __proto__: null, kind: "exception", name, message, stack: errorText(error) };
}

// === the worker's handlers ===

function isClass(value) {
  return typeof value === "function";
}

/**
 * Finds the function that answers an event.
 * @returns {(argument: any, ctx: ExecutionContext) => any}
 */
function handlerOf(kind, entrypoint, ctx) {
  const name = entrypoint === "" ? "default" : entrypoint;
  const exported = worker.exports[name];
  if (exported === undefined) {
    if (name === "default" && worker.format === "service-worker") {
      throw new TypeError(
        `This worker has no handler for ${kind} events: it is a script without exports and calls no addEventListener("${kind}", ...).`,
      );
    }
    throw new TypeError(
      name === "default"
        ? `This worker has no default export: "export default { ${kind}(...) { ... } }" answers ${kind} events.`
        : `This worker has no export named "${name}".`,
    );
  }
  if (isClass(exported)) {
    const extending = ObjectPrototypeIsPrototypeOf(WorkerEntrypoint.prototype, exported.prototype);
    if (!extending && typeof exported.prototype?.[kind] !== "function") throw new TypeError(notHandlers(kind, name));
    const instance = new exported(ctx, env);
    if (typeof instance[kind] !== "function") throw new TypeError(missing(kind, name));
    return (argument) => instance[kind](argument);
  }
  if (exported === null || typeof exported !== "object" || typeof exported[kind] !== "function") {
    throw new TypeError(missing(kind, name));
  }
  return (argument) => exported[kind](argument, env, ctx);
}

/** An export that is a function, but no class with handlers. */
function notHandlers(kind, name) {
  return `The ${name === "default" ? "default export" : `export "${name}"`} of this worker is a function, which cannot handle ${kind} events: export an object (export default { ${kind}(...) { ... } }) or a class that extends WorkerEntrypoint.`;
}

function missing(kind, name) {
  return `Handler does not export a ${kind}() function: the ${
    name === "default" ? "default export" : `export "${name}"`
  } of this worker has no method "${kind}".`;
}

// === fetch events ===

/**
 * A request that came in, as the inner request of deno_fetch's Request: one shape, nothing parsed before it is asked for.
 */
class IncomingRequest {
  constructor(method, url, headers, body) {
    this.method = method;
    this.body = body;
    this.redirectMode = "manual";
    this.redirectCount = 0;
    this.clientRid = null;
    this.blobUrlEntry = null;
    this.headerBlock = headers;
    this.headers = null;
    this.href = url;
    this.urls = null;
  }
  get headerList() {
    return this.headers ??= parseHeaders(this.headerBlock);
  }
  set headerList(list) {
    this.headers = list;
  }
  get urlList() {
    return this.urls ??= [() => this.href];
  }
  get urlListProcessed() {
    return [this.href];
  }
  url() {
    return this.href;
  }
  currentUrl() {
    return this.href;
  }
}

function dispatchFetch(stream, entrypoint, method, url, meta, headers, body, bodyRid = undefined) {
  const innerBody = innerBodyOf(body);
  if (typeof body === "number") setKnownLength(innerBody, lengthIn(headers));
  const request = fromInnerRequest(new IncomingRequest(method, url, headers, innerBody), "immutable");
  request[cfTextKey] = meta;
  const invocation = new Invocation(stream, request);
  invocation.bodyRid = bodyRid;
  live.set(stream, invocation);
  const previous = getAsyncContext();
  setAsyncContext(invocation);
  try {
    let answer;
    if (worker.listeners.fetch !== undefined) {
      answer = dispatchListener(invocation, request);
    } else {
      const ctx = new ExecutionContext(invocation, meta);
      const exported = worker.exports.default;
      // The common form first: a plain object with a fetch method.
      answer = entrypoint === "" && typeof exported === "object" && exported !== null &&
          typeof exported.fetch === "function"
        ? exported.fetch(request, env, ctx)
        : handlerOf("fetch", entrypoint, ctx)(request);
    }
    if (ObjectPrototypeIsPrototypeOf(ResponsePrototype, answer)) {
      respond(invocation, answer);
    } else {
      PromisePrototypeThen(
        PromiseResolve(answer),
        (response) => respondOrFail(invocation, response),
        (error) => invocation.fail(exceptionReport(error)),
      );
    }
  } catch (error) {
    invocation.fail(exceptionReport(error));
  } finally {
    setAsyncContext(previous);
  }
}

function propsOf(meta) {
  return meta === "" ? undefined : JSONParse(meta).props ?? undefined;
}

function respondOrFail(invocation, response) {
  try {
    respond(invocation, response);
  } catch (error) {
    invocation.fail(exceptionReport(error));
  }
}

function notAResponse(value) {
  const what = value === undefined
    ? "nothing (undefined)"
    : value === null
    ? "null"
    : typeof value === "object"
    ? `an object of class ${value?.constructor?.name ?? "Object"}`
    : `a ${typeof value}`;
  return new TypeError(
    `The fetch handler must return a Response or a promise of one, but it returned ${what}.`,
  );
}

function bodyUsed() {
  return new TypeError(
    "Body has already been used. It can only be used once. Use tee() first if you need to read it twice.",
  );
}

/** Sends a handler's Response to the host. */
function respond(invocation, response) {
  if (!ObjectPrototypeIsPrototypeOf(ResponsePrototype, response)) throw notAResponse(response);
  if (invocation.responded) return;
  const stream = invocation.stream;
  if (responseBodyUsed(response)) throw bodyUsed();
  const fastBody = response[serveFastBodyKey];
  if (fastBody !== null) {
    const kind = response[serveFastHeaderKindKey];
    const head = kind === SERVE_FAST_HEADER_NONE
      ? "200\n\n"
      : kind === SERVE_FAST_HEADER_DEFAULT_TEXT
      ? "200\n\n\ncontent-type\ntext/plain;charset=UTF-8"
      : "200\n\n\ncontent-type\n" + response[serveFastContentTypeKey];
    response[serveFastConsumedKey] = true;
    finish(invocation, head, fastBody);
    return;
  }
  const inner = toInnerResponse(response);
  const webSocket = response[webSocketKey];
  const list = wireHeaderList(inner);
  if (webSocket !== undefined && webSocket !== null) {
    respondWithWebSocket(invocation, headOf(inner, list), webSocket);
    return;
  }
  if (inner.status === 101) {
    throw new TypeError("A Response of status 101 must have a webSocket: new Response(null, { status: 101, webSocket }).");
  }
  if (inner.type === "error") throw new TypeError("Response.error() cannot be sent: it stands for a failed request.");
  if (inner.body === null) {
    finish(invocation, headOf(inner, list), "");
    return;
  }
  if (inner.body.unusable()) throw bodyUsed();
  const source = inner.body.streamOrStatic;
  const coding = codingOf(list);
  if (coding !== undefined) {
    const { outgoing } = core.loadExtScript("ext:selvedge/encoding.js");
    const manual = response[encodeBodyKey] === "manual";
    const body = outgoing(coding, inner.body, manual, StringPrototypeIncludes(invocation.request[cfTextKey], '"internal":true'));
    if (body !== null) return respondWithBody(invocation, inner, list, body, null);
  }
  respondWithBody(invocation, inner, list, source, inner.body.length);
}

/**
 * @param {ReadableStream | { body: string | Uint8Array, consumed: boolean }} source
 * @param {number | null} length bytes, where it is known
 */
function respondWithBody(invocation, inner, list, source, length) {
  if (!ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, source)) {
    source.consumed = true;
    finish(invocation, headOf(inner, list), source.body);
    return;
  }
  const { stream } = invocation;
  // A body's stream knows better than a header how long it is.
  const head = headOf(inner, withLength(list, length));
  invocation.responded = true;
  invocation.streaming = true;
  op_respond_start(stream, head);
  const pumped = pump(stream, source, (cancel) => {
    invocation.cancelBody = cancel;
  });
  invocation.waitUntil(PromisePrototypeThen(pumped, () => {
    invocation.streaming = false;
  }, (error) => {
    invocation.streaming = false;
    if (!invocation.cancelled) reportException(stream, error, "response body");
  }));
}

function headOf(inner, list) {
  return inner.status + "\n" + inner.statusMessage + "\n" + formatHeaders(list);
}

/** How a response's headers say that its body is coded, where that is a coding that is applied here. */
function codingOf(list) {
  for (let i = 0; i < list.length; i++) {
    const name = list[i][0];
    if (name.length === 16 && StringPrototypeToLowerCase(name) === "content-encoding") {
      const coding = StringPrototypeToLowerCase(list[i][1]);
      return coding === "gzip" || coding === "br" ? coding : undefined;
    }
  }
  return undefined;
}

/** Answers with a whole body and, where nothing else is left to do, ends the event in the same frame. */
function finish(invocation, head, body) {
  invocation.responded = true;
  const done = invocation.waiting === 0 && leave(invocation);
  if (typeof body === "string") op_respond_text(invocation.stream, head, body, done);
  else op_respond_bytes(invocation.stream, head, body, done);
}

function respondWithWebSocket(invocation, head, webSocket) {
  if (invocation.bodyRid === undefined) {
    throw new TypeError(
      'Worker tried to return WebSocket in a response to a request which did not contain the header "Upgrade: websocket".',
    );
  }
  const { assertGivable, serve } = core.loadExtScript("ext:selvedge/websocket.js");
  assertGivable(webSocket);
  invocation.responded = true;
  op_respond_start(invocation.stream, head);
  invocation.waitUntil(serve(webSocket, invocation.stream, invocation.bodyRid));
}

// === service-worker form ===

function dispatchListener(invocation, request) {
  let answer;
  const event = new (fetchEventClass())(request, {
    respondWith(promise) {
      if (answer !== undefined) throw new TypeError("FetchEvent.respondWith() has already been called; it can only be called once.");
      answer = promise;
    },
    waitUntil: (promise) => invocation.waitUntil(promise),
    passThroughOnException: () => {
      invocation.passThrough = true;
    },
  });
  const listeners = worker.listeners.fetch;
  for (let i = 0; i < listeners.length; i++) {
    const listener = listeners[i];
    if (typeof listener === "function") FunctionPrototypeCall(listener, globalThis, event);
    else listener.handleEvent(event);
  }
  if (answer === undefined) {
    throw new TypeError("The fetch listener did not call event.respondWith(): there is no response to send.");
  }
  return answer;
}

let FetchEventClass;
function fetchEventClass() {
  FetchEventClass ??= core.loadExtScript("ext:selvedge/globals.js").FetchEvent;
  return FetchEventClass;
}

// === the host's handles ===

/**
 * An event. `target` is its kind and, after a colon, the entrypoint.
 * @param {number} stream
 * @param {string} target
 * @param {string} method
 * @param {string} url
 * @param {string} meta JSON
 * @param {string} headers names and values, a line each
 * @param {undefined | Uint8Array | number} body
 * @param {undefined | number} rest what the messages after the first come by, for RPC
 */
function dispatch(stream, target, method, url, meta, headers, body, rest) {
  if (target === "fetch") return dispatchFetch(stream, "", method, url, meta, headers, body);
  const colon = target.indexOf(":");
  const kind = colon === -1 ? target : target.slice(0, colon);
  const entrypoint = colon === -1 ? "" : target.slice(colon + 1);
  switch (kind) {
    case "fetch":
      return dispatchFetch(stream, entrypoint, method, url, meta, headers, body);
    case "websocket":
      return dispatchFetch(stream, entrypoint, method, url, meta, headers, undefined, body);
    case "scheduled":
      return core.loadExtScript("ext:selvedge/triggers.js").dispatchScheduled(stream, entrypoint, meta);
    case "tail":
      return core.loadExtScript("ext:selvedge/triggers.js").dispatchTail(stream, entrypoint, body);
    case "rpc":
      return core.loadExtScript("ext:selvedge/rpc.js").dispatchRpc(stream, entrypoint, meta, body, rest);
    default:
      op_event_fail(stream, JSONStringify({ kind: "exception", name: "Error", message: `unknown event "${kind}"` }));
      op_event_done(stream);
  }
}

/**
 * The client of an event went away.
 * @param {boolean} expired its time after that is over too: whatever it left to `waitUntil` is not waited for
 */
function cancel(stream, expired) {
  const invocation = live.get(stream);
  if (invocation === undefined) return;
  invocation.cancelled = true;
  const previous = getAsyncContext();
  setAsyncContext(invocation);
  if (invocation.request !== null) abortRequest(invocation.request);
  invocation.cancelBody?.();
  setAsyncContext(previous);
  const answered = invocation.responded;
  invocation.responded = true;
  if (expired) invocation.waiting = 0;
  if (expired || !answered) invocation.settle();
}

/** Nothing is pending in this isolate, yet events have no answer: they never will. */
function hung() {
  const waiting = [];
  MapPrototypeForEach(live, (invocation) => ArrayPrototypePush(waiting, invocation));
  for (let i = 0; i < waiting.length; i++) {
    const invocation = waiting[i];
    if (!invocation.responded && invocation.conclude !== undefined) {
      // Its handler is through: only `waitUntil` waits in vain.
      invocation.waiting = 0;
      invocation.settle();
      continue;
    }
    if (!invocation.responded) {
      invocation.fail({
        __proto__: null,
        kind: "hung",
        name: "Error",
        message:
          "The worker's code hung: the response is a promise that nothing can settle any more (no timer, request or stream is pending).",
      });
    }
    if (invocation.waiting > 0) {
      // A body that nothing will continue must not look as if it had ended.
      if (invocation.streaming) {
        op_stream_reset(invocation.stream, false, "the worker's code hung: nothing can continue what it sends");
      }
      invocation.waiting = 0;
      invocation.settle();
    }
  }
}

/**
 * The worker is loaded.
 * @param {object | undefined} namespace the main module's exports; none in the service-worker form
 */
function start(namespace) {
  if (namespace !== undefined) worker.exports = namespace;
  else worker.format = "service-worker";
  worker.loaded = true;
}

/** Undoes `start`: after the rehearsal that the snapshot is made with. */
function forget() {
  worker = { exports: { __proto__: null }, listeners: { __proto__: null }, loaded: false };
  live.clear();
}

/** The worker's compatibility date and flags: a line each. */
let compatibility = "";

/**
 * Before the worker's code is evaluated.
 * @returns {string | undefined} why the worker cannot start, as JSON
 */
function prepare(bindings, serviceWorker, compatibilityText) {
  compatibility = compatibilityText;
  core.setHandledPromiseRejectionHandler(core.loadExtScript("ext:selvedge/globals.js").rejectionHandled);
  try {
    fill(JSONParse(bindings));
  } catch (error) {
    return JSONStringify(exceptionReport(error));
  }
  if (serviceWorker) {
    // In the service-worker form bindings are globals.
    for (const name of Object.keys(env)) globalThis[name] = env[name];
  }
}

/** `addEventListener` of the service-worker form. */
function listen(type, listener) {
  if (worker.loaded) return;
  (worker.listeners[type] ??= []).push(listener);
}

/** An export, for those who call it. */
function exported(name) {
  return worker.exports[name];
}

let ownStubs;

/** Stubs of what this worker exports that other workers could be bound to. */
function loopbacks() {
  if (!worker.loaded) return {};
  if (ownStubs !== undefined) return ownStubs;
  ownStubs = {};
  const { loopback } = core.loadExtScript("ext:selvedge/service.js");
  for (const name of Object.keys(worker.exports)) {
    const value = worker.exports[name];
    const callable = isClass(value)
      ? ObjectPrototypeIsPrototypeOf(WorkerEntrypoint.prototype, value.prototype)
      : typeof value === "object" && value !== null;
    if (callable) ownStubs[name] = loopback(name);
  }
  return ownStubs;
}

/** The event whose code is running. */
function current() {
  return getAsyncContext()?.[eventKey];
}

function waitUntil(promise) {
  const invocation = current();
  if (invocation === undefined) throw new Error("waitUntil() can only be called while an event is handled.");
  invocation.waitUntil(promise);
}

/** What of the worker can answer events, as JSON: for the host to say what it deployed. */
function handlers() {
  const listeners = worker.format === "service-worker" ? worker.listeners : undefined;
  return core.loadExtScript("ext:selvedge/exports.js").describe(worker.exports, listeners);
}

/** What `addEventListener` registered for a kind of event. */
function listeners(kind) {
  return worker.listeners[kind];
}

/** Whether an entrypoint has a handler for a kind of event. */
function handles(kind, entrypoint) {
  const exported = worker.exports[entrypoint === "" ? "default" : entrypoint];
  return typeof (isClass(exported) ? exported.prototype?.[kind] : exported?.[kind]) === "function";
}

return {
  cancel,
  codingOf,
  compatibility: () => compatibility,
  current,
  dispatch,
  errorText,
  exceptionReport,
  ExecutionContext,
  exported,
  finish,
  forget,
  handlerOf,
  handlers,
  handles,
  hung,
  Invocation,
  listen,
  listeners,
  live,
  loopbacks,
  prepare,
  start,
  waitUntil,
};
})();
