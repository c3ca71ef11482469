// `tls.TLSSocket` and `tls.connect` over `cloudflare:sockets`: the edge does TLS, and trusts what it trusts for fetch.
(function () {
const { core, primordials } = __bootstrap;
const {
  FunctionPrototypeCall,
  ObjectPrototypeIsPrototypeOf,
  ObjectSetPrototypeOf,
  String,
} = primordials;
const { handOver, kState, Socket, whenOpen } = core.loadExtScript("ext:selvedge_node/net_socket.js");
const { _normalizeArgs: normalizeArgs } = core.loadExtScript("ext:deno_node/net.ts");
const { unavailable } = core.loadExtScript("ext:selvedge_node/stubs.js");

/** Options that would change whom the edge trusts, or whom it says to be. */
const REFUSED = ["ca", "cert", "key", "pfx", "crl", "checkServerIdentity", "pskCallback"];

function refuse(options) {
  if (options.rejectUnauthorized === false) throw unavailable("tls.connect() with rejectUnauthorized: false");
  for (const name of REFUSED) {
    if (options[name] !== undefined && options[name] !== null) throw unavailable(`tls.connect() with the option ${name}`);
  }
}

function TLSSocket(socket, options = {}) {
  if (!ObjectPrototypeIsPrototypeOf(TLSSocket.prototype, this)) return new TLSSocket(socket, options);
  if (options.isServer) throw unavailable("a TLSSocket of a server");
  refuse(options);
  FunctionPrototypeCall(Socket, this, options);
  this.encrypted = true;
  this.authorized = false;
  this.authorizationError = null;
  this.alpnProtocol = false;
  this.servername = options.servername;
  this.secureConnecting = true;
  this.once("connect", () => {
    this.secureConnecting = false;
    this.authorized = true;
    this.emit("secureConnect");
    this.emit("secure");
  });
  if (socket === undefined || socket === null) return;
  if (!ObjectPrototypeIsPrototypeOf(Socket.prototype, socket)) throw unavailable("a TLSSocket over a stream that is no net.Socket");
  const state = this[kState];
  this.connecting = true;
  socket.once("error", (error) => this.destroy(error));
  whenOpen(socket, () => {
    const { host, port } = socket[kState];
    state.host = this._host = host;
    state.port = port;
    const plain = handOver(socket);
    if (plain === undefined) return this.destroy(unavailable("TLS over a socket that is closed"));
    this._began(plain);
  });
}
ObjectSetPrototypeOf(TLSSocket.prototype, Socket.prototype);
ObjectSetPrototypeOf(TLSSocket, Socket);

TLSSocket.prototype._began = function (plain) {
  const name = this.servername;
  const secured = plain.startTls(name === undefined || name === "" ? undefined : { expectedServerHostname: String(name) });
  FunctionPrototypeCall(Socket.prototype._began, this, secured);
};

const ANSWERS = {
  __proto__: null,
  getPeerCertificate: () => ({}),
  getPeerX509Certificate: () => undefined,
  getCertificate: () => ({}),
  getCipher: () => ({}),
  getProtocol: () => null,
  getSession: () => undefined,
  getTLSTicket: () => undefined,
  getFinished: () => undefined,
  getPeerFinished: () => undefined,
  getEphemeralKeyInfo: () => ({}),
  getSharedSigalgs: () => [],
  isSessionReused: () => false,
  setMaxSendFragment: () => true,
  disableRenegotiation: () => undefined,
  enableTrace: () => undefined,
};
for (const name in ANSWERS) {
  TLSSocket.prototype[name] = function () {
    return ANSWERS[name]();
  };
}
TLSSocket.prototype.renegotiate = function () {
  throw unavailable("TLSSocket.renegotiate()");
};
TLSSocket.prototype.setServername = function (name) {
  this.servername = name;
};

function connect(...args) {
  let [options, listener] = normalizeArgs(args);
  // connect(port, host, options, listener) and connect(port, options, listener)
  for (const argument of args) {
    if (typeof argument === "object" && argument !== null) options = { ...options, ...argument };
  }
  const socket = new TLSSocket(options.socket, options);
  if (listener !== null && listener !== undefined) socket.once("secureConnect", listener);
  if (options.socket === undefined || options.socket === null) {
    FunctionPrototypeCall(Socket.prototype.connect, socket, options);
  }
  return socket;
}

return { connect, TLSSocket };
})();
