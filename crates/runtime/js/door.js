// Streams of the host door as the web platform's bodies.
(function () {
const { core, primordials } = __bootstrap;
const {
  op_door_open,
  op_door_reply,
  op_stream_finish,
  op_stream_pipe,
  op_stream_reset,
  op_stream_try_write,
  op_stream_writable,
} = core.ops;
const {
  ArrayBufferIsView,
  ArrayPrototypeFilter,
  ArrayPrototypeJoin,
  ArrayPrototypePush,
  MathFloor,
  NumberPrototypeToString,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototypeCatch,
  SafeWeakMap,
  String,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypePadStart,
  StringPrototypeSlice,
  StringPrototypeSplit,
  StringPrototypeToLowerCase,
  TypeError,
  TypedArrayPrototypeGetSymbolToStringTag,
  Uint8Array,
  WeakMapPrototypeGet,
  WeakMapPrototypeSet,
} = primordials;
const {
  getReadableStreamResourceBacking,
  readableStreamForRid,
  ReadableStreamPrototype,
} = core.loadExtScript("ext:deno_web/06_streams.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");

/**
 * @param {string} block names and values in turn, a line each
 * @returns {[string, string][]}
 */
function parseHeaders(block) {
  const list = [];
  if (block === "") return list;
  const fields = StringPrototypeSplit(block, "\n");
  for (let i = 0; i + 1 < fields.length; i += 2) {
    ArrayPrototypePush(list, [fields[i], fields[i + 1]]);
  }
  return list;
}

/**
 * @param {[string, string][]} list
 * @returns {string} each name and value on a line, every line with a line feed before it
 */
function formatHeaders(list) {
  let block = "";
  for (let i = 0; i < list.length; i++) {
    block += "\n" + list[i][0] + "\n" + list[i][1];
  }
  return block;
}

/**
 * The body of an event or an answer: whole (bytes) or arriving (a resource).
 * @param {undefined | null | Uint8Array | number} body
 */
function innerBodyOf(body) {
  if (body === undefined || body === null) return null;
  if (typeof body === "number") return new InnerBody(readableStreamForRid(body));
  const inner = new InnerBody({ body, consumed: false });
  inner.length = body.byteLength;
  return inner;
}

/** Streams whose length is known before their end. */
const knownLengths = new SafeWeakMap();

/**
 * @param {ReadableStream | InnerBody | null} body
 * @param {number | null} length bytes
 */
function setKnownLength(body, length) {
  if (body === null || length === null) return;
  if (ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, body)) {
    WeakMapPrototypeSet(knownLengths, body, length);
  } else {
    body.length = length;
    setKnownLength(body.stream, length);
  }
}

/** @returns {number | undefined} */
function knownLengthOf(stream) {
  return WeakMapPrototypeGet(knownLengths, stream);
}

/** The length that a header block tells of, or null. */
function lengthIn(block) {
  const at = StringPrototypeIndexOf("\n" + block, "\ncontent-length\n");
  if (at === -1) return null;
  const from = at + 15;
  const end = StringPrototypeIndexOf(block, "\n", from);
  return lengthOf(StringPrototypeSlice(block, from, end === -1 ? block.length : end));
}

/** @returns {number | null} */
function lengthOf(text) {
  const length = +text;
  return text !== "" && length >= 0 && length === MathFloor(length) ? length : null;
}

/**
 * Headers with the length that is known, in the place of any that was claimed.
 * @param {[string, string][]} list
 * @param {number | null} length
 */
function withLength(list, length) {
  const sent = ArrayPrototypeFilter(
    list,
    ({ 0: name }) => name.length !== 14 || StringPrototypeToLowerCase(name) !== "content-length",
  );
  if (length !== null) ArrayPrototypePush(sent, ["content-length", String(length)]);
  return sent;
}

/** @returns {Uint8Array} the bytes of a chunk that tenant code put into a body's stream */
function chunkBytes(chunk) {
  if (TypedArrayPrototypeGetSymbolToStringTag(chunk) === "Uint8Array") return chunk;
  if (ArrayBufferIsView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (core.isAnyArrayBuffer(chunk)) return new Uint8Array(chunk);
  if (typeof chunk === "string") return core.encode(chunk);
  throw new TypeError(
    "This ReadableStream did not return bytes: a body's stream may hold ArrayBuffer, ArrayBufferView or string chunks.",
  );
}

/**
 * Sends a body's stream, waiting whenever the receiver has no room.
 * @param {number} stream
 * @param {ReadableStream} readable
 * @param {((cancel: () => void) => void) | undefined} onStart is given what stops the source
 */
async function pump(stream, readable, onStart = undefined) {
  const backing = getReadableStreamResourceBacking(readable);
  if (backing !== undefined && backing !== null && !readable.locked) {
    readable.getReader();
    return await op_stream_pipe(backing.rid, stream);
  }
  const reader = readable.getReader();
  onStart?.(() => {
    PromisePrototypeCatch(reader.cancel(new DOMException("The client went away.", "AbortError")), () => {});
  });
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) break;
      const bytes = chunkBytes(value);
      let at = 0;
      // Pieces of 64 KiB, so that one large chunk does not run past the receiver's window.
      while (at < bytes.byteLength) {
        const piece = bytes.subarray(at, at + 65536);
        while (!op_stream_try_write(stream, piece)) await op_stream_writable(stream);
        at += piece.byteLength;
      }
    }
    op_stream_finish(stream);
  } catch (error) {
    op_stream_reset(stream, false, String(error?.message ?? error));
    PromisePrototypeCatch(reader.cancel(error), () => {});
    throw error;
  }
}

/**
 * Takes a body apart for sending.
 * @param {InnerBody | null} body
 * @returns {{ bytes: Uint8Array | null, readable: ReadableStream | null }}
 */
function splitBody(body) {
  if (body === null || body === undefined) return { bytes: null, readable: null };
  const source = body.streamOrStatic;
  if (ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, source)) return { bytes: null, readable: source };
  if (source.consumed) throw new TypeError("Body already used");
  source.consumed = true;
  return { bytes: typeof source.body === "string" ? core.encode(source.body) : source.body, readable: null };
}

/** JSON in ASCII: a head block has bytes, and whoever reads meta takes them for UTF-8. */
function inAscii(json) {
  if (core.byteLength(json) === json.length) return json;
  let ascii = "";
  for (let i = 0; i < json.length; i++) {
    const code = StringPrototypeCharCodeAt(json, i);
    ascii += code < 128 ? json[i] : "\\u" + StringPrototypePadStart(NumberPrototypeToString(code, 16), 4, "0");
  }
  return ascii;
}

/**
 * Asks something of the world: opens a stream, sends the body, gives the answer.
 * @param {{ target: string, method: string, url: string, meta: string, headers: string }} head
 * @param {InnerBody | null} body
 * @param {AbortSignal | undefined} signal
 * @param {boolean} more the caller will send on the stream
 * @returns {Promise<{ stream: number, status: number, statusText: string, meta: string,
 *   headerList: [string, string][], body: Uint8Array | number }>}
 */
async function ask(head, body, signal = undefined, more = false) {
  const { bytes, readable } = splitBody(body);
  const block = ArrayPrototypeJoin([head.target, head.method, head.url, inAscii(head.meta)], "\n") + head.headers;
  const stream = op_door_open(block, bytes, more || readable !== null);
  if (readable !== null) PromisePrototypeCatch(pump(stream, readable), () => {});
  let onAbort;
  if (signal !== undefined) {
    onAbort = () => op_stream_reset(stream, true, "aborted");
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  }
  let reply;
  try {
    reply = await op_door_reply(stream);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw error;
  }
  const fields = StringPrototypeSplit(reply.head, "\n");
  const headerList = [];
  for (let i = 3; i + 1 < fields.length; i += 2) ArrayPrototypePush(headerList, [fields[i], fields[i + 1]]);
  return {
    __proto__: null,
    stream,
    status: +fields[0],
    statusText: fields[1],
    meta: fields[2],
    headerList,
    body: reply.rid ?? reply.bytes,
  };
}

return {
  ask,
  formatHeaders,
  innerBodyOf,
  knownLengthOf,
  lengthIn,
  lengthOf,
  parseHeaders,
  pump,
  setKnownLength,
  withLength,
};
})();
