// The global scope of a worker. What most workers touch is evaluated in the snapshot; the rest on first use, because
// every evaluated script costs memory in every isolate.
(function () {
const { core, primordials } = __bootstrap;
const {
  EvalError,
  ObjectDefineProperty,
  ObjectGetOwnPropertySymbols,
  ObjectSetPrototypeOf,
  Promise,
  PromisePrototypeCatch,
  PromisePrototypeThen,
  SafeSet,
  String,
  SymbolPrototypeGetDescription,
  SymbolToStringTag,
  TypeError,
} = primordials;

const webidl = core.loadExtScript("ext:deno_webidl/00_webidl.js");
const event = core.loadExtScript("ext:deno_web/02_event.js");
const timers = core.loadExtScript("ext:deno_web/02_timers.js");
const { clearTimeout, setTimeout } = timers;
const url = core.loadExtScript("ext:deno_web/00_url.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const abortSignal = core.loadExtScript("ext:deno_web/03_abort_signal.js");
const http = core.loadExtScript("ext:selvedge/http.js");
const headers = core.loadExtScript("ext:deno_fetch/20_headers.js");
const streams = core.loadExtScript("ext:deno_web/06_streams.js");
const clock = core.loadExtScript("ext:selvedge/clock.js");
const events = core.loadExtScript("ext:selvedge/events.js");
const { logRecord, makeConsole } = core.loadExtScript("ext:selvedge/console.js");

const { ExtendableEvent, FetchEvent, ScheduledController, ScheduledEvent, TailEvent, TraceEvent } = eventClasses();

function eventClasses() {
  class ExtendableEvent extends event.Event {
    #waitUntil;
    constructor(type, waitUntil) {
      super(type);
      this.#waitUntil = waitUntil;
    }
    waitUntil(promise) {
      if (this === null || typeof this !== "object" || !(#waitUntil in this)) {
        throw new TypeError("Illegal invocation: function called with incorrect `this` reference.");
      }
      this.#waitUntil(promise);
    }
  }
  class FetchEvent extends ExtendableEvent {
    #request;
    #host;
    constructor(request, host) {
      super("fetch", host.waitUntil);
      this.#request = request;
      this.#host = host;
    }
    get request() {
      return this.#request;
    }
    respondWith(promise) {
      this.#host.respondWith(promise);
    }
    passThroughOnException() {
      this.#host.passThroughOnException();
    }
  }
  class ScheduledController {
    constructor(cron, scheduledTime, noRetry) {
      this.cron = cron;
      this.scheduledTime = scheduledTime;
      this.type = "scheduled";
      ObjectDefineProperty(this, "noRetry", { __proto__: null, value: noRetry, enumerable: false });
    }
  }
  class ScheduledEvent extends ExtendableEvent {
    #controller;
    constructor(controller, waitUntil) {
      super("scheduled", waitUntil);
      this.#controller = controller;
    }
    get cron() {
      return this.#controller.cron;
    }
    get scheduledTime() {
      return this.#controller.scheduledTime;
    }
    noRetry() {
      this.#controller.noRetry();
    }
  }
  /** What other workers did: https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/ */
  class TailEvent extends ExtendableEvent {
    #traces;
    constructor(type, traces, waitUntil) {
      if (typeof waitUntil !== "function") throw new TypeError("Illegal constructor");
      super(type, waitUntil);
      this.#traces = traces;
    }
    get events() {
      return this.#traces;
    }
    get traces() {
      return this.#traces;
    }
  }
  class TraceEvent extends TailEvent {}
  const classes = { ExtendableEvent, FetchEvent, ScheduledEvent, TailEvent, TraceEvent };
  for (const name in classes) tag(classes[name].prototype, name);
  return { ...classes, ScheduledController };
}

function tag(prototype, name) {
  ObjectDefineProperty(prototype, SymbolToStringTag, { __proto__: null, value: name, configurable: true });
}

// === exceptions that nothing caught ===

/** What no code can catch any more, under the event that it belongs to as far as that can be told. */
function exceptionUncaught(error) {
  const previous = core.getAsyncContext();
  if (events.current() === undefined && events.live.size === 1) {
    core.setAsyncContext(events.live.values().next().value);
  }
  try {
    event.reportException(error);
  } finally {
    core.setAsyncContext(previous);
  }
}

/** https://html.spec.whatwg.org/#unhandled-promise-rejections; what no listener prevents is logged. */
function rejectionUnhandled(promise, reason) {
  const { PromiseRejectionEvent } = event;
  const notice = new PromiseRejectionEvent("unhandledrejection", { cancelable: true, promise, reason });
  globalThis.dispatchEvent(notice);
  if (!notice.defaultPrevented) {
    const text = "Uncaught (in promise) " + events.errorText(reason);
    logRecord(events.current()?.stream ?? 0, "error", text, ',"during":"uncaught"');
  }
  // Nothing is left to do for the host, and the isolate goes on.
  return true;
}

function rejectionHandled(promise, reason) {
  const { PromiseRejectionEvent } = event;
  globalThis.dispatchEvent(new PromiseRejectionEvent("rejectionhandled", { promise, reason }));
}

// === lazily evaluated globals ===

const _streams = "ext:deno_web/06_streams.js";
const _encoding = "ext:deno_web/08_text_encoding.js";
const _file = "ext:deno_web/09_file.js";
const _compression = "ext:deno_web/14_compression.js";
const _message = "ext:deno_web/13_message_port.js";
const _performance = "ext:selvedge/performance.js";
const _crypto = "ext:selvedge/crypto.js";
const _fetch = "ext:deno_fetch/26_fetch.js";
const _cache = "ext:selvedge/cache.js";
const _ownStreams = "ext:selvedge/streams.js";
const _webSocket = "ext:selvedge/websocket.js";
const _nodeTimers = "ext:deno_node/timers.ts";

/** name → the script that has it, under the same name */
const LAZY = {
  __proto__: null,
  TextDecoder: _encoding,
  TextEncoder: _encoding,
  TextDecoderStream: _encoding,
  TextEncoderStream: _encoding,
  Blob: _file,
  File: _file,
  CompressionStream: _compression,
  DecompressionStream: _compression,
  FormData: "ext:deno_fetch/21_formdata.js",
  EventSource: "ext:selvedge/eventsource.js",
  HTMLRewriter: "ext:selvedge/html_rewriter.js",
  URLPattern: "ext:deno_web/01_urlpattern.js",
  MessageChannel: _message,
  MessagePort: _message,
  structuredClone: _message,
  Performance: _performance,
  PerformanceEntry: _performance,
  PerformanceMark: _performance,
  PerformanceMeasure: _performance,
  PerformanceObserver: _performance,
  PerformanceObserverEntryList: _performance,
  PerformanceResourceTiming: _performance,
  performance: _performance,
  Crypto: _crypto,
  CryptoKey: _crypto,
  SubtleCrypto: _crypto,
  crypto: _crypto,
  Cache: _cache,
  CacheStorage: _cache,
  caches: _cache,
  FixedLengthStream: _ownStreams,
  IdentityTransformStream: _ownStreams,
  WebSocket: _webSocket,
  WebSocketPair: _webSocket,
  WebSocketRequestResponsePair: _webSocket,
  atob: "ext:deno_web/05_base64.js",
  btoa: "ext:deno_web/05_base64.js",
  Buffer: "ext:deno_node/internal/buffer.mjs",
  clearImmediate: _nodeTimers,
  process: "ext:selvedge_node/process.js",
  setImmediate: _nodeTimers,
};

function lazy(scope, name, specifier, enumerable = false) {
  ObjectDefineProperty(scope, name, {
    __proto__: null,
    get() {
      const value = core.loadExtScript(specifier)[name];
      define(scope, name, value, enumerable);
      return value;
    },
    set(value) {
      // Inherited or not, an assignment makes an own property.
      define(this ?? globalThis, name, value, enumerable);
    },
    enumerable,
    configurable: true,
  });
}

function define(scope, name, value, enumerable = false) {
  ObjectDefineProperty(scope, name, { __proto__: null, value, writable: true, enumerable, configurable: true });
}

// === eager globals ===

const EAGER = {
  __proto__: null,
  AbortController: abortSignal.AbortController,
  AbortSignal: abortSignal.AbortSignal,
  CloseEvent: event.CloseEvent,
  CustomEvent: event.CustomEvent,
  DOMException,
  ErrorEvent: event.ErrorEvent,
  Event: event.Event,
  ExtendableEvent,
  FetchEvent,
  Headers: headers.Headers,
  MessageEvent: event.MessageEvent,
  PromiseRejectionEvent: event.PromiseRejectionEvent,
  Body: http.Body,
  Request: http.Request,
  Response: http.Response,
  ScheduledEvent,
  TailEvent,
  TraceEvent,
  URL: url.URL,
  URLSearchParams: url.URLSearchParams,
};

const STREAM_CLASSES = [
  "ByteLengthQueuingStrategy",
  "CountQueuingStrategy",
  "ReadableByteStreamController",
  "ReadableStream",
  "ReadableStreamBYOBReader",
  "ReadableStreamBYOBRequest",
  "ReadableStreamDefaultController",
  "ReadableStreamDefaultReader",
  "TransformStream",
  "TransformStreamDefaultController",
  "WritableStream",
  "WritableStreamDefaultController",
  "WritableStreamDefaultWriter",
];

class Navigator {
  /** https://w3c.github.io/beacon/: sent while the event lasts, whatever comes of it. */
  sendBeacon(url, data = undefined) {
    const { fetch } = core.loadExtScript(_fetch);
    const sent = PromisePrototypeThen(fetch(url, { method: "POST", body: data }), (response) => response.body?.cancel());
    events.current()?.waitUntil(PromisePrototypeCatch(sent, () => {}));
    return true;
  }
}
tag(Navigator.prototype, "Navigator");

/** What every worker is told of where it runs. */
const NAVIGATOR = {
  __proto__: null,
  userAgent: "Cloudflare-Workers",
  hardwareConcurrency: 1,
  language: "en",
  languages: ["en"],
  platform: "",
};

function makeNavigator() {
  const navigator = new Navigator();
  for (const name in NAVIGATOR) {
    ObjectDefineProperty(navigator, name, { __proto__: null, value: NAVIGATOR[name], enumerable: true, configurable: true });
  }
  return navigator;
}

class Cloudflare {}
tag(Cloudflare.prototype, "Cloudflare");

/** What the worker's compatibility date and flags switch on. */
function makeCloudflare() {
  const cloudflare = new Cloudflare();
  ObjectDefineProperty(cloudflare, "compatibilityFlags", {
    __proto__: null,
    get() {
      return core.loadExtScript("ext:selvedge/compatibility.js").flags();
    },
    enumerable: true,
    configurable: true,
  });
  return cloudflare;
}

/** Members that Workers have and the standards do not, or not yet. */
function extendPlatform() {
  method(headers.Headers.prototype, {
    getAll(name) {
      if (String(name).toLowerCase() !== "set-cookie") {
        throw new TypeError('getAll() can only be used with the header name "Set-Cookie".');
      }
      return this.getSetCookie();
    },
  });
  method(streams.ReadableStreamBYOBReader.prototype, {
    /** What there was before an early end is told of first, and the end by the next read. */
    async readAtLeast(minElements, view) {
      const result = await this.read(view, { min: minElements });
      return result.done && result.value?.byteLength > 0 ? { value: result.value, done: false } : result;
    },
  });
  ObjectDefineProperty(streams.ReadableStreamBYOBRequest.prototype, "atLeast", {
    __proto__: null,
    get() {
      return bytesAtLeast(this);
    },
    enumerable: true,
    configurable: true,
  });
  // deno_web gives each event its tag; on the prototype it is there to be asked for as well.
  for (const name of ["CloseEvent", "CustomEvent", "ErrorEvent", "MessageEvent", "PromiseRejectionEvent"]) {
    tag(event[name].prototype, name);
  }
}

/** How many bytes a BYOB request needs before its read resolves; null once it is answered. */
function bytesAtLeast(request) {
  if (request.view === null) return null;
  const slot = (object, name) => {
    const keys = ObjectGetOwnPropertySymbols(object);
    for (let i = 0; i < keys.length; i++) if (SymbolPrototypeGetDescription(keys[i]) === name) return object[keys[i]];
    return undefined;
  };
  const pending = slot(slot(request, "[[controller]]") ?? {}, "[[pendingPullIntos]]")?.[0];
  return pending === undefined ? 1 : pending.minimumFill - pending.bytesFilled;
}

/** Defines the methods of `members` as those of a class. */
function method(prototype, members) {
  for (const name in members) {
    ObjectDefineProperty(prototype, name, {
      __proto__: null,
      value: members[name],
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
}

/** https://developers.cloudflare.com/workers/runtime-apis/scheduler/ */
class Scheduler {
  get [SymbolToStringTag]() {
    return "Scheduler";
  }
  wait(delay, options = undefined) {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(id);
        reject(signal.reason);
      };
      const id = setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, delay);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}

/** What a worker may not do, said clearly. */
function forbidCodeFromStrings(scope) {
  const refuse = (what) =>
    new EvalError(`Code generation from strings disallowed for this context: ${what} is not available in a worker.`);
  define(scope, "eval", {
    eval(source) {
      if (typeof source !== "string") return source;
      throw refuse("eval()");
    },
  }.eval);
}

function installGlobals() {
  const scope = globalThis;
  const listen = { addEventListener: scope.addEventListener };
  delete listen.addEventListener;
  const prototype = globalScopePrototype();
  for (const name in EAGER) define(prototype, name, EAGER[name]);
  for (const name of STREAM_CLASSES) define(prototype, name, streams[name]);
  for (const name in LAZY) lazy(OWN.has(name) ? scope : prototype, name, LAZY[name]);
  define(scope, "console", makeConsole());
  define(scope, "Date", clock.frozenDate());
  clock.freezeDateTimeFormat();
  define(prototype, "fetch", {
    fetch(input, init) {
      return core.loadExtScript(_fetch).fetch(input, init);
    },
  }.fetch, true);
  for (const name of ["setTimeout", "setInterval", "clearTimeout", "clearInterval"]) {
    define(scope, name, timers[name], true);
    define(prototype, name, timers[name], true);
  }
  define(scope, "queueMicrotask", scope.queueMicrotask, true);
  define(prototype, "reportError", event.reportError, true);
  define(scope, "global", scope);
  define(scope, "self", scope, true);
  define(scope, "origin", "null", true);
  define(scope, "navigator", makeNavigator(), true);
  define(prototype, "Navigator", Navigator);
  define(scope, "scheduler", new Scheduler(), true);
  define(scope, "Cloudflare", makeCloudflare(), true);
  // Its clock is the machine's, and Workers do not have it.
  delete scope.Temporal;
  extendPlatform();
  define(scope, webidl.brand, webidl.brand);
  forbidCodeFromStrings(scope);
  ObjectSetPrototypeOf(scope, prototype);
  event.setEventTargetData(scope);
  event.saveGlobalThisReference(scope);
  core.setReportExceptionCallback(exceptionUncaught);
  core.setUnhandledPromiseRejectionHandler(rejectionUnhandled);
}

/** Globals that are the scope's own; as on Workers, the others are inherited. */
const OWN = new SafeSet(["caches", "crypto", "performance"]);

/** The chain that `globalThis` has on Workers: ServiceWorkerGlobalScope, WorkerGlobalScope, EventTarget. */
function globalScopePrototype() {
  class WorkerGlobalScope extends event.EventTarget {
    addEventListener(type, listener, options) {
      if (type === "fetch" || type === "scheduled" || type === "queue" || type === "email" || type === "tail" || type === "trace") {
        events.listen(type, listener);
        return;
      }
      super.addEventListener(type, listener, options);
    }
  }
  class ServiceWorkerGlobalScope extends WorkerGlobalScope {}
  define(WorkerGlobalScope.prototype, "EventTarget", event.EventTarget);
  define(ServiceWorkerGlobalScope.prototype, "WorkerGlobalScope", WorkerGlobalScope);
  define(globalThis, "ServiceWorkerGlobalScope", ServiceWorkerGlobalScope);
  tag(ServiceWorkerGlobalScope.prototype, "ServiceWorkerGlobalScope");
  return ServiceWorkerGlobalScope.prototype;
}

return {
  ExtendableEvent,
  FetchEvent,
  installGlobals,
  rejectionHandled,
  ScheduledController,
  ScheduledEvent,
  TailEvent,
  TraceEvent,
};
})();
