// `tracing` of `cloudflare:workers`: spans that nobody collects. Code that makes them runs; `isTraced` tells that it is in
// vain.
(function () {
const { core, primordials } = __bootstrap;
const { FunctionPrototypeCall, ObjectDefineProperty, SymbolToStringTag, TypeError } = primordials;

const active = new core.AsyncVariable();

class Span {
  get isTraced() {
    return false;
  }
  spanContext() {
    return { traceId: "00000000000000000000000000000000", spanId: "0000000000000000", traceFlags: 0 };
  }
  setAttribute(_name, _value) {
    return this;
  }
  setAttributes(_attributes) {
    return this;
  }
  recordException(_exception) {
    return this;
  }
  updateName(_name) {
    return this;
  }
  setStatus(_status) {
    return this;
  }
  end() {}
}

class Tracing {
  get Span() {
    return Span;
  }
  startSpan(_name, _options = undefined) {
    return new Span();
  }
  getActiveSpan() {
    return active.get() ?? none;
  }
  withActiveSpan(span, callback, ...args) {
    if (typeof callback !== "function") throw new TypeError("withActiveSpan() needs a function to call.");
    const before = active.enter(span);
    try {
      return FunctionPrototypeCall(callback, undefined, ...args);
    } finally {
      core.setAsyncContext(before);
    }
  }
  enterSpan(_name, callback, ...args) {
    if (typeof callback !== "function") throw new TypeError("enterSpan() needs a function to call.");
    const span = new Span();
    return this.withActiveSpan(span, callback, span, ...args);
  }
  startActiveSpan(_name, ...rest) {
    // As in OpenTelemetry: options and context may stand before the function.
    const callback = rest[rest.length - 1];
    if (typeof callback !== "function") throw new TypeError("startActiveSpan() needs a function to call.");
    const span = new Span();
    return this.withActiveSpan(span, callback, span);
  }
}

for (const [Class, name] of [[Span, "Span"], [Tracing, "Tracing"]]) {
  ObjectDefineProperty(Class.prototype, SymbolToStringTag, { __proto__: null, value: name, configurable: true });
}

const none = new Span();

return { Span, Tracing, tracing: new Tracing() };
})();
