// The global scope of a worker. What most workers touch is evaluated in the snapshot; the rest on first use, because
// every evaluated script costs memory in every isolate.
(function () {
const { core, primordials } = __bootstrap;
const { op_log } = core.ops;
const {
  ArrayPrototypeMap,
  Error,
  EvalError,
  JSONStringify,
  ObjectDefineProperties,
  ObjectDefineProperty,
  ObjectSetPrototypeOf,
  Promise,
  String,
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
const { Console } = core.loadExtScript("ext:deno_web/01_console.js");
const clock = core.loadExtScript("ext:selvedge/clock.js");
const events = core.loadExtScript("ext:selvedge/events.js");

const { ExtendableEvent, FetchEvent, ScheduledController, ScheduledEvent } = eventClasses();

function eventClasses() {
  class ExtendableEvent extends event.Event {
    #waitUntil;
    constructor(type, waitUntil) {
      super(type);
      this.#waitUntil = waitUntil;
    }
    waitUntil(promise) {
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
  class ScheduledEvent extends ExtendableEvent {}
  return { ExtendableEvent, FetchEvent, ScheduledController, ScheduledEvent };
}

// === console ===

const LEVELS = ["debug", "log", "info", "warn", "error"];

/** Sends one log record to the host, under the event whose code is running. */
function logRecord(stream, level, message, during = undefined) {
  op_log(stream, JSONStringify({ level, message, during }));
}

function installConsole() {
  const console = new Console((text, level) => {
    // The text ends with the line feed that a terminal would want.
    const line = text.endsWith("\n") ? text.slice(0, -1) : text;
    logRecord(events.current()?.stream ?? 0, LEVELS[level] ?? "log", [line]);
  });
  return console;
}

// === lazily evaluated globals ===

const _streams = "ext:deno_web/06_streams.js";
const _encoding = "ext:deno_web/08_text_encoding.js";
const _file = "ext:deno_web/09_file.js";
const _compression = "ext:deno_web/14_compression.js";
const _message = "ext:deno_web/13_message_port.js";
const _performance = "ext:deno_web/15_performance.js";
const _crypto = "ext:deno_crypto/00_crypto.js";
const _fetch = "ext:deno_fetch/26_fetch.js";

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
  EventSource: "ext:deno_fetch/27_eventsource.js",
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
  performance: _performance,
  Crypto: _crypto,
  CryptoKey: _crypto,
  SubtleCrypto: _crypto,
  crypto: _crypto,
  atob: "ext:deno_web/05_base64.js",
  btoa: "ext:deno_web/05_base64.js",
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
      define(scope, name, value, enumerable);
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
  EventTarget: event.EventTarget,
  ExtendableEvent,
  FetchEvent,
  Headers: headers.Headers,
  MessageEvent: event.MessageEvent,
  PromiseRejectionEvent: event.PromiseRejectionEvent,
  Request: http.Request,
  Response: http.Response,
  ScheduledEvent,
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
  get userAgent() {
    return "Cloudflare-Workers";
  }
  get hardwareConcurrency() {
    return 1;
  }
  get language() {
    return "en";
  }
  get languages() {
    return ["en"];
  }
  get platform() {
    return "Linux";
  }
}

class Scheduler {
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
  for (const name in EAGER) define(scope, name, EAGER[name]);
  for (const name of STREAM_CLASSES) define(scope, name, streams[name]);
  for (const name in LAZY) lazy(scope, name, LAZY[name]);
  define(scope, "console", installConsole());
  define(scope, "Date", clock.frozenDate());
  define(scope, "fetch", {
    fetch(input, init) {
      return core.loadExtScript(_fetch).fetch(input, init);
    },
  }.fetch, true);
  for (const name of ["setTimeout", "setInterval", "clearTimeout", "clearInterval"]) {
    define(scope, name, timers[name], true);
  }
  define(scope, "queueMicrotask", scope.queueMicrotask, true);
  define(scope, "reportError", event.reportError, true);
  define(scope, "self", scope, true);
  define(scope, "navigator", new Navigator(), true);
  define(scope, "Navigator", Navigator);
  define(scope, "scheduler", new Scheduler(), true);
  define(scope, "Scheduler", Scheduler);
  define(scope, webidl.brand, webidl.brand);
  forbidCodeFromStrings(scope);
  ObjectSetPrototypeOf(scope, globalScopePrototype());
  event.setEventTargetData(scope);
  event.saveGlobalThisReference(scope);
}

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
  define(globalThis, "WorkerGlobalScope", WorkerGlobalScope);
  define(globalThis, "ServiceWorkerGlobalScope", ServiceWorkerGlobalScope);
  return ServiceWorkerGlobalScope.prototype;
}

return { ExtendableEvent, FetchEvent, installGlobals, logRecord, ScheduledController };
})();
