// `ClientRequest` of `node:http` and `node:https`, over fetch: a request leaves by the host door like any other, so
// that it is filtered, counted and pooled at the edge. There is no socket; what code asks of one is answered by a
// stand-in. Takes the place of Deno's `_http_client.js`.
import { core, primordials } from "ext:core/mod.js";
import { OutgoingMessage } from "node:_http_outgoing";
import { IncomingMessage } from "node:_http_incoming";
import { _checkIsHttpToken as checkIsHttpToken } from "node:_http_common";
import httpAgent from "node:_http_agent";
import { addAbortSignal } from "node:stream";

const {
  ArrayIsArray,
  ArrayPrototypePush,
  Error,
  ObjectAssign,
  ObjectKeys,
  ObjectPrototypeIsPrototypeOf,
  SafeRegExp,
  SafeSet,
  String,
  StringPrototypeIncludes,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
  StringPrototypeToUpperCase,
  TypedArrayPrototypeGetLength,
  TypedArrayPrototypeSet,
  Uint8Array,
} = primordials;
const { Buffer } = core.loadExtScript("ext:deno_node/internal/buffer.mjs");
const { EventEmitter } = core.loadExtScript("ext:deno_node/_events.mjs");
const { urlToHttpOptions } = core.loadExtScript("ext:deno_node/internal/url.ts");
const { URL, URLPrototype } = core.loadExtScript("ext:deno_web/00_url.js");
const { ReadableStream } = core.loadExtScript("ext:deno_web/06_streams.js");
const { AbortController } = core.loadExtScript("ext:deno_web/03_abort_signal.js");
const { getTimerDuration } = core.loadExtScript("ext:deno_node/internal/timers.mjs");
const { nextTick } = core.loadExtScript("ext:deno_node/_next_tick.ts");
const {
  connResetException,
  ERR_HTTP_HEADERS_SENT,
  ERR_INVALID_ARG_TYPE,
  ERR_INVALID_HTTP_TOKEN,
  ERR_INVALID_PROTOCOL,
  ERR_INVALID_URL,
  ERR_STREAM_DESTROYED,
  ERR_STREAM_WRITE_AFTER_END,
  ERR_UNESCAPED_CHARACTERS,
} = core.loadExtScript("ext:deno_node/internal/errors.ts");

/** How much of a body waits for its end, in bytes: a longer one is streamed. */
const WHOLE_BODY_BYTES_MAX = 64 * 1024;

const INVALID_PATH = new SafeRegExp(/[^\u0021-\u00ff]/);

/** Headers that belong to the connection, which is the edge's. */
const CONNECTION_HEADERS = new SafeSet([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What code that looks for a socket is given. */
class StandInSocket extends EventEmitter {
  connecting = false;
  destroyed = false;
  readable = true;
  writable = true;
  readableHighWaterMark = 64 * 1024;
  remoteAddress = undefined;
  remoteFamily = undefined;
  remotePort = undefined;
  #request;
  constructor(request, encrypted) {
    super();
    this.#request = request;
    this.encrypted = encrypted;
    this.authorized = encrypted;
  }
  setKeepAlive() {
    return this;
  }
  setNoDelay() {
    return this;
  }
  setTimeout(milliseconds, callback) {
    this.#request.setTimeout(milliseconds, callback);
    return this;
  }
  ref() {
    return this;
  }
  unref() {
    return this;
  }
  cork() {}
  uncork() {}
  pause() {}
  resume() {}
  address() {
    return {};
  }
  destroy(error) {
    this.destroyed = true;
    this.#request.destroy(error);
    return this;
  }
}

function optionsOf(input, options) {
  if (typeof input === "string") {
    let parsed;
    try {
      parsed = new URL(input);
    } catch {
      throw new ERR_INVALID_URL(input);
    }
    return ObjectAssign(urlToHttpOptions(parsed), options);
  }
  if (ObjectPrototypeIsPrototypeOf(URLPrototype, input)) return ObjectAssign(urlToHttpOptions(input), options);
  return ObjectAssign({}, input, options);
}

class ClientRequest extends OutgoingMessage {
  #chunks = [];
  #size = 0;
  #finished = false;
  #started = false;
  #controller = new AbortController();
  #timer = undefined;
  #feed = undefined;
  #waiting = undefined;
  #callback = undefined;
  #options;

  constructor(input, options, callback) {
    super();
    if (typeof options === "function") {
      callback = options;
      options = undefined;
    }
    options = this.#options = optionsOf(input, options);
    const agent = options.agent === false ? undefined : options.agent ?? undefined;
    if (agent !== undefined && typeof agent.addRequest !== "function") {
      throw new ERR_INVALID_ARG_TYPE("options.agent", ["Agent-like Object", "undefined", "false"], agent);
    }
    const defaults = options._defaultAgent ?? httpAgent.globalAgent;
    this.agent = agent ?? (options.agent === false ? undefined : defaults);
    this.protocol = options.protocol ?? agent?.protocol ?? defaults.protocol ?? "http:";
    if (this.protocol !== "http:" && this.protocol !== "https:") {
      throw new ERR_INVALID_PROTOCOL(this.protocol, defaults.protocol);
    }
    this.method = method(options.method);
    this.host = options.hostname ?? options.host ?? "localhost";
    if (typeof this.host !== "string") {
      throw new ERR_INVALID_ARG_TYPE("options.host", ["string", "undefined", "null"], this.host);
    }
    this.path = String(options.path ?? "/");
    if (INVALID_PATH.test(this.path)) throw new ERR_UNESCAPED_CHARACTERS("Request path");
    this.res = null;
    this.aborted = false;
    this.reusedSocket = false;
    this.maxHeadersCount = null;
    this.upgradeOrConnect = false;
    this.#takeHeaders(options);
    if (callback) this.once("response", callback);
    if (options.signal) addAbortSignal(options.signal, this);
    this.socket = this.connection = new StandInSocket(this, this.protocol === "https:");
    if (options.timeout !== undefined) this.setTimeout(getTimerDuration(options.timeout, "timeout"));
    nextTick(() => {
      if (this.destroyed) return;
      this.emit("socket", this.socket);
      this.socket.emit("connect");
      if (this.socket.encrypted) this.socket.emit("secureConnect");
    });
  }

  #takeHeaders(options) {
    if (ArrayIsArray(options.headers)) {
      const list = options.headers;
      if (ArrayIsArray(list[0])) {
        for (let i = 0; i < list.length; i++) this.appendHeader(list[i][0], list[i][1]);
      } else {
        for (let i = 0; i + 1 < list.length; i += 2) this.appendHeader(list[i], list[i + 1]);
      }
    } else if (options.headers) {
      const names = ObjectKeys(options.headers);
      for (let i = 0; i < names.length; i++) this.setHeader(names[i], options.headers[names[i]]);
    }
    if (!this.hasHeader("host") && options.setHost !== false) this.setHeader("Host", this.#authority());
    if (options.auth && !this.hasHeader("authorization")) {
      this.setHeader("Authorization", `Basic ${Buffer.from(options.auth).toString("base64")}`);
    }
  }

  #authority() {
    const bare = StringPrototypeIncludes(this.host, ":") && !StringPrototypeStartsWith(this.host, "[");
    const host = bare ? `[${this.host}]` : this.host;
    const port = this.#options.port ?? this.#options.defaultPort;
    const usual = this.protocol === "https:" ? 443 : 80;
    return port === undefined || port === null || port === "" || +port === usual ? host : `${host}:${port}`;
  }

  #url() {
    return StringPrototypeStartsWith(this.path, "/")
      ? `${this.protocol}//${this.#authority()}${this.path}`
      : new URL(this.path, `${this.protocol}//${this.#authority()}/`).href;
  }

  // === sending ===

  _implicitHeader() {
    if (this._header) throw new ERR_HTTP_HEADERS_SENT("render");
    // What says that the headers are sent.
    this._header = `${this.method} ${this.path} HTTP/1.1\r\n`;
  }

  flushHeaders() {
    if (!this._header) this._implicitHeader();
    this.#start();
  }

  write(chunk, encoding, callback) {
    if (typeof encoding === "function") {
      callback = encoding;
      encoding = undefined;
    }
    if (this.#finished) {
      const error = new ERR_STREAM_WRITE_AFTER_END();
      nextTick(() => {
        callback?.(error);
        this.emit("error", error);
      });
      return false;
    }
    if (this.destroyed) {
      nextTick(() => callback?.(new ERR_STREAM_DESTROYED("write")));
      return false;
    }
    if (typeof chunk !== "string" && !ObjectPrototypeIsPrototypeOf(Uint8Array.prototype, chunk)) {
      throw new ERR_INVALID_ARG_TYPE("chunk", ["string", "Buffer", "Uint8Array"], chunk);
    }
    if (!this._header) this._implicitHeader();
    const bytes = typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk;
    ArrayPrototypePush(this.#chunks, bytes);
    this.#size += TypedArrayPrototypeGetLength(bytes);
    if (callback) nextTick(callback);
    if (this.#feed !== undefined) this.#offer();
    else if (this.#size > WHOLE_BODY_BYTES_MAX) this.#start();
    return this.#size <= WHOLE_BODY_BYTES_MAX;
  }

  end(chunk, encoding, callback) {
    if (typeof chunk === "function") {
      callback = chunk;
      chunk = undefined;
    } else if (typeof encoding === "function") {
      callback = encoding;
      encoding = undefined;
    }
    if (this.#finished) return this;
    if (chunk !== undefined && chunk !== null) this.write(chunk, encoding);
    if (callback) this.once("finish", callback);
    this.#finished = true;
    this.finished = true;
    if (!this._header) this._implicitHeader();
    if (this.#feed !== undefined) this.#offer();
    else this.#start();
    nextTick(() => this.emit("finish"));
    return this;
  }

  get writableFinished() {
    return this.#finished && this.#size === 0;
  }

  #whole() {
    const body = new Uint8Array(this.#size);
    let at = 0;
    for (let i = 0; i < this.#chunks.length; i++) {
      TypedArrayPrototypeSet(body, this.#chunks[i], at);
      at += TypedArrayPrototypeGetLength(this.#chunks[i]);
    }
    this.#chunks = [];
    this.#size = 0;
    return body;
  }

  /** Gives the body what was written, as far as it is wanted. */
  #offer() {
    if (this.#chunks.length > 0 && this.#waiting !== undefined) {
      const wanted = this.#waiting;
      this.#waiting = undefined;
      this.#feed.enqueue(this.#whole());
      wanted();
      this.emit("drain");
    }
    if (this.#finished && this.#chunks.length === 0) {
      this.#feed.close();
      this.#waiting?.();
      this.#waiting = undefined;
    }
  }

  #bodyStream() {
    return new ReadableStream({
      start: (controller) => {
        this.#feed = controller;
      },
      pull: () =>
        new Promise((resolve) => {
          this.#waiting = resolve;
          this.#offer();
        }),
      cancel: (reason) => this.destroy(reason),
    }, { highWaterMark: 0 });
  }

  #start() {
    if (this.#started || this.destroyed) return;
    this.#started = true;
    const bodiless = this.method === "GET" || this.method === "HEAD";
    const init = {
      method: this.method,
      headers: this.#headerList(),
      redirect: "manual",
      signal: this.#controller.signal,
    };
    if (!bodiless) {
      if (!this.#finished) init.body = this.#bodyStream();
      else if (this.#size > 0) init.body = this.#whole();
    }
    this.#exchange(init);
  }

  async #exchange(init) {
    try {
      const { fetch } = core.loadExtScript("ext:deno_fetch/26_fetch.js");
      const response = await fetch(this.#url(), init);
      if (this.destroyed) return;
      this.#answer(response);
    } catch (error) {
      if (!this.destroyed) this.destroy(socketError(error, this.host));
    }
  }

  #headerList() {
    const list = [];
    const names = this.getRawHeaderNames();
    for (let i = 0; i < names.length; i++) {
      const value = this.getHeader(names[i]);
      if (CONNECTION_HEADERS.has(StringPrototypeToLowerCase(names[i]))) continue;
      const values = ArrayIsArray(value) ? value : [value];
      for (let j = 0; j < values.length; j++) ArrayPrototypePush(list, [names[i], String(values[j])]);
    }
    return list;
  }

  // === the answer ===

  #answer(response) {
    const message = new IncomingMessage(this.socket);
    const { toInnerResponse } = core.loadExtScript("ext:deno_fetch/23_response.js");
    const inner = toInnerResponse(response);
    const lines = [];
    for (let i = 0; i < inner.headerList.length; i++) {
      const { 0: name, 1: value } = inner.headerList[i];
      const lower = StringPrototypeToLowerCase(name);
      // The edge decoded the body: it is no longer of that encoding and length.
      if (inner.bodyDecoded && (lower === "content-encoding" || lower === "content-length")) continue;
      ArrayPrototypePush(lines, name, value);
    }
    message.httpVersion = "1.1";
    message.httpVersionMajor = 1;
    message.httpVersionMinor = 1;
    message.statusCode = response.status;
    message.statusMessage = response.statusText;
    message.url = "";
    message.req = this;
    message.joinDuplicateHeaders = this.#options.joinDuplicateHeaders === true;
    message._addHeaderLines(lines, lines.length);
    this.res = message;
    pour(response, message, this.#controller);
    message.once("close", () => this.#closed());
    if (!this.emit("response", message)) message._dump();
  }

  #closed() {
    this.#clearTimer();
    if (this._closed) return;
    this._closed = true;
    this.destroyed = true;
    this.emit("close");
  }

  // === the end ===

  abort() {
    if (this.aborted) return;
    this.aborted = true;
    nextTick(() => this.emit("abort"));
    this.destroy();
  }

  destroy(error) {
    if (this.destroyed) return this;
    this.destroyed = true;
    this.#clearTimer();
    this.#controller.abort();
    if (this.res !== null) {
      this.res.aborted = true;
      this.res.destroy(error ?? connResetException("aborted"));
    }
    this.socket.destroyed = true;
    nextTick(() => {
      const reason = error ?? (this.res === null ? connResetException("socket hang up") : undefined);
      if (reason && (this.res === null || error)) this.emit("error", reason);
      if (!this._closed) {
        this._closed = true;
        this.emit("close");
      }
    });
    return this;
  }

  setTimeout(milliseconds, callback) {
    milliseconds = getTimerDuration(milliseconds, "msecs");
    if (callback) this.once("timeout", callback);
    this.timeout = milliseconds;
    this.#clearTimer();
    if (milliseconds > 0) {
      this.#timer = globalThis.setTimeout(() => {
        this.socket.emit("timeout");
        this.emit("timeout");
      }, milliseconds);
    }
    return this;
  }

  clearTimeout(callback) {
    if (callback) this.removeListener("timeout", callback);
    this.#clearTimer();
  }

  #clearTimer() {
    if (this.#timer !== undefined) globalThis.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  onSocket() {}
  setNoDelay() {}
  setSocketKeepAlive() {}
  addTrailers() {}
  _finish() {}
}

function method(given) {
  if (given === undefined || given === null || given === "") return "GET";
  if (typeof given !== "string") throw new ERR_INVALID_ARG_TYPE("options.method", "string", given);
  if (!checkIsHttpToken(given)) throw new ERR_INVALID_HTTP_TOKEN("Method", given);
  return StringPrototypeToUpperCase(given);
}

/** Pours the body of a Response into a message as fast as it is read. */
function pour(response, message, controller) {
  if (response.body === null) {
    message.complete = true;
    message.push(null);
    return;
  }
  const reader = response.body.getReader();
  let reading = false;
  message._read = async () => {
    if (reading) return;
    reading = true;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          message.complete = true;
          message.push(null);
          return;
        }
        if (!message.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength))) break;
      }
      reading = false;
    } catch (error) {
      message.destroy(error);
    }
  };
  message._destroy = (error, done) => {
    if (!message.complete) {
      message.aborted = true;
      controller.abort();
    }
    done(error);
  };
}

/** An error of fetch as one of a socket. */
function socketError(error, host) {
  const text = String(error?.message ?? error);
  const failure = new Error(text, { cause: error });
  failure.syscall = "connect";
  failure.hostname = host;
  if (new SafeRegExp(/resol|dns|not found/i).test(text)) failure.code = "ENOTFOUND";
  else if (new SafeRegExp(/refused/i).test(text)) failure.code = "ECONNREFUSED";
  else if (new SafeRegExp(/tim(ed|e) ?out/i).test(text)) failure.code = "ETIMEDOUT";
  else failure.code = "ECONNRESET";
  return failure;
}

export { ClientRequest };
export default { ClientRequest };
