// The bindings of a worker: what `env` holds.
(function () {
const { core, primordials } = __bootstrap;
const { Error, JSONParse, ObjectDefineProperty, ObjectPrototypeIsPrototypeOf, Proxy, ReflectGet, TypeError } = primordials;

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
    const make = makers[binding.kind];
    const value = make === undefined ? unavailable(binding) : make(binding);
    ObjectDefineProperty(env, binding.name, {
      __proto__: null,
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
}

const makers = {
  __proto__: null,
  text: (binding) => binding.text,
  secret: (binding) => binding.text,
  json: (binding) => JSONParse(binding.json),
  data: (binding) => binding.data,
  version_metadata: (binding) => ({ id: binding.id, tag: binding.tag, timestamp: binding.timestamp }),
  service: (binding) => core.loadExtScript("ext:selvedge/service.js").serviceBinding(`service:${binding.name}`),
  assets: (binding) => fetcher(`assets:${binding.name}`),
};

/** A binding with `fetch` alone. */
function fetcher(target) {
  const { send } = core.loadExtScript("ext:deno_fetch/26_fetch.js");
  const { Request, RequestPrototype } = core.loadExtScript("ext:selvedge/http.js");
  return new (class Fetcher {
    async fetch(input, init = undefined) {
      const request = ObjectPrototypeIsPrototypeOf(RequestPrototype, input) && init === undefined
        ? input
        : new Request(input, init);
      return await send(target, request);
    }
  })();
}

/** A binding whose service this build does not have: there to be tested for, and clear when used. */
function unavailable(binding) {
  const explain = (property) =>
    new Error(
      `binding "${binding.name}" (${binding.kind}) is not available yet: "${binding.name}.${property}" was used, ` +
        `but this version of Selvedge does not serve ${binding.kind} bindings`,
    );
  return new Proxy({}, {
    __proto__: null,
    get(target, property, receiver) {
      if (typeof property === "symbol" || property === "then" || property === "toJSON") {
        return ReflectGet(target, property, receiver);
      }
      throw explain(property);
    },
    set(_target, property) {
      throw new TypeError(`"${binding.name}.${String(property)}" cannot be assigned: it is a binding`);
    },
  });
}

return { env, fetcher, fill, processEnv };
})();
