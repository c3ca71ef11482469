// `process`. Light, because many packages only look at `process.env` or `process.version`: what its event methods and
// streams are made of is loaded when they are used.
(function () {
const { core, primordials } = __bootstrap;
const { op_frozen_now } = core.ops;
const {
  ArrayIsArray,
  BigInt,
  Error,
  FunctionPrototypeCall,
  MathFloor,
  ObjectCreate,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectPrototypeIsPrototypeOf,
  ObjectSetPrototypeOf,
  ErrorPrototype,
  Proxy,
  ReflectApply,
  ReflectDefineProperty,
  ReflectGet,
  ReflectOwnKeys,
  SafeSet,
  String,
  SymbolToStringTag,
  TypeError,
} = primordials;
const { getAsyncContext } = core;
const Deno = core.loadExtScript("ext:selvedge_node/deno.js");
const { refusing, unavailable } = core.loadExtScript("ext:selvedge_node/stubs.js");

const errors = () => core.loadExtScript("ext:deno_node/internal/errors.ts");
const builtin = (name) => core.loadExtScript("ext:selvedge_node/module.js").getBuiltinModule(name);

// === what it is ===

const NODE_VERSION = "__NODE_VERSION__";

function processFunction() {}
ObjectDefineProperty(processFunction, "name", { __proto__: null, value: "process" });

/** The prototype of `process`, which inherits from EventEmitter as soon as that is loaded. */
const prototype = ObjectCreate(null, {
  constructor: { __proto__: null, value: processFunction, writable: true, configurable: true },
});
processFunction.prototype = prototype;

const EVENT_METHODS = [
  "addListener",
  "emit",
  "eventNames",
  "getMaxListeners",
  "listenerCount",
  "listeners",
  "off",
  "on",
  "once",
  "prependListener",
  "prependOnceListener",
  "rawListeners",
  "removeAllListeners",
  "removeListener",
  "setMaxListeners",
];

let isEmitter = false;

/** Makes `process` the EventEmitter that it is in Node. */
function becomeEmitter() {
  if (isEmitter) return;
  isEmitter = true;
  const { EventEmitter } = core.loadExtScript("ext:deno_node/_events.mjs");
  for (const name of EVENT_METHODS) prototype[name] = EventEmitter.prototype[name];
  ObjectSetPrototypeOf(prototype, EventEmitter.prototype);
  FunctionPrototypeCall(EventEmitter, process);
}

for (const name of EVENT_METHODS) {
  ObjectDefineProperty(prototype, name, {
    __proto__: null,
    configurable: true,
    writable: true,
    value(...args) {
      becomeEmitter();
      return ReflectApply(process[name], this, args);
    },
  });
}

const process = ObjectCreate(prototype);

// === environment ===

const env = new Proxy({}, {
  __proto__: null,
  get: (target, name) => (typeof name === "symbol" ? target[name] : Deno.env.get(name) ?? ReflectGet(target, name)),
  set(target, name, value) {
    if (typeof name === "symbol" || typeof value === "symbol") {
      throw new TypeError("Cannot convert a Symbol value to a string");
    }
    Deno.env.set(name, String(value));
    return true;
  },
  has: (target, name) => typeof name === "string" && Deno.env.has(name),
  deleteProperty(target, name) {
    if (typeof name === "string") Deno.env.delete(name);
    return true;
  },
  ownKeys: () => ReflectOwnKeys(Deno.env.toObject()),
  getOwnPropertyDescriptor(target, name) {
    const value = typeof name === "string" ? Deno.env.get(name) : undefined;
    return value === undefined ? undefined : { value, writable: true, enumerable: true, configurable: true };
  },
  defineProperty(target, name, descriptor) {
    if (!("value" in descriptor)) {
      throw new (errors().ERR_INVALID_OBJECT_DEFINE_PROPERTY)(
        "'process.env' does not accept an accessor(getter/setter) descriptor",
      );
    }
    Deno.env.set(String(name), String(descriptor.value));
    return true;
  },
});

// === time ===

const started = op_frozen_now();

/** By the frozen clock: time stands still while code runs. */
function hrtime(previous) {
  const now = op_frozen_now();
  let seconds = MathFloor(now / 1000);
  let nanoseconds = MathFloor((now % 1000) * 1e6);
  if (previous !== undefined) {
    if (!ArrayIsArray(previous)) throw new (errors().ERR_INVALID_ARG_TYPE)("time", "Array", previous);
    if (previous.length !== 2) throw new (errors().ERR_OUT_OF_RANGE)("time", 2, previous.length);
    seconds -= previous[0];
    nanoseconds -= previous[1];
    if (nanoseconds < 0) {
      seconds--;
      nanoseconds += 1e9;
    }
  }
  return [seconds, nanoseconds];
}
hrtime.bigint = function bigint() {
  return BigInt(MathFloor(op_frozen_now() * 1000)) * 1000n;
};

// === ticks ===

let asyncIds = 0;

function nextTick(callback, ...args) {
  if (typeof callback !== "function") throw new (errors().ERR_INVALID_ARG_TYPE)("callback", "Function", callback);
  core.queueNextTick({
    asyncId: asyncIds++,
    triggerAsyncId: 0,
    snapshot: getAsyncContext(),
    callback,
    args: args.length === 0 ? undefined : args,
  });
}

// === the end ===

/** There is no process to end: the event fails, and says why. */
function exit(code = process.exitCode) {
  const error = new Error(
    `process.exit(${code ?? ""}) was called: a worker has no process to end, so the event ends with this error`,
  );
  error.code = "ERR_PROCESS_EXIT";
  throw error;
}

function abort() {
  throw unavailable("process.abort()");
}

// === warnings ===

function emitWarning(warning, type, code) {
  const options = type !== null && typeof type === "object" ? type : { type, code };
  let error = warning;
  if (!ObjectPrototypeIsPrototypeOf(ErrorPrototype, warning)) {
    if (typeof warning !== "string") {
      throw new (errors().ERR_INVALID_ARG_TYPE)("warning", ["Error", "string"], warning);
    }
    error = new Error(warning);
    error.name = typeof options.type === "string" ? options.type : "Warning";
    if (typeof options.code === "string") error.code = options.code;
  }
  if (error.name === "DeprecationWarning" && process.noDeprecation) return;
  if (isEmitter && process.listenerCount("warning") > 0) {
    nextTick(() => process.emit("warning", error));
    return;
  }
  globalThis.console.warn(`${error.name}: ${error.message}`);
}

// === streams ===

/** `stdout` and `stderr` are logs: each line is a record. */
function output(fd, log) {
  const { Writable } = builtin("stream");
  let rest = "";
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      rest += typeof chunk === "string" ? chunk : chunk.toString();
      for (let end = rest.indexOf("\n"); end !== -1; end = rest.indexOf("\n")) {
        log(rest.slice(0, end));
        rest = rest.slice(end + 1);
      }
      if (rest !== "") queueMicrotask(flush);
      done();
    },
  });
  /** A line without an end is logged when the code that wrote it is done. */
  function flush() {
    if (rest === "") return;
    log(rest);
    rest = "";
  }
  stream.fd = fd;
  stream._type = "pipe";
  stream.isTTY = false;
  stream.columns = 80;
  stream.rows = 24;
  stream.getColorDepth = () => 1;
  stream.hasColors = () => false;
  stream.getWindowSize = () => [80, 24];
  stream.destroySoon = stream.destroy;
  stream._destroy = (error, done) => done(error);
  return stream;
}

function input() {
  const { Readable } = builtin("stream");
  const stream = new Readable({ read() {} });
  stream.push(null);
  stream.fd = 0;
  stream.isTTY = false;
  stream.isRaw = false;
  stream.setRawMode = () => stream;
  return stream;
}

function lazily(name, make, enumerable = true) {
  ObjectDefineProperty(process, name, {
    __proto__: null,
    configurable: true,
    enumerable,
    get() {
      const value = make();
      define(name, value, enumerable);
      return value;
    },
    set: (value) => define(name, value, enumerable),
  });
}

function define(name, value, enumerable = true) {
  ReflectDefineProperty(process, name, { __proto__: null, value, writable: true, enumerable, configurable: true });
}

lazily("stdin", input);
lazily("stdout", () => output(1, (line) => globalThis.console.log(line)));
lazily("stderr", () => output(2, (line) => globalThis.console.error(line)));

// === resources ===

function memoryUsage() {
  const { heapTotal, heapUsed, external } = core.memoryUsage();
  return { rss: heapTotal + external, heapTotal, heapUsed, external, arrayBuffers: external };
}
memoryUsage.rss = function rss() {
  return memoryUsage().rss;
};

function cpuUsage() {
  return { user: 0, system: 0 };
}

function resourceUsage() {
  return {
    userCPUTime: 0,
    systemCPUTime: 0,
    maxRSS: 0,
    sharedMemorySize: 0,
    unsharedDataSize: 0,
    unsharedStackSize: 0,
    minorPageFault: 0,
    majorPageFault: 0,
    swappedOut: 0,
    fsRead: 0,
    fsWrite: 0,
    ipcSent: 0,
    ipcReceived: 0,
    signalsCount: 0,
    voluntaryContextSwitches: 0,
    involuntaryContextSwitches: 0,
  };
}

// === the rest ===

const NOT_AVAILABLE = [
  "_debugEnd",
  "_debugProcess",
  "_kill",
  "_linkedBinding",
  "_startProfilerIdleNotifier",
  "_stopProfilerIdleNotifier",
  "binding",
  "dlopen",
  "execve",
  "initgroups",
  "kill",
  "setegid",
  "seteuid",
  "setgid",
  "setgroups",
  "setuid",
];
for (const name of NOT_AVAILABLE) {
  define(name, {
    [name]() {
      throw unavailable(`process.${name}()`);
    },
  }[name]);
}

const members = {
  __proto__: null,
  _channel: null,
  _disconnect: undefined,
  _exiting: false,
  _fatalException: () => false,
  _getActiveHandles: () => [],
  _getActiveRequests: () => [],
  _handleQueue: null,
  _pendingMessage: null,
  _preload_modules: [],
  _rawDebug: (...args) => globalThis.console.error(...args),
  _send: undefined,
  _tickCallback: () => {},
  abort,
  arch: "x64",
  argv: ["worker"],
  argv0: "worker",
  assert: (value, message) => builtin("assert").ok(value, message),
  availableMemory: () => Deno.systemMemoryInfo().available,
  channel: undefined,
  chdir(directory) {
    if (typeof directory !== "string") {
      throw new (errors().ERR_INVALID_ARG_TYPE)("directory", "string", directory);
    }
    try {
      Deno.chdir(directory);
    } catch (error) {
      throw errors().denoErrorToNodeError(error, { syscall: "chdir", path: Deno.cwd(), dest: directory });
    }
  },
  config: ObjectFreeze({ target_defaults: ObjectFreeze({}), variables: ObjectFreeze({}) }),
  connected: false,
  constrainedMemory: () => Deno.systemMemoryInfo().total,
  cpuUsage,
  cwd: () => Deno.cwd(),
  debugPort: 0,
  domain: undefined,
  emitWarning,
  env,
  execArgv: [],
  execPath: "",
  exit,
  exitCode: undefined,
  features: ObjectFreeze({
    inspector: false,
    debug: false,
    uv: false,
    ipv6: true,
    tls_alpn: true,
    tls_sni: true,
    tls_ocsp: true,
    tls: true,
    cached_builtins: true,
    require_module: false,
    typescript: false,
  }),
  finalization: { register() {}, registerBeforeExit() {}, unregister() {} },
  getActiveResourcesInfo: () => [],
  getBuiltinModule: (id) => builtin(id),
  getSourceMapsSupport: () => ({ __proto__: null, enabled: true, nodeModules: false, generatedCode: false }),
  getegid: () => 0,
  geteuid: () => 0,
  getgid: () => 0,
  getgroups: () => [],
  getuid: () => 0,
  hasUncaughtExceptionCaptureCallback: () => false,
  hrtime,
  loadEnvFile(path = ".env") {
    const parsed = builtin("util").parseEnv(builtin("fs").readFileSync(path, "utf8"));
    for (const name of ReflectOwnKeys(parsed)) if (!Deno.env.has(name)) Deno.env.set(name, parsed[name]);
  },
  memoryUsage,
  moduleLoadList: [],
  nextTick,
  noDeprecation: false,
  openStdin: () => process.stdin,
  permission: { has: () => false },
  pid: 1,
  platform: "linux",
  ppid: 0,
  reallyExit: exit,
  ref() {},
  release: ObjectFreeze({ name: "node", lts: false }),
  report: {
    compact: false,
    directory: "",
    excludeEnv: true,
    excludeNetwork: true,
    filename: "",
    getReport: () => ({}),
    reportOnFatalError: false,
    reportOnSignal: false,
    reportOnUncaughtException: false,
    signal: "SIGUSR2",
    writeReport: refusing("process.report", "writeReport"),
  },
  resourceUsage,
  send: undefined,
  setSourceMapsEnabled() {},
  setUncaughtExceptionCaptureCallback() {},
  sourceMapsEnabled: true,
  threadCpuUsage: cpuUsage,
  throwDeprecation: false,
  title: "selvedge",
  traceDeprecation: false,
  umask: (mask) => core.loadExtScript("ext:selvedge_node/files.js").setUmask(mask),
  unref() {},
  uptime: () => (op_frozen_now() - started) / 1000,
  version: `v${NODE_VERSION}`,
  versions: ObjectFreeze({
    node: NODE_VERSION,
    acorn: "8.15.0",
    ada: "3.3.0",
    amaro: "1.1.0",
    ares: "1.34.6",
    brotli: "1.2.0",
    cjs_module_lexer: "2.1.0",
    cldr: "48.0",
    icu: "78.3",
    llhttp: "9.4.1",
    modules: "147",
    napi: "10",
    nghttp2: "1.69.0",
    openssl: "3.0.7",
    simdjson: "4.0.0",
    simdutf: "7.0.0",
    sqlite: "3.53.1",
    tz: "2026b",
    undici: "7.0.0",
    unicode: "17.0",
    uv: "1.52.1",
    uvwasi: "0.0.23",
    v8: "15.0",
    zlib: "1.3.1",
    zstd: "1.5.7",
  }),
};
for (const name in members) define(name, members[name]);
lazily("allowedNodeEnvironmentFlags", () => new SafeSet());
ObjectDefineProperty(process, SymbolToStringTag, { __proto__: null, value: "process", configurable: true });

return { becomeEmitter, nextTick, process };
})();
