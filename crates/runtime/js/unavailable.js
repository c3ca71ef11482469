// Bindings whose service this build does not have: there to be tested for, and clear when used.
(function () {
const { primordials } = __bootstrap;
const { Error, Proxy, ReflectGet, ReflectHas, String, TypeError } = primordials;

/** The kinds of binding of the platform's API, in the words of its documentation. */
const KINDS = {
  __proto__: null,
  ai: "Workers AI",
  ai_search: "AI Search",
  analytics_engine: "Analytics Engine dataset",
  browser: "Browser Rendering",
  d1: "D1 database",
  dispatch_namespace: "dispatch namespace",
  durable_object_namespace: "Durable Object namespace",
  hyperdrive: "Hyperdrive",
  images: "Images",
  kv_namespace: "KV namespace",
  media: "Media Transformations",
  mtls_certificate: "mTLS certificate",
  pipelines: "pipeline",
  r2_bucket: "R2 bucket",
  secrets_store_secret: "Secrets Store secret",
  send_email: "email sender",
  stream: "Stream",
  vectorize: "Vectorize index",
  vpc_network: "VPC network",
  vpc_service: "VPC service",
  worker_loader: "worker loader",
};

/**
 * @param {{ name: string, kind: string }} binding
 */
function unavailable({ name, kind }) {
  const words = KINDS[kind] ?? kind;
  const explain = (use) =>
    new Error(
      `binding "${name}" (${words}) is not available yet: "${name}.${use}" was used, ` +
        `but this version of Selvedge does not serve ${words} bindings`,
    );
  return new Proxy({}, {
    __proto__: null,
    get(target, property, receiver) {
      // What code asks of any object must not fail: `await`, JSON, the console.
      if (typeof property === "symbol" || property === "then" || property === "toJSON" || ReflectHas(target, property)) {
        return ReflectGet(target, property, receiver);
      }
      // Hyperdrive's members are text: a function in their place would fail somewhere else, and say nothing.
      if (words === "Hyperdrive") throw explain(property);
      return () => {
        throw explain(`${property}()`);
      };
    },
    set(_target, property) {
      throw new TypeError(`"${name}.${String(property)}" cannot be assigned: it is a binding`);
    },
  });
}

return { unavailable };
})();
