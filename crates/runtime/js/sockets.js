// TCP connections: a stream of the host door whose bytes the edge carries to the peer.
(function () {
const { core, primordials } = __bootstrap;
const {
  op_door_open,
  op_door_reply,
  op_stream_finish,
  op_stream_reset,
  op_stream_try_write,
  op_stream_word,
  op_stream_writable,
} = core.ops;
const {
  ArrayBufferIsView,
  Error,
  JSONParse,
  JSONStringify,
  MathTrunc,
  Number,
  NumberIsNaN,
  ObjectDefineProperty,
  PromisePrototypeCatch,
  PromisePrototypeThen,
  PromiseResolve,
  PromiseWithResolvers,
  RegExpPrototypeExec,
  String,
  StringPrototypeSplit,
  SymbolToStringTag,
  TypeError,
  TypedArrayPrototypeGetSymbolToStringTag,
  TypedArrayPrototypeSubarray,
  Uint8Array,
} = primordials;
const { createReadableByteStream, WritableStream } = core.loadExtScript("ext:deno_web/06_streams.js");
const events = core.loadExtScript("ext:selvedge/events.js");

const PIECE_BYTES_MAX = 64 * 1024;
const READ_BYTES = 16 * 1024;

function bytesOf(chunk) {
  if (TypedArrayPrototypeGetSymbolToStringTag(chunk) === "Uint8Array") return chunk;
  if (ArrayBufferIsView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (core.isAnyArrayBuffer(chunk)) return new Uint8Array(chunk);
  throw new TypeError("This WritableStream only supports writing byte types (ArrayBuffer or ArrayBufferView).");
}

/** One connection; sockets of it come and go with `startTls()`. */
class Connection {
  constructor(host, port, secure) {
    this.host = host;
    /** The read that is under way: a socket that takes the connection over waits for the same. */
    this.reads = { pending: undefined };
    const meta = JSONStringify({ event: events.current()?.stream, secure });
    this.stream = op_door_open(`connect\nCONNECT\n${host}:${port}\n${meta}`, undefined, true);
    this.opened = this.#open();
    PromisePrototypeCatch(this.opened, () => {});
  }
  async #open() {
    const reply = await op_door_reply(this.stream);
    this.rid = reply.rid;
    const { remote, local } = JSONParse(StringPrototypeSplit(reply.head, "\n")[2]);
    return { remoteAddress: remote ?? null, localAddress: local ?? null };
  }
  /** The next bytes, none at the end; the same ones until they are taken. */
  next() {
    return this.reads.pending ??= this.readPiece();
  }
  take() {
    this.reads.pending = undefined;
  }
  async readPiece() {
    await this.opened;
    const buffer = new Uint8Array(READ_BYTES);
    const size = this.rid === null || this.rid === undefined ? 0 : await core.read(this.rid, buffer);
    return TypedArrayPrototypeSubarray(buffer, 0, size);
  }
  async write(bytes) {
    await this.opened;
    for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES_MAX) {
      const piece = TypedArrayPrototypeSubarray(bytes, at, at + PIECE_BYTES_MAX);
      while (!op_stream_try_write(this.stream, piece)) await op_stream_writable(this.stream);
    }
  }
  finish() {
    op_stream_finish(this.stream);
  }
  reset(reason) {
    op_stream_reset(this.stream, true, String(reason?.message ?? reason ?? "closed"));
    if (this.rid !== undefined && this.rid !== null) core.tryClose(this.rid);
  }
}

class Socket {
  #connection;
  #closed = PromiseWithResolvers();
  #opened;
  #readable;
  #writable;
  #options;
  #secure;
  #upgraded;
  /** A socket whose connection goes on as another one's is not closed with it. */
  #handedOver = false;
  #ended = false;

  constructor(key, connection, options, secure, upgraded) {
    if (key !== _illegal) throw new TypeError("Illegal constructor");
    this.#connection = connection;
    this.#options = options;
    this.#secure = secure;
    this.#upgraded = upgraded;
    PromisePrototypeCatch(this.#closed.promise, () => {});
    this.#opened = PromisePrototypeThen(connection.opened, (info) => info, (error) => {
      this.#fail(new Error(error.message));
      throw new Error(error.message);
    });
    PromisePrototypeCatch(this.#opened, () => {});
    this.#readable = createReadableByteStream(() => {}, async (controller) => {
      try {
        const bytes = await connection.next();
        if (this.#handedOver) return;
        connection.take();
        if (bytes.byteLength > 0) {
          controller.enqueue(bytes);
          return;
        }
        controller.close();
        controller.byobRequest?.respond(0);
        if (!this.#options.allowHalfOpen) this.#end();
      } catch (error) {
        this.#fail(error);
        throw error;
      }
    }, (_reason) => PromiseResolve());
    this.#writable = new WritableStream({
      write: async (chunk) => {
        const bytes = bytesOf(chunk);
        try {
          await connection.write(bytes);
        } catch (error) {
          this.#fail(error);
          throw error;
        }
      },
      close: async () => {
        await connection.opened;
        connection.finish();
      },
      abort: (reason) => this.#fail(reason ?? new Error("aborted")),
    });
  }

  get readable() {
    return this.#readable;
  }
  get writable() {
    return this.#writable;
  }
  get closed() {
    return this.#closed.promise;
  }
  get opened() {
    return this.#opened;
  }
  get upgraded() {
    return this.#upgraded;
  }
  get secureTransport() {
    return this.#secure;
  }

  /** Closes both ways. */
  async close() {
    if (!this.#ended && !this.#handedOver) {
      try {
        await this.#connection.opened;
      } catch {
        return this.#closed.promise;
      }
      this.#end();
    }
    return await this.#closed.promise;
  }

  startTls(options = undefined) {
    if (this.#secure !== "starttls") {
      throw new TypeError("The `secureTransport` socket option must be set to 'starttls' for startTls to be used.");
    }
    if (this.#handedOver) throw new TypeError("startTls can only be called once.");
    this.#handedOver = true;
    const connection = this.#connection;
    const host = options?.expectedServerHostname ?? connection.host;
    const secured = {
      __proto__: connection,
      opened: PromisePrototypeThen(connection.opened, (info) => {
        op_stream_word(connection.stream, `starttls ${host}`);
        return info;
      }),
    };
    this.#closed.resolve();
    return new Socket(_illegal, secured, this.#options, "on", true);
  }

  #end() {
    if (this.#ended) return;
    this.#ended = true;
    this.#connection.finish();
    this.#connection.reset("closed");
    this.#closed.resolve();
  }

  #fail(reason) {
    if (this.#ended || this.#handedOver) return;
    this.#ended = true;
    this.#connection.reset(reason);
    this.#closed.reject(reason);
  }
}
ObjectDefineProperty(Socket.prototype, SymbolToStringTag, { __proto__: null, value: "Socket", configurable: true });

const _illegal = { __proto__: null };

/** @returns {{ host: string, port: number }} */
function parse(address) {
  if (typeof address === "object" && address !== null) {
    const port = Number(address.port);
    if (NumberIsNaN(port) || MathTrunc(port) !== port) {
      throw new TypeError("The value cannot be converted because it is not an integer.");
    }
    return check(String(address.hostname), port);
  }
  const text = String(address);
  const match = RegExpPrototypeExec(/^(.+):(\d+)$/, text);
  if (match === null) {
    throw new TypeError(/:/.test(text) ? "Specified address could not be parsed." : "Specified address is missing port.");
  }
  return check(match[1], Number(match[2]));
}

function check(host, port) {
  if (host === "" || !/^[^\s/@?#]+$/.test(host)) throw new TypeError("Specified address could not be parsed.");
  if (port < 1 || port > 65535) throw new TypeError("Specified port is out of range.");
  return { host: /:/.test(host) && host[0] !== "[" ? `[${host}]` : host, port };
}

/**
 * @param {string | { hostname: string, port: number }} address
 * @param {{ secureTransport?: "off" | "on" | "starttls", allowHalfOpen?: boolean }} options
 */
function connect(address, options = undefined) {
  const { host, port } = parse(address);
  const secure = String(options?.secureTransport ?? "off");
  if (secure !== "off" && secure !== "on" && secure !== "starttls") {
    throw new TypeError(`Unsupported value in secureTransport socket option: ${secure}`);
  }
  const settings = { allowHalfOpen: options?.allowHalfOpen === true };
  return new Socket(_illegal, new Connection(host, port, secure === "on"), settings, secure, false);
}

return { connect, Socket };
})();
