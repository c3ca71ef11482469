// The Performance API over the frozen clock, with what Workers have of Node's.
(function () {
const { core, primordials } = __bootstrap;
const { ObjectDefineProperties, ObjectDefineProperty, SymbolToStringTag, TypeError } = primordials;
const deno = core.loadExtScript("ext:deno_web/15_performance.js");
const { Performance, PerformanceEntry } = deno;

// Its ops are the frozen clock's: the origin is the Unix epoch.
deno.setTimeOrigin();

/** Resources are the host's affair: none is ever recorded here. */
class PerformanceResourceTiming extends PerformanceEntry {}
const times = { __proto__: null };
for (
  const name of [
    "connectEnd",
    "connectStart",
    "decodedBodySize",
    "domainLookupEnd",
    "domainLookupStart",
    "encodedBodySize",
    "fetchStart",
    "redirectEnd",
    "redirectStart",
    "requestStart",
    "responseEnd",
    "responseStart",
    "responseStatus",
    "secureConnectionStart",
    "transferSize",
    "workerStart",
  ]
) {
  times[name] = { __proto__: null, get: () => 0, enumerable: true, configurable: true };
}
for (const name of ["initiatorType", "nextHopProtocol"]) {
  times[name] = { __proto__: null, get: () => "", enumerable: true, configurable: true };
}
times[SymbolToStringTag] = { __proto__: null, value: "PerformanceResourceTiming", configurable: true };
ObjectDefineProperties(PerformanceResourceTiming.prototype, times);

class EventCounts extends Map {
  get [SymbolToStringTag]() {
    return "EventCounts";
  }
}
const eventCounts = new EventCounts();

const additions = {
  /** Time spent is not told: https://nodejs.org/api/perf_hooks.html#performanceeventlooputilizationutilization1-utilization2 */
  eventLoopUtilization() {
    return { idle: 0, active: 0, utilization: 0 };
  },
  markResourceTiming() {},
  /** The function itself: while it runs the clock stands still. */
  timerify(callback) {
    if (typeof callback !== "function") {
      throw new TypeError("Failed to execute 'timerify' on 'Performance': parameter 1 is not of type 'Function'.");
    }
    return callback;
  },
};
for (const name of ["eventLoopUtilization", "markResourceTiming", "timerify"]) {
  ObjectDefineProperty(Performance.prototype, name, {
    __proto__: null,
    value: additions[name],
    writable: true,
    enumerable: true,
    configurable: true,
  });
}
const getters = {
  __proto__: null,
  eventCounts: () => eventCounts,
  nodeTiming: () => ({
    name: "node",
    entryType: "node",
    startTime: 0,
    duration: 0,
    nodeStart: 0,
    v8Start: 0,
    bootstrapComplete: 0,
    environment: 0,
    loopStart: 0,
    loopExit: 0,
    idleTime: 0,
    uvMetricsInfo: { loopCount: 0, events: 0, eventsWaiting: 0 },
  }),
};
for (const name in getters) {
  ObjectDefineProperty(Performance.prototype, name, {
    __proto__: null,
    get: getters[name],
    // Deno's `node:perf_hooks` sets its own; here there is nothing that it could measure.
    set() {},
    enumerable: true,
    configurable: true,
  });
}

return { ...deno, PerformanceResourceTiming };
})();
