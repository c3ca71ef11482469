// The bindings of a worker: what `env` holds.
(function () {
const { core, primordials } = __bootstrap;
const { op_module_bytes, op_module_text } = core.ops;
const { JSONParse, ObjectDefineProperty, ObjectPrototypeIsPrototypeOf, TypeError } = primordials;

/** The one `env` of this isolate; `cloudflare:workers` exports it too. */
const env = {};

/** What of it `process.env` has: the bindings that are text. */
const processEnv = { __proto__: null };

/**
 * @param {{ name: string, kind: string }[]} bindings
 */
function fill(bindings) {
  for (const binding of bindings) {
    if (binding.kind === "text" || binding.kind === "secret") processEnv[binding.name] = binding.text;
    else if (binding.kind === "json") processEnv[binding.name] = binding.json;
    ObjectDefineProperty(env, binding.name, {
      __proto__: null,
      value: valueOf(binding),
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
}

function valueOf(binding) {
  const make = makers[binding.kind];
  if (make === undefined) return core.loadExtScript("ext:selvedge/unavailable.js").unavailable(binding);
  try {
    return make(binding);
  } catch (error) {
    throw new TypeError(`the binding "${binding.name}" (${binding.kind}) cannot be made: ${error.message}`);
  }
}

const makers = {
  __proto__: null,
  text: (binding) => binding.text,
  secret: (binding) => binding.text,
  json: (binding) => JSONParse(binding.json),
  ratelimit: (binding) => core.loadExtScript("ext:selvedge/rate_limit.js").rateLimit(binding.name),
  version_metadata: (binding) => ({ id: binding.id, tag: binding.tag, timestamp: binding.timestamp }),
  service: (binding) => core.loadExtScript("ext:selvedge/service.js").serviceBinding(`service:${binding.name}`),
  assets: (binding) => fetcher(`assets:${binding.name}`),
  // Their id is the specifier of a module of the version.
  data_blob: (binding) => op_module_bytes(binding.id).buffer,
  text_blob: (binding) => op_module_text(binding.id),
  wasm_module: (binding) => new WebAssembly.Module(op_module_bytes(binding.id)),
};

/** A binding with `fetch` alone. */
function fetcher(target) {
  const { fetchFrom } = core.loadExtScript("ext:selvedge/service.js");
  const lead = { fetch: target, rpc: undefined, props: undefined };
  const { Request, RequestPrototype } = core.loadExtScript("ext:selvedge/http.js");
  return new (class Fetcher {
    async fetch(input, init = undefined) {
      const request = ObjectPrototypeIsPrototypeOf(RequestPrototype, input) && init === undefined
        ? input
        : new Request(input, init);
      return await fetchFrom(lead, request);
    }
  })();
}

return { env, fetcher, fill, processEnv };
})();
