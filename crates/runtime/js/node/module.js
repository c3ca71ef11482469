// `node:module`, over the modules that are here: there are no files to look for others in.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayPrototypeIncludes,
  Error,
  ObjectAssign,
  ObjectDefineProperty,
  ObjectFreeze,
  SafeMap,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
} = primordials;
const { refusing } = core.loadExtScript("ext:selvedge_node/stubs.js");

const builtinModules = [
  "_http_agent",
  "_http_client",
  "_http_common",
  "_http_incoming",
  "_http_outgoing",
  "_http_server",
  "_stream_duplex",
  "_stream_passthrough",
  "_stream_readable",
  "_stream_transform",
  "_stream_writable",
  "_tls_common",
  "_tls_wrap",
  "assert",
  "assert/strict",
  "async_hooks",
  "buffer",
  "child_process",
  "cluster",
  "console",
  "constants",
  "crypto",
  "dgram",
  "diagnostics_channel",
  "dns",
  "dns/promises",
  "domain",
  "events",
  "fs",
  "fs/promises",
  "http",
  "http2",
  "https",
  "inspector",
  "inspector/promises",
  "module",
  "net",
  "os",
  "path",
  "path/posix",
  "path/win32",
  "perf_hooks",
  "process",
  "punycode",
  "querystring",
  "readline",
  "readline/promises",
  "repl",
  "stream",
  "stream/consumers",
  "stream/promises",
  "stream/web",
  "string_decoder",
  "sys",
  "timers",
  "timers/promises",
  "tls",
  "trace_events",
  "tty",
  "url",
  "util",
  "util/types",
  "v8",
  "vm",
  "wasi",
  "worker_threads",
  "zlib",
];
/** Modules that are only known by their whole name. */
const PREFIXED = ["sqlite", "test", "test/reporters"];

const known = (name) => ArrayPrototypeIncludes(builtinModules, name) || ArrayPrototypeIncludes(PREFIXED, name);

function isBuiltin(id) {
  if (typeof id !== "string") return false;
  if (StringPrototypeStartsWith(id, "node:")) return known(StringPrototypeSlice(id, 5));
  return ArrayPrototypeIncludes(builtinModules, id);
}

const loaded = new SafeMap();

/** A module as `require` gives it: the default export, which is what `module.exports` would be. */
function getBuiltinModule(id) {
  if (!isBuiltin(id)) return undefined;
  const name = StringPrototypeStartsWith(id, "node:") ? StringPrototypeSlice(id, 5) : id;
  let exports = loaded.get(name);
  if (exports === undefined) {
    const namespace = core.createLazyLoader(`node:${name}`)();
    exports = namespace.default ?? namespace;
    loaded.set(name, exports);
  }
  return exports;
}

function notFound(id, from) {
  const error = new Error(
    `Cannot find module '${id}': "require" in a worker finds the node: modules only; import the rest, or bundle it` +
      (from === undefined ? "" : `\nRequire stack:\n- ${from}`),
  );
  error.code = "MODULE_NOT_FOUND";
  return error;
}

function createRequire(filename) {
  if (typeof filename !== "string" && typeof filename?.href !== "string") {
    const { ERR_INVALID_ARG_VALUE } = core.loadExtScript("ext:deno_node/internal/errors.ts");
    throw new ERR_INVALID_ARG_VALUE("filename", filename, "must be a file URL object, file URL string, or absolute path string");
  }
  const from = `${filename}`;
  function require(id) {
    const exports = getBuiltinModule(id);
    if (exports === undefined) throw notFound(id, from);
    return exports;
  }
  require.resolve = (id) => {
    if (!isBuiltin(id)) throw notFound(id, from);
    return id;
  };
  require.resolve.paths = () => null;
  require.cache = Module._cache;
  require.extensions = Module._extensions;
  require.main = undefined;
  return require;
}

class Module {
  constructor(id = "", parent = undefined) {
    this.id = id;
    this.path = "/";
    this.exports = {};
    this.filename = null;
    this.loaded = false;
    this.children = [];
    this.parent = parent;
  }
  require(id) {
    return createRequire(this.filename ?? "/")(id);
  }
}
Module.prototype._compile = refusing("Module", "_compile");
Module.prototype.load = refusing("Module", "load");
ObjectDefineProperty(Module.prototype, "isPreloading", { __proto__: null, get: () => false, configurable: true });

class SourceMap {
  #payload;
  constructor(payload) {
    this.#payload = payload;
  }
  get payload() {
    return this.#payload;
  }
  get lineLengths() {
    return undefined;
  }
  findEntry() {
    return {};
  }
  findOrigin() {
    return {};
  }
}

const _extensions = { __proto__: null };
for (const extension of [".js", ".json", ".node"]) _extensions[extension] = refusing("Module._extensions", extension);

const constants = ObjectFreeze({
  __proto__: null,
  compileCacheStatus: ObjectFreeze({ __proto__: null, FAILED: 0, ENABLED: 1, ALREADY_ENABLED: 2, DISABLED: 3 }),
});

const members = {
  _cache: { __proto__: null },
  _debug() {},
  _extensions,
  _findPath: () => false,
  _initPaths() {},
  _load(id) {
    const exports = getBuiltinModule(id);
    if (exports === undefined) throw notFound(id);
    return exports;
  },
  _nodeModulePaths: () => [],
  _pathCache: { __proto__: null },
  _preloadModules() {},
  _resolveFilename(id) {
    if (!isBuiltin(id)) throw notFound(id);
    return id;
  },
  _resolveLookupPaths: () => null,
  builtinModules,
  constants,
  createRequire,
  enableCompileCache: () => ({ status: constants.compileCacheStatus.DISABLED }),
  findPackageJSON: () => undefined,
  findSourceMap: () => undefined,
  flushCompileCache() {},
  getCompileCacheDir: () => undefined,
  getSourceMapsSupport: () => ({ __proto__: null, enabled: true, nodeModules: false, generatedCode: false }),
  globalPaths: [],
  isBuiltin,
  register: refusing("module", "register"),
  registerHooks: refusing("module", "registerHooks"),
  runMain: refusing("module", "runMain"),
  setSourceMapsSupport() {},
  SourceMap,
  stripTypeScriptTypes: refusing("module", "stripTypeScriptTypes"),
  syncBuiltinESMExports() {},
  wrap: (script) => `(function (exports, require, module, __filename, __dirname) { ${script}\n});`,
};
ObjectAssign(Module, members);
Module.Module = Module;

return { getBuiltinModule, Module };
})();
