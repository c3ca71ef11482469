// What Deno's `node:` scripts use of the `Deno` namespace: an environment of the worker's own bindings, an in-memory
// file system, and a machine that tells nothing of the real one.
(function () {
const { core, primordials } = __bootstrap;
const { Error, ObjectAssign, ObjectDefineProperty, String, TypeError } = primordials;

function errorClass(name) {
  const ErrorOfName = class extends Error {
    constructor(message, options) {
      super(message, options);
      this.name = name;
    }
  };
  ObjectDefineProperty(ErrorOfName, "name", { __proto__: null, value: name });
  return ErrorOfName;
}

const errors = {
  AddrInUse: errorClass("AddrInUse"),
  AddrNotAvailable: errorClass("AddrNotAvailable"),
  AlreadyExists: errorClass("AlreadyExists"),
  BadResource: core.BadResource,
  BrokenPipe: errorClass("BrokenPipe"),
  Busy: errorClass("Busy"),
  ConnectionAborted: errorClass("ConnectionAborted"),
  ConnectionRefused: errorClass("ConnectionRefused"),
  ConnectionReset: errorClass("ConnectionReset"),
  FilesystemLoop: errorClass("FilesystemLoop"),
  Interrupted: core.Interrupted,
  InvalidData: errorClass("InvalidData"),
  IsADirectory: errorClass("IsADirectory"),
  NetworkUnreachable: errorClass("NetworkUnreachable"),
  NotADirectory: errorClass("NotADirectory"),
  NotCapable: core.NotCapable,
  NotConnected: errorClass("NotConnected"),
  NotFound: errorClass("NotFound"),
  NotSupported: errorClass("NotSupported"),
  PermissionDenied: errorClass("PermissionDenied"),
  TimedOut: errorClass("TimedOut"),
  UnexpectedEof: errorClass("UnexpectedEof"),
  WouldBlock: errorClass("WouldBlock"),
  WriteZero: errorClass("WriteZero"),
};

// === environment ===

let variables;

/** The worker's text bindings, which the worker may then change for itself. */
function environment() {
  variables ??= ObjectAssign({ __proto__: null }, core.loadExtScript("ext:selvedge/env.js").processEnv);
  return variables;
}

const env = {
  get: (name) => environment()[name],
  set(name, value) {
    environment()[name] = String(value);
  },
  has: (name) => environment()[name] !== undefined,
  delete(name) {
    delete environment()[name];
  },
  toObject: () => ({ ...environment() }),
};

// === working directory ===

let directory = "/";

function cwd() {
  return directory;
}

function chdir(path) {
  directory = core.loadExtScript("ext:selvedge_node/files.js").directoryAt(String(path));
}

// === the machine ===

const MEMORY_BYTES = 128 * 1024 * 1024;

function systemMemoryInfo() {
  return {
    total: MEMORY_BYTES,
    free: MEMORY_BYTES,
    available: MEMORY_BYTES,
    buffers: 0,
    cached: 0,
    swapTotal: 0,
    swapFree: 0,
  };
}

const Deno = {
  args: [],
  build: core.build,
  chdir,
  cwd,
  env,
  errors,
  gid: () => 0,
  hostname: () => "localhost",
  internal: {},
  loadavg: () => [0, 0, 0],
  memoryUsage: () => ({ rss: 0, heapTotal: 0, heapUsed: 0, external: 0 }),
  networkInterfaces: () => [],
  noColor: true,
  osRelease: () => "",
  osUptime: () => 0,
  pid: 1,
  ppid: 0,
  systemMemoryInfo,
  uid: () => 0,
  version: { deno: "", v8: "", typescript: "" },
  addSignalListener() {},
  removeSignalListener() {},
  exit(code) {
    throw new TypeError(`process.exit(${code ?? 0}) was called`);
  },
};

const FILE_FUNCTIONS = [
  "chmod",
  "chown",
  "copyFile",
  "link",
  "lstat",
  "mkdir",
  "readDir",
  "readLink",
  "realPath",
  "remove",
  "rename",
  "stat",
  "symlink",
  "truncate",
  "utime",
];

function defineFileFunction(name) {
  ObjectDefineProperty(Deno, name, {
    __proto__: null,
    configurable: true,
    get() {
      const value = core.loadExtScript("ext:selvedge_node/fs_ops.js").functions[name];
      ObjectDefineProperty(Deno, name, { __proto__: null, value });
      return value;
    },
  });
}

for (const name of FILE_FUNCTIONS) {
  defineFileFunction(name);
  defineFileFunction(`${name}Sync`);
}
defineFileFunction("watchFs");

return Deno;
})();
