// The streams that Workers add to the standard's: bytes that pass unchanged, with or without a known length.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayBufferIsView,
  BigInt,
  MathFloor,
  NumberIsFinite,
  ObjectDefineProperty,
  Promise,
  SymbolToStringTag,
  TypedArrayPrototypeSlice,
  TypeError,
  Uint8Array,
} = primordials;
const { createReadableByteStream, ReadableStream, TransformStream, WritableStream } = core
  .loadExtScript("ext:deno_web/06_streams.js");
const { setKnownLength } = core.loadExtScript("ext:selvedge/door.js");

/** @returns {Uint8Array} a copy, as the writer keeps its own */
function copyOf(chunk) {
  if (typeof chunk === "string") return core.encode(chunk);
  if (ArrayBufferIsView(chunk)) {
    return TypedArrayPrototypeSlice(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  }
  if (core.isAnyArrayBuffer(chunk)) return TypedArrayPrototypeSlice(new Uint8Array(chunk));
  throw new TypeError(
    "This TransformStream is being used as a byte stream, but received an object of non-ArrayBuffer/ArrayBufferView type on its writable side.",
  );
}

/**
 * Two ends of a pipe of bytes that holds one chunk, and takes it only once a reader asks.
 * @param {number | undefined} expected how many bytes must pass
 */
function identity(expected) {
  let controller;
  let wanted;
  let want;
  let failed;
  let fail;
  let passed = 0;
  const renew = () => {
    wanted = new Promise((resolve) => {
      want = resolve;
    });
  };
  renew();
  const failure = new Promise((_, reject) => {
    fail = reject;
  });
  // Told to whoever writes; nobody else needs to hear of it.
  failure.catch(() => {});

  const readable = new ReadableStream({
    type: "bytes",
    start(given) {
      controller = given;
    },
    pull() {
      want();
    },
    cancel(reason) {
      failed = { reason };
      fail(reason);
    },
  }, { highWaterMark: 0 });

  const writable = new WritableStream({
    async write(chunk) {
      const bytes = copyOf(chunk);
      if (bytes.byteLength === 0) return;
      if (expected !== undefined && passed + bytes.byteLength > expected) {
        const error = new TypeError("Attempt to write too many bytes through a FixedLengthStream.");
        controller.error(error);
        throw error;
      }
      if (failed === undefined) await Promise.race([wanted, failure]);
      else throw failed.reason;
      passed += bytes.byteLength;
      renew();
      controller.enqueue(bytes);
      if (controller.desiredSize !== null && controller.byobRequest !== null) want();
    },
    close() {
      if (expected !== undefined && passed < expected) {
        const error = new TypeError("FixedLengthStream did not see all expected bytes before close().");
        controller.error(error);
        throw error;
      }
      if (failed !== undefined) return;
      controller.close();
      controller.byobRequest?.respond(0);
    },
    abort(reason) {
      if (failed === undefined) controller.error(reason);
    },
  });
  if (expected !== undefined) setKnownLength(readable, expected);
  return { readable, writable };
}

/**
 * A stream of Uint8Arrays as one of bytes, whose readers may bring buffers of their own.
 * @param {ReadableStream} source which holds nothing that anyone else keeps
 */
function asBytes(source) {
  const reader = source.getReader();
  return createReadableByteStream(
    () => {},
    async (controller) => {
      const { done, value } = await reader.read();
      if (!done) return controller.enqueue(value);
      controller.close();
      controller.byobRequest?.respond(0);
    },
    (reason) => reader.cancel(reason),
  );
}

/** Gives an IdentityTransformStream ends whose length is known. */
let fix;

/** https://developers.cloudflare.com/workers/runtime-apis/streams/transformstream/#identitytransformstream */
class IdentityTransformStream extends TransformStream {
  #ends;
  constructor(_queuingStrategy = undefined) {
    super();
    this.#ends = identity(undefined);
  }
  static {
    fix = (stream, expected) => {
      stream.#ends = identity(expected);
    };
  }
  get readable() {
    return this.#ends.readable;
  }
  get writable() {
    return this.#ends.writable;
  }
}
/** https://developers.cloudflare.com/workers/runtime-apis/streams/transformstream/#fixedlengthstream */
class FixedLengthStream extends IdentityTransformStream {
  constructor(expectedLength, queuingStrategy = undefined) {
    super(queuingStrategy);
    const length = typeof expectedLength === "bigint" ? Number(BigInt(expectedLength)) : +expectedLength;
    if (!NumberIsFinite(length) || length < 0 || MathFloor(length) !== length || length > Number.MAX_SAFE_INTEGER) {
      throw new TypeError("FixedLengthStream requires an integer expected length from 0 to 2^53-1.");
    }
    fix(this, length);
  }
}

for (const constructor of [IdentityTransformStream, FixedLengthStream]) {
  ObjectDefineProperty(constructor.prototype, SymbolToStringTag, {
    __proto__: null,
    value: constructor.name,
    configurable: true,
  });
}

return { asBytes, FixedLengthStream, IdentityTransformStream };
})();
