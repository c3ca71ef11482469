// An RPC session: one stream of the host door between two isolates, on which both may call what the other gave them.
//
// The caller's first call is the stream's first message; if its result is a plain value it is the stream's answer, and
// that is all. Otherwise messages go both ways until neither side holds anything of the other's.
(function () {
const { core, primordials } = __bootstrap;
const {
  op_door_open,
  op_door_reply,
  op_session_next,
  op_session_send,
  op_stream_finish,
  op_stream_reset,
  op_stream_writable,
} = core.ops;
const {
  ArrayBufferIsView,
  ArrayPrototypePush,
  ArrayPrototypeShift,
  DataView,
  DataViewPrototypeGetUint32,
  DataViewPrototypeSetUint32,
  Error,
  JSONStringify,
  MathMin,
  Promise,
  PromisePrototypeCatch,
  PromisePrototypeThen,
  PromiseReject,
  PromiseResolve,
  PromiseWithResolvers,
  SafeMap,
  String,
  SymbolDispose,
  TypeError,
  TypedArrayPrototypeGetSymbolToStringTag,
  TypedArrayPrototypeSet,
  TypedArrayPrototypeSubarray,
  Uint8Array,
} = primordials;
const { decode, encode, encodeError, errorOf, makeDisposable } = core.loadExtScript("ext:selvedge/rpc_value.js");
const { disposed } = core.loadExtScript("ext:selvedge/rpc_stub.js");
const { createReadableByteStream, WritableStream } = core.loadExtScript("ext:deno_web/06_streams.js");

/** The first byte of a message: what it says. The second: whether it goes on in the next message. */
const CALL = 1;
const RETURN = 2;
const RELEASE = 3;
const DATA = 4;
const DATA_END = 5;
const DATA_ERROR = 6;
const CREDIT = 7;
const CANCEL = 8;
const CLOSED = 9;

/** Bytes before a message's content: what it says, whether it goes on, and a number (u32, little-endian). */
const HEADER_BYTES = 6;
/** The largest piece of a message that travels at once: 64 KiB. */
const PIECE_BYTES_MAX = 64 * 1024;
/** A first message or a plain answer larger than this does not travel with the head of its stream. */
const FIRST_BYTES_MAX = 48 * 1024;
/** The largest message: a value of 32 MiB, and what stands before it. */
const MESSAGE_BYTES_MAX = 40 * 1024 * 1024;
/** Bytes of a stream that are sent and not yet read. */
const WINDOW_BYTES = 256 * 1024;

const empty = new Uint8Array(0);

function lost() {
  return new Error("The RPC session was disconnected: the other side ended before it was done.");
}

/** The bytes of a stream's chunk. */
function bytesOf(chunk) {
  if (TypedArrayPrototypeGetSymbolToStringTag(chunk) === "Uint8Array") return chunk;
  if (ArrayBufferIsView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (core.isAnyArrayBuffer(chunk)) return new Uint8Array(chunk);
  if (typeof chunk === "string") return core.encode(chunk);
  throw new TypeError("Only streams of bytes can be sent over RPC: a chunk was neither a buffer, a view nor a string.");
}

class Session {
  /** @param {boolean} caller whether this side opened the stream */
  constructor(caller) {
    this.stream = undefined;
    this.rid = undefined;
    /** Hooks of what the other side holds. */
    this.exports = new SafeMap();
    this.nextExport = 1;
    /** Calls that the other side has not answered. */
    this.questions = new SafeMap();
    this.nextQuestion = 1;
    /** Calls of the other side that are not answered. */
    this.answering = 0;
    /** What is held of the other side's. */
    this.imports = 0;
    /** Streams, by number: the caller's are odd. */
    this.flows = new SafeMap();
    this.nextFlow = caller ? 1 : 2;
    this.queue = [];
    this.sending = false;
    /** No messages any more. */
    this.over = false;
    this.finished = PromiseWithResolvers();
    this.caller = caller;
    /** The callee has said that messages follow. */
    this.started = caller;
    this.parts = undefined;
    this.receiving = false;
    /** Whether the event that called is over. */
    this.forgotten = false;
    /** What the callee does with the first call, where it does not come with the stream's head. */
    this.onFirst = undefined;
  }

  /** Whether neither side holds anything of the other's. */
  get idle() {
    return this.exports.size === 0 && this.imports === 0 && this.questions.size === 0 && this.answering === 0 &&
      this.flows.size === 0;
  }

  // === messages ===

  /** The callee's answer is no plain value: messages follow. */
  start() {
    if (this.started) return;
    this.started = true;
    this.onStart();
  }

  send(kind, number, content = empty) {
    if (this.over) return;
    this.start();
    let at = 0;
    do {
      const size = MathMin(content.byteLength - at, PIECE_BYTES_MAX);
      const message = new Uint8Array(HEADER_BYTES + size);
      message[0] = kind;
      message[1] = at + size < content.byteLength ? 1 : 0;
      DataViewPrototypeSetUint32(new DataView(message.buffer), 2, number, true);
      TypedArrayPrototypeSet(message, TypedArrayPrototypeSubarray(content, at, at + size), HEADER_BYTES);
      ArrayPrototypePush(this.queue, message);
      at += size;
    } while (at < content.byteLength);
    if (!this.sending && this.stream !== undefined) this.flush();
  }

  async flush() {
    this.sending = true;
    try {
      while (this.queue.length > 0) {
        if (op_session_send(this.stream, this.queue[0])) ArrayPrototypeShift(this.queue);
        else await op_stream_writable(this.stream);
      }
    } catch (error) {
      this.end(error);
    }
    this.sending = false;
    this.settle();
  }

  /** Receives until the other side is through. */
  async receive() {
    if (this.receiving || this.over) return;
    this.receiving = true;
    try {
      while (true) {
        const message = await op_session_next(this.rid);
        if (message.byteLength === 0) break;
        // What crosses this side's end on the way is of no use any more.
        if (!this.over) this.take(message);
      }
    } catch (error) {
      if (!this.over) return this.end(error);
    }
    if (this.over) this.close();
    else this.end(undefined);
  }

  take(message) {
    const kind = message[0];
    const number = DataViewPrototypeGetUint32(new DataView(message.buffer, message.byteOffset), 2, true);
    let content = TypedArrayPrototypeSubarray(message, HEADER_BYTES);
    if (message[1] === 1 || this.parts !== undefined) {
      this.parts ??= { list: [], bytes: 0 };
      ArrayPrototypePush(this.parts.list, content);
      this.parts.bytes += content.byteLength;
      if (this.parts.bytes > MESSAGE_BYTES_MAX) throw new Error("an RPC message over its bound");
      if (message[1] === 1) return;
      content = new Uint8Array(this.parts.bytes);
      let at = 0;
      for (let i = 0; i < this.parts.list.length; i++) {
        TypedArrayPrototypeSet(content, this.parts.list[i], at);
        at += this.parts.list[i].byteLength;
      }
      this.parts = undefined;
    }
    switch (kind) {
      case CALL:
        this.onCall(number, content);
        break;
      case RETURN:
        this.onReturn(number, content);
        break;
      case RELEASE:
        this.onRelease(number);
        break;
      case CREDIT:
        this.flows.get(number)?.credit?.(DataViewPrototypeGetUint32(new DataView(content.buffer, content.byteOffset), 0, true));
        break;
      case DATA:
        this.flows.get(number)?.data?.(content);
        break;
      case DATA_END:
        this.flows.get(number)?.end?.();
        break;
      case DATA_ERROR:
      case CANCEL: {
        const { head, value } = decode(this, content);
        this.flows.get(number)?.fail?.(errorOf(head, value));
        break;
      }
      case CLOSED:
        this.flows.get(number)?.closed?.();
        break;
    }
    this.settle();
  }

  /** Closes this side once nothing is left to do. */
  settle() {
    if (this.over || !this.started || this.stream === undefined || this.sending || this.queue.length > 0 || !this.idle) return;
    this.over = true;
    op_stream_finish(this.stream);
    // Until the other side is through too: an event that is over takes nothing more, and says so to whoever sends.
    if (!this.receiving) this.close();
  }

  /**
   * The other side is through, or gone.
   * @param {Error | undefined} error why
   * @param {boolean} forgotten whether nobody is left to be told: calls that wait never settle then
   */
  end(error, forgotten = false) {
    if (this.over) return;
    this.over = true;
    this.forgotten = forgotten;
    const reason = error === undefined ? lost() : new Error(error.message);
    if (!forgotten) {
      for (const question of [...this.questions.values()]) question.reject(reason);
    }
    this.questions.clear();
    for (const flow of [...this.flows.values()]) flow.fail?.(reason);
    this.flows.clear();
    for (const hook of [...this.exports.values()]) hook.dispose();
    this.exports.clear();
    if (this.stream !== undefined) {
      if (error === undefined) op_stream_finish(this.stream);
      else op_stream_reset(this.stream, true, String(error.message));
    }
    this.close();
  }

  close() {
    if (this.rid !== undefined) core.tryClose(this.rid);
    this.rid = undefined;
    this.finished.resolve();
  }

  // === references ===

  /** Lets the other side hold what a hook reaches. */
  offer(hook) {
    const id = this.nextExport++;
    this.exports.set(id, hook);
    return id;
  }

  onRelease(id) {
    const hook = this.exports.get(id);
    this.exports.delete(id);
    hook?.dispose();
  }

  /** A hook for something that the other side offered. */
  hold(id) {
    this.imports++;
    return new ImportHook({ session: this, id, count: 1 });
  }

  // === calls ===

  ask(id, path, args, get) {
    if (this.over) return PromiseReject(lost());
    const question = PromiseWithResolvers();
    const number = this.nextQuestion++;
    this.questions.set(number, question);
    let content;
    try {
      content = encode(this, args, { p: path, g: get ? 1 : undefined, x: id });
    } catch (error) {
      this.questions.delete(number);
      return PromiseReject(error);
    }
    this.send(CALL, number, content);
    return question.promise;
  }

  async onCall(number, content) {
    if (number === 0) {
      const { onFirst } = this;
      this.onFirst = undefined;
      return onFirst?.(content);
    }
    this.answering++;
    const { head, value, stubs } = decode(this, content);
    let result;
    try {
      const hook = this.exports.get(head.x);
      if (hook === undefined) throw disposed();
      const got = await (head.g === 1 ? hook.get(head.p) : hook.call(head.p, value));
      result = encode(this, got);
    } catch (error) {
      result = encodeError(this, error);
    }
    disposeAll(stubs);
    this.answering--;
    this.send(RETURN, number, result);
  }

  onReturn(number, content) {
    const question = this.questions.get(number);
    this.questions.delete(number);
    if (question === undefined) return;
    settleWith(this, question, content);
  }

  // === streams ===

  /** Sends a stream's bytes as the other side reads them. */
  sendReadable(readable) {
    const id = this.nextFlow;
    this.nextFlow += 2;
    const reader = readable.getReader();
    const flow = new Source(this, id);
    this.flows.set(id, flow);
    flow.onFail = (reason) => PromisePrototypeCatch(reader.cancel(reason), () => {});
    PromisePrototypeCatch(this.#pump(reader, flow), () => {});
    return id;
  }

  async #pump(reader, flow) {
    try {
      while (true) {
        const { done, value } = await reader.read();
        if (flow.failed) return;
        if (done) break;
        await flow.write(bytesOf(value));
      }
      flow.finish();
    } catch (error) {
      flow.abort(error);
      PromisePrototypeCatch(reader.cancel(error), () => {});
    }
  }

  /** A stream of bytes that the other side sends. */
  takeReadable(id) {
    const flow = new Sink(this, id);
    this.flows.set(id, flow);
    const pull = async (controller) => {
      const bytes = await flow.read();
      if (bytes === undefined) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else {
        controller.enqueue(bytes);
      }
    };
    return createReadableByteStream(() => {}, pull, (reason) => {
      flow.cancel(reason);
      return PromiseResolve();
    });
  }

  /** Lets the other side write to a stream that is here. */
  offerWritable(writable) {
    const id = this.nextFlow;
    this.nextFlow += 2;
    const writer = writable.getWriter();
    const flow = new Sink(this, id);
    this.flows.set(id, flow);
    PromisePrototypeCatch(this.#drain(writer, flow), () => {});
    return id;
  }

  async #drain(writer, flow) {
    try {
      while (true) {
        let bytes;
        try {
          bytes = await flow.read();
        } catch (error) {
          await writer.abort(error);
          return;
        }
        if (bytes === undefined) break;
        await writer.write(bytes);
      }
      await writer.close();
      this.send(CLOSED, flow.id);
    } catch (error) {
      flow.cancel(error);
    }
  }

  /** A stream whose bytes the other side writes to one of its own. */
  takeWritable(id) {
    const flow = new Source(this, id);
    this.flows.set(id, flow);
    let errored;
    flow.onFail = (reason) => errored?.(reason);
    return new WritableStream({
      start(controller) {
        errored = (reason) => controller.error(reason);
      },
      write: (chunk) => flow.write(bytesOf(chunk)),
      close: () => flow.finish(true),
      abort: (reason) => flow.abort(reason),
    });
  }
}

function disposeAll(stubs) {
  for (let i = 0; i < stubs.length; i++) stubs[i][SymbolDispose]();
}

/** Settles a call with what came back. */
function settleWith(session, question, content) {
  try {
    const { head, value, stubs } = decode(session, content);
    if (head?.e !== undefined) question.reject(errorOf(head, value));
    else question.resolve(makeDisposable(value, stubs));
  } catch (error) {
    question.reject(error);
  }
}

/** Something of the other side's. */
class ImportHook {
  constructor(shared) {
    this.shared = shared;
    this.live = true;
  }
  #ask(path, args, get) {
    if (!this.live) return PromiseReject(disposed());
    return this.shared.session.ask(this.shared.id, path, args, get);
  }
  call(path, args) {
    return this.#ask(path, args, false);
  }
  get(path) {
    return this.#ask(path, [], true);
  }
  dup() {
    if (!this.live) throw disposed();
    this.shared.count++;
    return new ImportHook(this.shared);
  }
  dispose() {
    if (!this.live) return;
    this.live = false;
    if (--this.shared.count > 0) return;
    const { session, id } = this.shared;
    session.imports--;
    session.send(RELEASE, id);
    session.settle();
  }
}

/** The sending end of a stream. */
class Source {
  constructor(session, id) {
    this.session = session;
    this.id = id;
    this.allowed = WINDOW_BYTES;
    this.failed = false;
    this.reason = undefined;
    this.waiting = undefined;
    this.ending = undefined;
    this.onFail = undefined;
  }
  async write(bytes) {
    let at = 0;
    while (at < bytes.byteLength) {
      if (this.failed) throw this.reason;
      if (this.allowed <= 0) {
        this.waiting = PromiseWithResolvers();
        await this.waiting.promise;
        continue;
      }
      const size = MathMin(bytes.byteLength - at, this.allowed, PIECE_BYTES_MAX);
      this.allowed -= size;
      this.session.send(DATA, this.id, TypedArrayPrototypeSubarray(bytes, at, at + size));
      at += size;
    }
  }
  /** @param {boolean} confirmed whether the other side says when it is through with it */
  finish(confirmed = false) {
    if (this.failed) return PromiseReject(this.reason);
    this.session.send(DATA_END, this.id);
    if (confirmed) {
      this.ending = PromiseWithResolvers();
      return this.ending.promise;
    }
    this.#leave();
    return PromiseResolve();
  }
  abort(reason) {
    if (this.failed) return;
    this.failed = true;
    this.session.send(DATA_ERROR, this.id, encodeError(this.session, reason));
    this.#leave();
  }
  credit(bytes) {
    this.allowed += bytes;
    this.waiting?.resolve();
    this.waiting = undefined;
  }
  closed() {
    this.#leave();
    this.ending?.resolve();
  }
  fail(reason) {
    if (this.failed) return;
    this.failed = true;
    this.reason = reason;
    this.waiting?.resolve();
    this.#leave();
    this.ending?.reject(reason);
    this.onFail?.(reason);
  }
  #leave() {
    this.session.flows.delete(this.id);
    this.session.settle();
  }
}

/** The receiving end of a stream. */
class Sink {
  constructor(session, id) {
    this.session = session;
    this.id = id;
    this.queue = [];
    this.ended = false;
    this.reason = undefined;
    this.waiting = undefined;
  }
  /** The next bytes; nothing at the end. */
  async read() {
    while (this.queue.length === 0) {
      if (this.reason !== undefined) throw this.reason;
      if (this.ended) return undefined;
      this.waiting = PromiseWithResolvers();
      await this.waiting.promise;
    }
    const bytes = ArrayPrototypeShift(this.queue);
    const credit = new Uint8Array(4);
    DataViewPrototypeSetUint32(new DataView(credit.buffer), 0, bytes.byteLength, true);
    if (!this.ended) this.session.send(CREDIT, this.id, credit);
    return bytes;
  }
  #wake() {
    this.waiting?.resolve();
    this.waiting = undefined;
  }
  data(bytes) {
    ArrayPrototypePush(this.queue, bytes);
    this.#wake();
  }
  end() {
    this.ended = true;
    this.#leave();
    this.#wake();
  }
  fail(reason) {
    this.reason = reason;
    this.#leave();
    this.#wake();
  }
  cancel(reason) {
    if (this.ended || this.reason !== undefined) return;
    this.reason = reason ?? new Error("the stream was cancelled");
    this.session.send(CANCEL, this.id, encodeError(this.session, this.reason));
    this.#leave();
  }
  #leave() {
    this.session.flows.delete(this.id);
  }
}

// === the caller's side ===

/**
 * Calls a method of another worker's entrypoint, or gets a property of it.
 * @param {string} target of the host door
 * @param {{ event: number | undefined, method: string, props: any }} meta
 * @param {string[]} path
 * @param {any[]} args
 * @param {boolean} get
 * @param {Invocation | undefined} invocation the event that calls: the session ends with it
 * @returns {Promise<any>}
 */
async function call(target, meta, path, args, get, invocation) {
  const session = new Session(true);
  const question = PromiseWithResolvers();
  session.questions.set(0, question);
  const content = encode(session, args, { p: path, g: get ? 1 : undefined });
  const first = content.byteLength <= FIRST_BYTES_MAX;
  const head = target + "\nPOST\nhttp://rpc/\n" + JSONStringify(meta);
  const stream = op_door_open(head, first ? content : empty, true);
  if (!first) {
    // The first in the queue: nothing else can be sent yet.
    const waiting = session.queue;
    session.queue = [];
    session.stream = stream;
    session.sending = true;
    session.send(CALL, 0, content);
    for (let i = 0; i < waiting.length; i++) ArrayPrototypePush(session.queue, waiting[i]);
  }
  session.stream = stream;
  if (session.queue.length > 0) session.flush();
  if (invocation !== undefined) invocation.sessions = addTo(invocation.sessions, session);
  let reply;
  try {
    reply = await op_door_reply(stream);
  } catch (error) {
    session.questions.delete(0);
    // With the event that called, whoever waits for this is gone too.
    if (session.forgotten) await new Promise(() => {});
    session.end(error);
    throw new Error(error.message);
  } finally {
    if (session.over) invocation?.sessions?.delete(session);
  }
  if (reply.rid === null || reply.rid === undefined) {
    session.questions.delete(0);
    settleWith(session, question, reply.bytes);
    session.settle();
    if (!session.over) session.end(undefined);
    invocation?.sessions?.delete(session);
  } else {
    session.rid = reply.rid;
    PromisePrototypeThen(session.receive(), () => invocation?.sessions?.delete(session));
  }
  return await question.promise;
}

function addTo(sessions, session) {
  sessions ??= new SafeSetOf();
  sessions.add(session);
  return sessions;
}

/** The sessions that an event opened; those that are left end with it. */
class SafeSetOf {
  constructor() {
    this.map = new SafeMap();
  }
  add(session) {
    this.map.set(session, true);
  }
  delete(session) {
    this.map.delete(session);
  }
  end() {
    for (const session of [...this.map.keys()]) session.end(new Error("the event that called is over"), true);
  }
}

return { call, disposeAll, FIRST_BYTES_MAX, RETURN, Session };
})();
