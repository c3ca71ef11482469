// WebSockets: pairs within the isolate, and sockets whose other end is a stream of the host door. The edge speaks the
// protocol; here a socket is a sequence of messages and a close.
(function () {
const { core, primordials } = __bootstrap;
const {
  op_event_renew,
  op_message_close,
  op_message_next,
  op_message_send,
  op_stream_finish,
  op_stream_writable,
} = core.ops;
const {
  ArrayBufferIsView,
  ArrayBufferPrototypeGetByteLength,
  ArrayPrototypeIncludes,
  ArrayPrototypeJoin,
  ArrayPrototypePush,
  ArrayPrototypeShift,
  NumberIsNaN,
  ObjectDefineProperties,
  ObjectPrototypeIsPrototypeOf,
  Promise,
  PromisePrototypeThen,
  PromiseResolve,
  RegExpPrototypeExec,
  SafeRegExp,
  String,
  Symbol,
  SymbolIterator,
  SymbolToStringTag,
  TypedArrayPrototypeSlice,
  TypeError,
  Uint8Array,
} = primordials;
const { CloseEvent, defineEventHandler, ErrorEvent, Event, EventTarget, MessageEvent, setIsTrusted } = core
  .loadExtScript("ext:deno_web/02_event.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const { URL } = core.loadExtScript("ext:deno_web/00_url.js");
const { BlobPrototype, Blob } = core.loadExtScript("ext:deno_web/09_file.js");
const { current } = core.loadExtScript("ext:selvedge/events.js");
const { isEnabled } = core.loadExtScript("ext:selvedge/compatibility.js");
const { getAsyncContext, setAsyncContext } = core;

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** A close frame without a code, and a connection that ended without a close frame (RFC 6455, section 7.4.1). */
const NO_STATUS = 1005;
const ABNORMAL = 1006;
const REASON_BYTES_MAX = 123;
/** As on Workers. */
const MESSAGE_BYTES_MAX = 32 * 1024 * 1024;
const ATTACHMENT_BYTES_MAX = 16 * 1024;
const TOKEN = new SafeRegExp("^[!#$%&'*+\\-.^_`|~0-9A-Za-z]+$");

const NOT_ACCEPTED =
  "You must call one of accept() or state.acceptWebSocket() on this WebSocket before sending messages.";

const _init = Symbol("socket without a connection");

/**
 * @typedef {{ kind: "text", text: string } | { kind: "binary", data: Uint8Array }
 *   | { kind: "close", code: number, reason: string } | { kind: "lost", reason: string }} Message
 */

// === ways out of a socket ===

/** What a socket sends goes to the other socket of its pair. */
class PeerLink {
  buffered = 0;
  constructor(peer) {
    this.peer = peer;
  }
  send(message) {
    deliver(this.peer, message);
  }
}

/** What a socket sends goes to a stream of the host door, as fast as its receiver takes it. */
class StreamLink {
  #queue = [];
  #sending = false;
  #resolve;
  buffered = 0;
  /** Resolves when nothing more will be sent. */
  ended = new Promise((resolve) => {
    this.#resolve = resolve;
  });
  #over = false;

  constructor(stream) {
    this.stream = stream;
  }

  /** @param {Message} message */
  send(message) {
    if (this.#over) return;
    if (this.#sending || !this.#write(message)) {
      ArrayPrototypePush(this.#queue, message);
      this.buffered += messageBytes(message);
      if (!this.#sending) this.#drain();
    }
  }

  /** @returns {boolean} whether there was room */
  #write(message) {
    switch (message.kind) {
      case "text":
        return op_message_send(this.stream, message.text, null);
      case "binary":
        return op_message_send(this.stream, null, message.data);
      case "close":
        op_message_close(this.stream, message.code, message.reason);
        return this.#end();
      default:
        return this.#end();
    }
  }

  async #drain() {
    this.#sending = true;
    try {
      while (this.#queue.length > 0) {
        const message = this.#queue[0];
        if (this.#write(message)) {
          ArrayPrototypeShift(this.#queue);
          this.buffered -= messageBytes(message);
        } else {
          await op_stream_writable(this.stream);
        }
      }
    } catch {
      // The receiver is gone; the reading half tells of it.
      this.#queue = [];
      this.buffered = 0;
      this.#end();
    }
    this.#sending = false;
  }

  #end() {
    if (!this.#over) {
      this.#over = true;
      op_stream_finish(this.stream);
      this.#resolve();
    }
    return true;
  }

  /** Nothing more will come from this side. */
  finish() {
    if (!this.#sending) this.#end();
    else ArrayPrototypePush(this.#queue, { kind: "end" });
  }
}

function messageBytes(message) {
  if (message.kind === "text") return message.text.length;
  return message.kind === "binary" ? message.data.byteLength : 0;
}

// === WebSocket ===

/** What a socket knows, apart from what its user sees. */
class State {
  readyState = OPEN;
  /** Where messages go: set before anything can be sent. */
  link = null;
  /** What arrived and was not yet dispatched. */
  queue = [];
  accepted = false;
  dispatching = false;
  /** The socket was given away in a Response: its messages go there. */
  coupled = null;
  closeSent = false;
  closeReceived = false;
  halfOpen = false;
  /** What the event listeners run under. */
  context = undefined;
  event = 0;
  onAccept = [];
  /** Settles when the Blobs that were sent are read; null where there are none. */
  reading = null;
  attachment = null;
  binaryType = isEnabled("websocket_standard_binary_type") ? "blob" : "arraybuffer";
  url = null;
  protocol = "";
  extensions = "";
}

class WebSocket extends EventTarget {
  #state = new State();

  constructor(url, protocols = undefined) {
    super();
    if (url === _init) return;
    if (arguments.length === 0) {
      throw new TypeError("Failed to construct 'WebSocket': 1 argument required, but only 0 present");
    }
    const state = this.#state;
    state.readyState = CONNECTING;
    state.url = parseUrl(url);
    const offered = parseProtocols(protocols);
    begin(this, state);
    dial(this, state, offered);
  }

  static [_init](socket) {
    return socket.#state;
  }

  /** Whether `value` is a WebSocket. */
  static #has(value) {
    return #state in value;
  }
  static isWebSocket(value) {
    return value !== null && typeof value === "object" && WebSocket.#has(value);
  }

  /** Starts to receive: from now on messages are dispatched as events. */
  accept(options = undefined) {
    const state = this.#state;
    if (state.coupled !== null) {
      throw new TypeError("Can't accept() WebSocket that was already used in a response.");
    }
    if (state.readyState === CONNECTING) {
      throw new TypeError("Websockets obtained from the 'new WebSocket()' constructor cannot call accept");
    }
    if (state.accepted) {
      if (state.url !== null) {
        throw new TypeError("Websockets obtained from the 'new WebSocket()' constructor cannot call accept");
      }
      return;
    }
    state.halfOpen = options?.allowHalfOpen === true || !isEnabled("web_socket_auto_reply_to_close");
    begin(this, state);
    flush(this, state);
  }

  /** @param {string | ArrayBuffer | ArrayBufferView} data */
  send(data) {
    const state = this.#state;
    // https://websockets.spec.whatwg.org/#dom-websocket-send takes a Blob as well.
    if (arguments.length === 0) {
      throw new TypeError("Failed to execute 'send' on 'WebSocket': 1 argument required, but only 0 present");
    }
    if (state.readyState === CONNECTING) {
      throw new DOMException("Cannot call send() on a WebSocket that is still connecting.", "InvalidStateError");
    }
    if (!state.accepted) {
      throw new TypeError(NOT_ACCEPTED);
    }
    const blob = ObjectPrototypeIsPrototypeOf(BlobPrototype, data);
    const message = blob ? null : messageOf(data);
    if (state.closeSent) {
      // What follows the other side's close goes nowhere, as in browsers.
      if (state.closeReceived || state.url !== null) return;
      throw new TypeError("Can't call WebSocket send() after close().");
    }
    if (blob) transmitBlob(state, data);
    else transmit(state, message);
  }

  close(code = undefined, reason = undefined) {
    const state = this.#state;
    if (code !== undefined && code !== null) {
      code = +code;
      if (!isSendableCode(code)) {
        throw new DOMException(`Invalid WebSocket close code: ${code}.`, "InvalidAccessError");
      }
    } else {
      code = undefined;
    }
    reason = reason === undefined || reason === null ? "" : String(reason);
    if (code === undefined && reason !== "") {
      throw new DOMException(
        "If you specify a WebSocket close reason, you must also specify a code.",
        "InvalidAccessError",
      );
    }
    if (core.byteLength(reason) > REASON_BYTES_MAX) {
      throw new DOMException(
        `WebSocket close reason must not be longer than ${REASON_BYTES_MAX} bytes when UTF-8 encoded.`,
        "SyntaxError",
      );
    }
    if (state.readyState === CONNECTING) {
      state.readyState = CLOSING;
      return;
    }
    if (!state.accepted) throw new TypeError(NOT_ACCEPTED);
    sendClose(state, code ?? NO_STATUS, reason);
  }

  get readyState() {
    return this.#state.readyState;
  }
  get url() {
    return this.#state.url;
  }
  get protocol() {
    return this.#state.protocol;
  }
  get extensions() {
    return this.#state.extensions;
  }
  get bufferedAmount() {
    return this.#state.link?.buffered ?? 0;
  }
  get binaryType() {
    return this.#state.binaryType;
  }
  set binaryType(value) {
    if (value === "blob" || value === "arraybuffer") this.#state.binaryType = value;
  }

  /** Keeps a copy of a value with the socket. */
  serializeAttachment(value) {
    if (arguments.length === 0) {
      throw new TypeError("Failed to execute 'serializeAttachment' on 'WebSocket': 1 argument required");
    }
    const bytes = core.serialize(value, { forStorage: true });
    if (bytes.byteLength > ATTACHMENT_BYTES_MAX) {
      throw new Error(
        `A WebSocket 'attachment' cannot be larger than ${ATTACHMENT_BYTES_MAX} bytes. 'attachment' was ${bytes.byteLength} bytes.`,
      );
    }
    this.#state.attachment = bytes;
  }
  deserializeAttachment() {
    const { attachment } = this.#state;
    return attachment === null ? null : core.deserialize(attachment, { forStorage: true });
  }
}

const stateOf = WebSocket[_init];
const isWebSocket = WebSocket.isWebSocket;
delete WebSocket[_init];
delete WebSocket.isWebSocket;

const constants = { __proto__: null };
for (const [name, value] of [["CONNECTING", CONNECTING], ["OPEN", OPEN], ["CLOSING", CLOSING], ["CLOSED", CLOSED]]) {
  const constant = { __proto__: null, value, enumerable: true };
  constants[name] = constant;
  constants[`READY_STATE_${name}`] = constant;
}
ObjectDefineProperties(WebSocket, constants);
ObjectDefineProperties(WebSocket.prototype, constants);
ObjectDefineProperties(WebSocket.prototype, {
  [SymbolToStringTag]: { __proto__: null, value: "WebSocket", configurable: true },
});
for (const name of ["open", "message", "close", "error"]) defineEventHandler(WebSocket.prototype, name);

/** Codes that a close frame may be given (RFC 6455, section 7.4). */
function isSendableCode(code) {
  if (NumberIsNaN(code) || code !== code >>> 0) return false;
  return (code >= 1000 && code <= 4999) && code !== 1004 && code !== NO_STATUS && code !== ABNORMAL && code !== 1015;
}

/** @returns {Message} */
function messageOf(data) {
  let message;
  if (typeof data === "string") {
    message = { kind: "text", text: data };
  } else if (core.isAnyArrayBuffer(data)) {
    message = { kind: "binary", data: TypedArrayPrototypeSlice(new Uint8Array(data)) };
  } else if (ArrayBufferIsView(data)) {
    const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    message = { kind: "binary", data: TypedArrayPrototypeSlice(view) };
  } else {
    message = { kind: "text", text: String(data) };
  }
  const bytes = messageBytes(message);
  if (bytes > MESSAGE_BYTES_MAX) {
    throw new TypeError(`Message is too large: a WebSocket message has at most ${MESSAGE_BYTES_MAX} bytes.`);
  }
  return message;
}

/** From now on what arrives is dispatched, under the event that is running. */
function begin(socket, state) {
  state.accepted = true;
  state.context = getAsyncContext();
  state.event = current()?.stream ?? 0;
  for (let i = 0; i < state.onAccept.length; i++) state.onAccept[i](true);
  state.onAccept = [];
}

/** Resolves when the socket is accepted or given away. */
function whenAccepted(state) {
  if (state.accepted || state.coupled !== null) return undefined;
  return new Promise((resolve) => ArrayPrototypePush(state.onAccept, resolve));
}

function sendClose(state, code, reason) {
  if (state.closeSent || state.readyState === CLOSED) return;
  state.closeSent = true;
  state.readyState = state.closeReceived ? CLOSED : CLOSING;
  transmit(state, { kind: "close", code, reason });
}

/** Sends a message, after whatever was sent before it. */
function transmit(state, message) {
  if (state.reading === null) state.link.send(message);
  else later(state, () => state.link.send(message));
}

/** Sends what a Blob holds, once it is read; what is sent meanwhile waits. */
function transmitBlob(state, blob) {
  const bytes = blob.arrayBuffer();
  later(state, () => PromisePrototypeThen(bytes, (buffer) => state.link.send(messageOf(buffer))));
}

function later(state, step) {
  const settled = () => {
    if (state.reading === done) state.reading = null;
  };
  const done = PromisePrototypeThen(PromisePrototypeThen(state.reading ?? PromiseResolve(), step), settled, settled);
  state.reading = done;
}

// === arrival ===

/** A message for `socket`. */
function deliver(socket, message) {
  const state = stateOf(socket);
  if (state.coupled !== null) {
    state.coupled.send(message);
    return;
  }
  ArrayPrototypePush(state.queue, message);
  if (state.accepted) flush(socket, state);
}

/** Dispatches what is queued, soon. */
function flush(socket, state) {
  if (state.dispatching || state.queue.length === 0) return;
  state.dispatching = true;
  PromisePrototypeThen(PromiseResolve(), () => {
    while (state.queue.length > 0) dispatchMessage(socket, state, ArrayPrototypeShift(state.queue));
    state.dispatching = false;
  });
}

function fire(socket, state, event) {
  setIsTrusted(event, true);
  const previous = getAsyncContext();
  setAsyncContext(state.context);
  try {
    socket.dispatchEvent(event);
  } finally {
    setAsyncContext(previous);
  }
}

function dispatchMessage(socket, state, message) {
  if (state.readyState === CLOSED || state.closeReceived) return;
  switch (message.kind) {
    case "text":
      fire(socket, state, new MessageEvent("message", { data: message.text }));
      break;
    case "binary": {
      const { data } = message;
      const value = state.binaryType === "blob"
        ? new Blob([data])
        : data.byteLength === ArrayBufferPrototypeGetByteLength(data.buffer)
        ? data.buffer
        : TypedArrayPrototypeSlice(data).buffer;
      fire(socket, state, new MessageEvent("message", { data: value }));
      break;
    }
    case "close": {
      state.closeReceived = true;
      const wasClean = message.code !== ABNORMAL;
      if (!wasClean) {
        state.readyState = CLOSED;
        state.closeSent = true;
        state.link.finish?.();
      } else if (state.closeSent) {
        state.readyState = CLOSED;
      } else if (state.halfOpen) {
        state.readyState = CLOSING;
      } else {
        // As RFC 6455 wants it, the close is answered with its own code.
        sendClose(state, message.code, message.reason);
      }
      fire(socket, state, new CloseEvent("close", { code: message.code, reason: message.reason, wasClean }));
      break;
    }
    case "lost": {
      const error = new Error(message.reason || "Network connection lost.");
      fire(socket, state, new ErrorEvent("error", { message: error.message, error }));
      dispatchMessage(socket, state, { kind: "close", code: ABNORMAL, reason: "" });
      break;
    }
  }
}

// === streams of the host door ===

/**
 * Delivers what arrives on resource `rid` until its end.
 * @param {(message: Message) => void} each
 * @param {() => Promise<unknown> | undefined} ready waits until more is wanted
 */
async function receive(rid, each, ready) {
  try {
    while (true) {
      const waiting = ready();
      if (waiting !== undefined) await waiting;
      const message = await op_message_next(rid);
      if (message.kind === "end") break;
      each(message);
      if (message.kind === "close" || message.kind === "lost") break;
    }
  } catch {
    each({ kind: "close", code: ABNORMAL, reason: "" });
  } finally {
    core.tryClose(rid);
  }
}

/** The reading half of a socket whose other end is a stream. */
function receiveFor(socket, state, rid) {
  return receive(rid, (message) => {
    if (state.coupled !== null) {
      state.coupled.send(message);
      return;
    }
    if (state.event !== 0) op_event_renew(state.event);
    if (state.dispatching || state.queue.length > 0) deliver(socket, message);
    else dispatchMessage(socket, state, message);
  }, () => whenAccepted(state));
}

/**
 * The socket of a `101` answer: what the server of a subrequest sends and is sent.
 * @param {number} stream
 * @param {number | Uint8Array} rid the inbound messages
 * @param {[string, string][]} headerList
 */
function clientOfStream(stream, rid, headerList = []) {
  const socket = new WebSocket(_init);
  const state = stateOf(socket);
  state.link = new StreamLink(stream);
  for (let i = 0; i < headerList.length; i++) {
    if (headerList[i][0] === "sec-websocket-protocol") state.protocol = headerList[i][1];
    if (headerList[i][0] === "sec-websocket-extensions") state.extensions = headerList[i][1];
  }
  if (typeof rid === "number") receiveFor(socket, state, rid);
  else deliver(socket, { kind: "close", code: ABNORMAL, reason: "" });
  return socket;
}

/**
 * Gives a socket to the client of an event: what the other side of it sends goes to `stream`, and back.
 * @param {WebSocket} socket as given to a Response
 * @param {number} stream
 * @param {number} rid the client's messages
 * @returns {Promise<void>} settles when the client's socket is over
 */
function serve(socket, stream, rid) {
  const state = stateOf(socket);
  const out = new StreamLink(stream);
  state.coupled = out;
  for (let i = 0; i < state.queue.length; i++) out.send(state.queue[i]);
  state.queue = [];
  // A socket of a subrequest has no listeners to wait for.
  for (let i = 0; i < state.onAccept.length; i++) state.onAccept[i](true);
  state.onAccept = [];
  const peer = state.link.peer;
  const peerState = peer === undefined ? undefined : stateOf(peer);
  const received = receive(rid, (message) => {
    if (peerState !== undefined && peerState.event !== 0) op_event_renew(peerState.event);
    if (message.kind === "lost") message = { kind: "close", code: ABNORMAL, reason: "" };
    if (
      peerState !== undefined && peerState.accepted && !peerState.dispatching && peerState.queue.length === 0 &&
      peerState.coupled === null
    ) {
      dispatchMessage(peer, peerState, message);
    } else {
      state.link.send(message);
    }
    // A client that is gone takes no more.
    if (message.kind === "close" && message.code === ABNORMAL) out.finish();
  }, () => peerState === undefined || peerState.coupled !== null ? undefined : whenAccepted(peerState));
  return PromisePrototypeThen(received, () => out.ended);
}

function assertWebSocket(value) {
  if (!isWebSocket(value)) {
    throw new TypeError(
      "Incorrect type for the 'webSocket' field on 'ResponseInit': the provided value is not of type 'WebSocket'.",
    );
  }
}

/** Whether the client of an event may be given a socket, and if not, why. */
function assertGivable(socket) {
  const state = stateOf(socket);
  if (state.accepted) throw new TypeError("Can't return WebSocket in a Response after calling accept().");
  if (state.coupled !== null) throw new TypeError("Can't return WebSocket that was already used in a response.");
}

// === dialling ===

function parseUrl(url) {
  let parsed;
  try {
    parsed = new URL(String(url));
  } catch {
    throw new DOMException(`Invalid WebSocket URL: "${url}"`, "SyntaxError");
  }
  if (parsed.protocol === "http:") parsed.protocol = "ws:";
  else if (parsed.protocol === "https:") parsed.protocol = "wss:";
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    throw new DOMException("WebSocket Constructor: The url scheme must be ws or wss.", "SyntaxError");
  }
  if (parsed.hash !== "") {
    throw new DOMException("WebSocket Constructor: The url fragment must be empty.", "SyntaxError");
  }
  return parsed.href;
}

function parseProtocols(protocols) {
  if (protocols === undefined || protocols === null) return [];
  const list = typeof protocols === "string" ? [protocols] : [...protocols];
  const seen = [];
  for (let i = 0; i < list.length; i++) {
    const protocol = String(list[i]);
    if (RegExpPrototypeExec(TOKEN, protocol) === null) {
      throw new DOMException(`The protocol header token is invalid: "${protocol}"`, "SyntaxError");
    }
    if (ArrayPrototypeIncludes(seen, protocol)) {
      throw new DOMException("WebSocket Constructor: duplicate protocols in list.", "SyntaxError");
    }
    ArrayPrototypePush(seen, protocol);
  }
  return seen;
}

async function dial(socket, state, protocols) {
  const { ask } = core.loadExtScript("ext:selvedge/door.js");
  const headers = protocols.length === 0
    ? ""
    : "\nsec-websocket-protocol\n" + ArrayPrototypeJoin(protocols, ", ");
  let reply;
  try {
    reply = await ask(
      { target: "fetch", method: "GET", url: state.url, meta: '{"websocket":true}', headers },
      null,
      undefined,
      true,
    );
    if (reply.status !== 101) {
      op_stream_finish(reply.stream);
      if (typeof reply.body === "number") core.tryClose(reply.body);
      throw new TypeError(`Failed to establish the WebSocket connection: expected server to reply with HTTP status code 101 (switching protocols), but received ${reply.status} instead.`);
    }
  } catch (error) {
    state.readyState = CLOSED;
    const shown = new Error(error.message);
    fire(socket, state, new ErrorEvent("error", { message: shown.message, error: shown }));
    fire(socket, state, new CloseEvent("close", { code: ABNORMAL, reason: "Failed to establish websocket connection", wasClean: false }));
    return;
  }
  const closing = state.readyState === CLOSING;
  state.link = new StreamLink(reply.stream);
  for (let i = 0; i < reply.headerList.length; i++) {
    if (reply.headerList[i][0] === "sec-websocket-protocol") state.protocol = reply.headerList[i][1];
    if (reply.headerList[i][0] === "sec-websocket-extensions") state.extensions = reply.headerList[i][1];
  }
  if (typeof reply.body === "number") receiveFor(socket, state, reply.body);
  else deliver(socket, { kind: "close", code: ABNORMAL, reason: "" });
  if (closing) {
    state.readyState = OPEN;
    sendClose(state, NO_STATUS, "");
    return;
  }
  state.readyState = OPEN;
  fire(socket, state, new Event("open"));
}

// === pairs ===

/** https://developers.cloudflare.com/workers/runtime-apis/websockets/ */
class WebSocketPair {
  constructor() {
    const first = new WebSocket(_init);
    const second = new WebSocket(_init);
    stateOf(first).link = new PeerLink(second);
    stateOf(second).link = new PeerLink(first);
    this[0] = first;
    this[1] = second;
  }
  *[SymbolIterator]() {
    yield this[0];
    yield this[1];
  }
  get [SymbolToStringTag]() {
    return "WebSocketPair";
  }
}

/** A message that is answered without waking the worker. */
class WebSocketRequestResponsePair {
  #request;
  #response;
  constructor(request, response) {
    if (arguments.length < 2) {
      throw new TypeError("Failed to construct 'WebSocketRequestResponsePair': 2 arguments required.");
    }
    this.#request = String(request);
    this.#response = String(response);
  }
  get request() {
    return this.#request;
  }
  get response() {
    return this.#response;
  }
  get [SymbolToStringTag]() {
    return "WebSocketRequestResponsePair";
  }
}

return {
  assertGivable,
  assertWebSocket, clientOfStream, isWebSocket, serve, WebSocket, WebSocketPair, WebSocketRequestResponsePair };
})();
