// Stands in for Deno's telemetry: traces and metrics are the edge's.
(function () {
return {
  builtinTracer: () => undefined,
  ContextManager: { active: () => undefined },
  otelState: { __proto__: null, METRICS_ENABLED: false, PROPAGATORS: [], TRACING_ENABLED: false },
  SPAN_KEY: undefined,
  telemetry: undefined,
  updateSpanFromError() {},
  updateSpanFromRequest() {},
  updateSpanFromClientResponse() {},
};
})();
