// `net.Socket` over `cloudflare:sockets`: a connection leaves by the host door, and the edge resolves, filters and dials.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayPrototypeMap,
  Error,
  FunctionPrototypeCall,
  Number,
  ObjectDefineProperty,
  ObjectPrototypeIsPrototypeOf,
  ObjectSetPrototypeOf,
  PromisePrototypeThen,
  ReflectApply,
  SafeRegExp,
  RegExpPrototypeExec,
  RegExpPrototypeTest,
  String,
  Symbol,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetByteOffset,
} = primordials;
const { Duplex } = core.createLazyLoader("node:stream")();
const { Buffer } = core.loadExtScript("ext:deno_node/internal/buffer.mjs");
const { nextTick } = core.loadExtScript("ext:deno_node/_next_tick.ts");
const { validateFunction, validatePort } = core.loadExtScript("ext:deno_node/internal/validators.mjs");
const { getTimerDuration } = core.loadExtScript("ext:deno_node/internal/timers.mjs");
const { ERR_MISSING_ARGS, ERR_SOCKET_CLOSED } = core.loadExtScript("ext:deno_node/internal/errors.ts");
const { _normalizeArgs: normalizeArgs } = core.loadExtScript("ext:deno_node/net.ts");
const { connect: dial } = core.loadExtScript("ext:selvedge/sockets.js");
const { unavailable } = core.loadExtScript("ext:selvedge_node/stubs.js");
const { setTimeout, clearTimeout } = core.loadExtScript("ext:deno_web/02_timers.js");

/** What a Socket keeps of its connection. */
const kState = Symbol("state");

/** Node's codes, by what the edge says. */
const CODES = [
  ["ECONNREFUSED", new SafeRegExp(/refused/i)],
  ["ETIMEDOUT", new SafeRegExp(/timed? ?out|given up/i)],
  ["ENOTFOUND", new SafeRegExp(/resolve|no such host|name/i)],
  ["EACCES", new SafeRegExp(/private|loopback|forbidden|not allowed|link-local/i)],
];

function connectError(error, host, port) {
  const message = String(error?.message ?? error);
  let code = "ECONNRESET";
  for (let i = 0; i < CODES.length; i++) {
    if (RegExpPrototypeTest(CODES[i][1], message)) {
      code = CODES[i][0];
      break;
    }
  }
  const failure = new Error(`connect ${code} ${host}:${port} (${message})`);
  failure.code = code;
  failure.syscall = "connect";
  failure.address = host;
  failure.port = port;
  return failure;
}

function Socket(options = undefined) {
  if (!ObjectPrototypeIsPrototypeOf(Socket.prototype, this)) return new Socket(options);
  if (typeof options === "number" || options?.fd !== undefined) throw unavailable("net.Socket of a descriptor");
  FunctionPrototypeCall(Duplex, this, {
    ...options,
    allowHalfOpen: options?.allowHalfOpen === true,
    autoDestroy: true,
    // `close` says whether there was an error, which the stream's own does not.
    emitClose: false,
    decodeStrings: true,
  });
  this[kState] = {
    socket: undefined,
    reader: undefined,
    writer: undefined,
    reading: false,
    timer: undefined,
    remote: undefined,
    local: undefined,
    host: undefined,
    port: undefined,
    bytesRead: 0,
    bytesWritten: 0,
  };
  this.connecting = false;
  this.timeout = 0;
  this._host = null;
  this.server = null;
}
ObjectSetPrototypeOf(Socket.prototype, Duplex.prototype);
ObjectSetPrototypeOf(Socket, Duplex);

/** The socket of `cloudflare:sockets` that this one's bytes go by, from now on. */
function carry(self, socket) {
  const state = self[kState];
  state.socket = socket;
  state.reader = socket.readable.getReader();
  state.writer = socket.writable.getWriter();
  // What ends it is learnt by reading and writing.
  for (const settled of [socket.closed, state.reader.closed, state.writer.closed, state.writer.ready]) {
    PromisePrototypeThen(settled, undefined, () => {});
  }
}

/** Gives the connection up to a TLS socket: `cloudflare:sockets` takes streams that nobody holds. */
function handOver(self) {
  const state = self[kState];
  const { socket } = state;
  state.reader?.releaseLock();
  state.writer?.releaseLock();
  state.socket = state.reader = state.writer = undefined;
  return socket;
}

function opened(self, info) {
  const state = self[kState];
  state.remote = split(info.remoteAddress);
  state.local = split(info.localAddress);
  self.connecting = false;
  touch(self);
  self.emit("connect");
  self.emit("ready");
  if (!self.destroyed && !self.isPaused()) self.read(0);
}

/** `address:port` in its parts. */
function split(text) {
  const match = text === null || text === undefined ? null : RegExpPrototypeExec(/^\[?(.*?)\]?:(\d+)$/, text);
  return match === null ? undefined : { address: match[1], port: Number(match[2]) };
}

/** The socket is in use: its timeout starts anew. */
function touch(self) {
  const state = self[kState];
  clearTimeout(state.timer);
  state.timer = undefined;
  if (self.timeout > 0 && !self.destroyed) state.timer = setTimeout(() => self._onTimeout(), self.timeout);
}

/** Runs `act` once there is a connection. */
function whenOpen(self, act) {
  if (self.connecting) self.once("connect", act);
  else act();
}

Socket.prototype.connect = function connect(...args) {
  const [options, listener] = normalizeArgs(args.length === 1 && args[0]?.length !== undefined && typeof args[0] === "object" ? args[0] : args);
  if (listener !== null && listener !== undefined) this.once("connect", listener);
  if (options.path !== undefined && options.path !== null) throw unavailable("net.connect() to a path");
  if (options.port === undefined) throw new ERR_MISSING_ARGS(["options", "port", "path"]);
  if (this.connecting) return this;
  const host = String(options.host ?? "localhost");
  const port = Number(validatePort(options.port));
  const state = this[kState];
  this._host = state.host = host;
  state.port = port;
  this.connecting = true;
  if (options.timeout) this.setTimeout(options.timeout);
  let socket;
  try {
    socket = dial({ hostname: host, port }, { allowHalfOpen: true, secureTransport: "starttls" });
  } catch (error) {
    nextTick(() => this.destroy(connectError(error, host, port)));
    return this;
  }
  this._began(socket);
  return this;
};

/** Takes up a connection that is being made; a TLS socket secures it first. */
Socket.prototype._began = function (socket) {
  const { host, port } = this[kState];
  carry(this, socket);
  PromisePrototypeThen(socket.opened, (info) => {
    if (!this.destroyed) opened(this, info);
  }, (error) => this.destroy(connectError(error, host, port)));
};

Socket.prototype._read = function () {
  const state = this[kState];
  if (this.connecting || state.socket === undefined) {
    this.once("connect", () => this._read());
    return;
  }
  if (state.reading) return;
  state.reading = true;
  pull(this);
};

async function pull(self) {
  const state = self[kState];
  const { reader } = state;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (self.destroyed || state.reader !== reader) return;
      touch(self);
      if (done) {
        state.reading = false;
        self.push(null);
        return;
      }
      state.bytesRead += TypedArrayPrototypeGetByteLength(value);
      const bytes = Buffer.from(
        TypedArrayPrototypeGetBuffer(value),
        TypedArrayPrototypeGetByteOffset(value),
        TypedArrayPrototypeGetByteLength(value),
      );
      if (!self.push(bytes)) {
        state.reading = false;
        return;
      }
    }
  } catch (error) {
    state.reading = false;
    if (state.reader === reader) self.destroy(brokenBy(error, "read"));
  }
}

function brokenBy(error, syscall) {
  const failure = new Error(`${syscall} ECONNRESET (${String(error?.message ?? error)})`);
  failure.code = "ECONNRESET";
  failure.syscall = syscall;
  return failure;
}

Socket.prototype._write = function (chunk, _encoding, callback) {
  whenOpen(this, () => {
    const state = this[kState];
    if (state.writer === undefined) return callback(new ERR_SOCKET_CLOSED());
    touch(this);
    PromisePrototypeThen(state.writer.write(chunk), () => {
      state.bytesWritten += TypedArrayPrototypeGetByteLength(chunk);
      callback();
    }, (error) => callback(brokenBy(error, "write")));
  });
};

Socket.prototype._writev = function (chunks, callback) {
  const pieces = ArrayPrototypeMap(chunks, ({ chunk }) => chunk);
  this._write(Buffer.concat(pieces), "buffer", callback);
};

Socket.prototype._writeGeneric = function (writev, data, encoding, callback) {
  if (writev) this._writev(data, callback);
  else this._write(data, encoding, callback);
};

// Node has them on its own prototype; code that wraps them looks there.
for (const name of ["end", "pause", "read", "resume"]) {
  const inherited = Duplex.prototype[name];
  Socket.prototype[name] = {
    [name](...args) {
      return ReflectApply(inherited, this, args);
    },
  }[name];
}

Socket.prototype._onTimeout = function () {
  this.emit("timeout");
};
Socket.prototype._unrefTimer = function () {
  touch(this);
};
Socket.prototype._reset = function () {
  return this.resetAndDestroy();
};
Socket.prototype._getpeername = function () {
  const { remote } = this[kState];
  return remote === undefined ? {} : { ...remote, family: familyOf(remote.address) };
};
Socket.prototype._getsockname = function () {
  return this.address();
};

Socket.prototype._final = function (callback) {
  whenOpen(this, () => {
    const { writer } = this[kState];
    if (writer === undefined) return callback();
    PromisePrototypeThen(writer.close(), () => callback(), (error) => callback(brokenBy(error, "shutdown")));
  });
};

Socket.prototype._destroy = function (error, callback) {
  const state = this[kState];
  this.connecting = false;
  clearTimeout(state.timer);
  const { socket } = state;
  if (socket !== undefined) {
    handOver(this);
    PromisePrototypeThen(socket.close(), undefined, () => {});
  }
  callback(error);
  nextTick(() => this.emit("close", error !== null && error !== undefined));
};

Socket.prototype.destroySoon = function () {
  if (this.writable) this.end();
  if (this.writableFinished) this.destroy();
  else this.once("finish", this.destroy);
};

Socket.prototype.resetAndDestroy = function () {
  return this.destroy();
};

Socket.prototype.setTimeout = function (milliseconds, listener = undefined) {
  this.timeout = getTimerDuration(milliseconds, "msecs");
  if (listener !== undefined) {
    validateFunction(listener, "callback");
    if (this.timeout > 0) this.once("timeout", listener);
    else this.removeListener("timeout", listener);
  }
  touch(this);
  return this;
};

// The edge's connection has no delay and is kept alive; no process waits for a socket.
for (const name of ["setNoDelay", "setKeepAlive", "ref", "unref"]) {
  Socket.prototype[name] = {
    [name]() {
      return this;
    },
  }[name];
}

Socket.prototype.address = function () {
  const { local } = this[kState];
  return local === undefined ? {} : { ...local, family: familyOf(local.address) };
};

function familyOf(address) {
  return RegExpPrototypeTest(/:/, address) ? "IPv6" : "IPv4";
}

function getter(name, get) {
  ObjectDefineProperty(Socket.prototype, name, { __proto__: null, get, configurable: true, enumerable: true });
}
getter("pending", function () {
  return this.connecting || this[kState].socket === undefined;
});
getter("readyState", function () {
  if (this.connecting) return "opening";
  if (this[kState].socket === undefined) return "closed";
  if (this.readable && this.writable) return "open";
  return this.readable ? "readOnly" : this.writable ? "writeOnly" : "closed";
});
getter("remoteAddress", function () {
  return this[kState].remote?.address;
});
getter("remotePort", function () {
  return this[kState].remote?.port;
});
getter("remoteFamily", function () {
  const { remote } = this[kState];
  return remote === undefined ? undefined : familyOf(remote.address);
});
getter("localAddress", function () {
  return this[kState].local?.address;
});
getter("localPort", function () {
  return this[kState].local?.port;
});
getter("localFamily", function () {
  const { local } = this[kState];
  return local === undefined ? undefined : familyOf(local.address);
});
getter("bytesRead", function () {
  return this[kState].bytesRead;
});
getter("bytesWritten", function () {
  return this[kState].bytesWritten;
});
getter("_bytesDispatched", function () {
  return this[kState].bytesWritten;
});
getter("_connecting", function () {
  return this.connecting;
});
getter("bufferSize", function () {
  return this.writableLength;
});

function connect(...args) {
  const normalized = normalizeArgs(args);
  const socket = new Socket(normalized[0]);
  return FunctionPrototypeCall(Socket.prototype.connect, socket, normalized);
}

return {
  connect,
  handOver,
  kState,
  Socket,
  whenOpen,
  /** What `node:net` has of ours. */
  exports: { connect, createConnection: connect, Socket, Stream: Socket },
};
})();
