// What Deno's `node:` scripts take for the table of ops. The ops that compute are the real ones; those that would reach
// files, processes, sockets or threads do not exist in an isolate, and what stands in for them is here. Each of Deno's
// scripts loads this before it takes its ops apart, so this may load none of them.
(function () {
const { core, primordials } = __bootstrap;
const {
  Float64Array,
  ObjectSetPrototypeOf,
  Proxy,
  ReflectHas,
  StringPrototypeEndsWith,
  StringPrototypeStartsWith,
  Uint32Array,
} = primordials;

const ops = core.ops;

// The kind of machine that workers see, whatever this one is.
core.setBuildInfo("x86_64-unknown-linux-gnu");

const { unavailable } = core.loadExtScript("ext:selvedge_node/stubs.js");

let asyncIds = 1;

/** The base of what Node's bindings give handles to. */
class AsyncWrap {
  #id = asyncIds++;
  #provider;
  constructor(provider) {
    this.#provider = provider;
  }
  getAsyncId() {
    return this.#id;
  }
  getProviderType() {
    return this.#provider;
  }
}

class HandleWrap extends AsyncWrap {
  close(callback) {
    if (typeof callback === "function") core.queueMicrotask(callback);
  }
  hasRef() {
    return false;
  }
  ref() {}
  unref() {}
}

const standIns = {
  __proto__: null,
  AsyncWrap,
  HandleWrap,
  op_bootstrap_color_depth: () => 1,
  op_cpus: () => [],
  op_get_env_no_permission_check: (name) => core.loadExtScript("ext:selvedge_node/deno.js").env.get(name) ?? null,
  op_get_root_certificates: () => [],
  op_getegid: () => 0,
  op_geteuid: () => 0,
  op_getgroups: () => [],
  op_homedir: () => "/tmp",
  op_http2_callbacks: () => {},
  op_http2_error_string: (code) => `HTTP/2 error ${code}`,
  op_http2_http_state: () => ({
    settingsBuffer: new Uint32Array(64),
    optionsBuffer: new Uint32Array(64),
    sessionState: new Float64Array(16),
    streamState: new Float64Array(16),
  }),
  op_inspector_enabled: () => false,
  op_inspector_port: () => 0,
  // Makes deprecation warnings of Buffer() stay quiet, as for code in node_modules: bundled code all is.
  op_node_build_os: () => "linux",
  op_node_call_is_from_dependency: () => true,
  op_node_get_ca_certificates: () => [],
  // An index into TCP, TTY, UDP, FILE, PIPE, UNKNOWN, INVALID.
  op_node_guess_handle_type: (fd) => (fd < 3 ? 4 : 3),
  op_node_in_npm_package: () => false,
  op_node_new_async_id: () => asyncIds++,
  op_node_os_get_priority: () => 0,
  op_node_os_set_priority: () => {},
  op_node_os_user_info: () => ({ uid: 0, gid: 0, username: "worker", homedir: "/tmp", shell: null }),
  op_node_sys_to_uv_error: () => "",
  op_stream_base_register_state: () => {},
};

/** What the classes are for that Deno's scripts would make of ops. */
const NAMED = {
  __proto__: null,
  BaseHistogram: "a histogram of node:perf_hooks",
  EldHistogram: "the delay of an event loop (node:perf_hooks)",
  HTTPParser: "an HTTP server on a socket",
  Http2Session: "an HTTP/2 session on a socket",
  PipeWrap: "a pipe or Unix socket",
  TCPWrap: "a TCP socket of node:net",
  TLSWrap: "a TLS socket of node:tls",
  TTY: "a terminal",
  WasiContext: "node:wasi",
};

/** What an op belongs to, by how its name begins. */
const AREAS = [
  ["op_vm_", "node:vm (code from strings)"],
  ["op_v8_", "this part of node:v8"],
  ["op_inspector_", "node:inspector"],
  ["op_node_udp_", "a UDP socket of node:dgram"],
  ["op_host_", "a thread of node:worker_threads"],
  ["op_create_worker", "a thread of node:worker_threads"],
  ["op_worker", "a thread of node:worker_threads"],
  ["op_node_ipc_", "node:child_process"],
];

function areaOf(name) {
  for (let i = 0; i < AREAS.length; i++) {
    if (StringPrototypeStartsWith(name, AREAS[i][0])) return AREAS[i][1];
  }
  return `"${name}"`;
}

/** What `name` is, where no op has it: a stand-in, or a function (and class) that says that it is not to be had. */
function standIn(name) {
  const ours = standIns[name];
  if (ours !== undefined) return ours;
  if (
    StringPrototypeStartsWith(name, "op_fs_") || StringPrototypeStartsWith(name, "op_node_") ||
    StringPrototypeStartsWith(name, "op_require_")
  ) {
    const files = core.loadExtScript("ext:selvedge_node/fs_ops.js").ops;
    if (files[name] !== undefined) return files[name];
  }
  if (name === "op_dns_resolve" || name === "op_node_getaddrinfo" || name === "op_node_getnameinfo" || StringPrototypeStartsWith(name, "op_net_")) {
    const names = core.loadExtScript("ext:selvedge_node/dns.js");
    if (names[name] !== undefined) return names[name];
  }
  if (StringPrototypeEndsWith(name, "_async")) {
    const limited = core.loadExtScript("ext:selvedge_node/limits.js").asynchronous(name);
    if (limited !== undefined) return limited;
  }
  const what = NAMED[name] ?? areaOf(name);
  return {
    [name]: function () {
      throw unavailable(what);
    },
  }[name];
}

ObjectSetPrototypeOf(
  ops,
  new Proxy({ __proto__: null }, {
    __proto__: null,
    get: (target, name) => (typeof name === "string" ? standIn(name) : target[name]),
    has: (target, name) => ReflectHas(target, name),
  }),
);
core.loadExtScript("ext:selvedge_node/limits.js").bound(ops);

return ops;
})();
