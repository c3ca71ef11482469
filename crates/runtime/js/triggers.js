// Events that ask for no response: cron triggers, and what became of other workers' events. Their answer says how all of
// their work ended, `waitUntil` included.
(function () {
const { core, primordials } = __bootstrap;
const {
  FunctionPrototypeCall,
  JSONParse,
  JSONStringify,
  ObjectDefineProperty,
  PromisePrototypeThen,
  PromiseResolve,
  SymbolToStringTag,
} = primordials;
const events = core.loadExtScript("ext:selvedge/events.js");
const { innerBodyOf } = core.loadExtScript("ext:selvedge/door.js");

/**
 * @param {number} stream
 * @param {(invocation: object) => any} run the worker's handler
 * @param {() => object} told what the answer says besides the outcome
 */
function begin(stream, run, told) {
  const invocation = new events.Invocation(stream, null);
  events.live.set(stream, invocation);
  const previous = core.getAsyncContext();
  core.setAsyncContext(invocation);
  const handled = () => {
    invocation.conclude = () => {
      const outcome = invocation.failed ? "exception" : "ok";
      events.finish(invocation, "200\n\n" + JSONStringify({ __proto__: null, outcome, ...told() }), outcome);
    };
    invocation.settle();
  };
  const failed = (error) => invocation.fail(events.exceptionReport(error));
  try {
    PromisePrototypeThen(PromiseResolve(run(invocation)), handled, failed);
  } catch (error) {
    failed(error);
  } finally {
    core.setAsyncContext(previous);
  }
}

function callListeners(listeners, event) {
  for (let i = 0; i < listeners.length; i++) {
    const listener = listeners[i];
    if (typeof listener === "function") FunctionPrototypeCall(listener, globalThis, event);
    else listener.handleEvent(event);
  }
}

// === cron triggers ===

/** https://developers.cloudflare.com/workers/runtime-apis/handlers/scheduled/ */
function dispatchScheduled(stream, entrypoint, meta) {
  const { ScheduledController, ScheduledEvent } = core.loadExtScript("ext:selvedge/globals.js");
  const { cron, scheduledTime } = JSONParse(meta);
  let noRetry = false;
  const controller = new ScheduledController(cron, scheduledTime, () => {
    noRetry = true;
  });
  begin(stream, (invocation) => {
    const listeners = events.listeners("scheduled");
    if (listeners !== undefined) {
      return callListeners(listeners, new ScheduledEvent(controller, (promise) => invocation.waitUntil(promise)));
    }
    const ctx = new events.ExecutionContext(invocation, "");
    return events.handlerOf("scheduled", entrypoint, ctx)(controller);
  }, () => ({ __proto__: null, noRetry }));
}

// === tails ===

/** A request as a tail worker sees it: what may be a credential is redacted, until it is asked for. */
class TailRequest {
  #unredacted;
  constructor(shown, unredacted) {
    this.cf = shown.cf;
    this.headers = { ...shown.headers };
    this.method = shown.method;
    this.url = shown.url;
    this.#unredacted = unredacted;
  }
  getUnredacted() {
    return new TailRequest(this.#unredacted, this.#unredacted);
  }
}
ObjectDefineProperty(TailRequest.prototype, SymbolToStringTag, { __proto__: null, value: "Request", configurable: true });

/**
 * @param {object} request as everyone is shown it
 * @param {undefined | { url?: string, headers?: Record<string, string> }} hidden what of it is not shown
 */
function requestOf(request, hidden) {
  return new TailRequest(request, {
    __proto__: null,
    cf: request.cf,
    headers: { ...request.headers, ...hidden?.headers },
    method: request.method,
    url: hidden?.url ?? request.url,
  });
}

/** https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#tailitems */
function itemOf(trace) {
  const event = trace.event ?? null;
  if (event?.request !== undefined) event.request = requestOf(event.request, trace.unredacted);
  return {
    event,
    eventTimestamp: trace.eventTimestamp ?? null,
    logs: trace.logs ?? [],
    exceptions: trace.exceptions ?? [],
    diagnosticsChannelEvents: trace.diagnosticsChannelEvents ?? [],
    scriptName: trace.scriptName ?? null,
    entrypoint: trace.entrypoint,
    scriptVersion: trace.scriptVersion,
    dispatchNamespace: trace.dispatchNamespace,
    scriptTags: trace.scriptTags,
    tailAttributes: trace.tailAttributes,
    preview: trace.preview,
    durableObjectId: trace.durableObjectId,
    outcome: trace.outcome,
    executionModel: trace.executionModel ?? "stateless",
    truncated: trace.truncated ?? false,
    cpuTime: trace.cpuTime ?? 0,
    wallTime: trace.wallTime ?? 0,
  };
}

function itemsOf(bytes) {
  const traces = JSONParse(core.decode(bytes));
  const items = [];
  for (let i = 0; i < traces.length; i++) items[i] = itemOf(traces[i]);
  return items;
}

/** Gives a tail worker what there is to tell. */
function runTail(invocation, entrypoint, items) {
  const { TailEvent, TraceEvent } = core.loadExtScript("ext:selvedge/globals.js");
  const waitUntil = (promise) => invocation.waitUntil(promise);
  const tail = events.listeners("tail");
  const trace = events.listeners("trace");
  if (tail === undefined && trace === undefined) {
    const kind = !events.handles("tail", entrypoint) && events.handles("trace", entrypoint) ? "trace" : "tail";
    return events.handlerOf(kind, entrypoint, new events.ExecutionContext(invocation, ""))(items);
  }
  if (tail !== undefined) callListeners(tail, new TailEvent("tail", items, waitUntil));
  if (trace !== undefined) callListeners(trace, new TraceEvent("trace", items, waitUntil));
}

/**
 * https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/
 * @param {undefined | Uint8Array | number} body the JSON of an array of traces
 */
function dispatchTail(stream, entrypoint, body) {
  begin(stream, (invocation) => {
    if (typeof body !== "number") return runTail(invocation, entrypoint, itemsOf(body));
    return PromisePrototypeThen(innerBodyOf(body).consume(), (bytes) => runTail(invocation, entrypoint, itemsOf(bytes)));
  }, () => undefined);
}

return { dispatchScheduled, dispatchTail };
})();
