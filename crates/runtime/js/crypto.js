// What Workers add to WebCrypto: DigestStream, timingSafeEqual, and MD5 as a digest.
(function () {
const { core, primordials } = __bootstrap;
const { op_digest, op_digest_finish, op_digest_new, op_digest_update, op_timing_safe_equal } = core.ops;
const {
  ArrayBufferIsView,
  BigInt,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  Promise,
  PromisePrototypeCatch,
  PromisePrototypeThen,
  PromiseResolve,
  ReflectApply,
  String,
  StringPrototypeToUpperCase,
  SymbolToStringTag,
  TypeError,
  Uint8Array,
} = primordials;
const deno = core.loadExtScript("ext:deno_crypto/00_crypto.js");
const { WritableStream } = core.loadExtScript("ext:deno_web/06_streams.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");

const ALGORITHMS = ["MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"];

/** @returns {string} the name of a digest */
function algorithmName(algorithm) {
  const name = StringPrototypeToUpperCase(String(typeof algorithm === "object" ? algorithm?.name : algorithm));
  if (!ALGORITHMS.includes(name)) throw new DOMException(`Unrecognized or unimplemented digest algorithm requested ("${name}").`, "NotSupportedError");
  return name;
}

/** @returns {Uint8Array} the bytes of a BufferSource, not copied */
function bytesOf(source) {
  if (ArrayBufferIsView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (core.isAnyArrayBuffer(source)) return new Uint8Array(source);
  return undefined;
}

/** https://developers.cloudflare.com/workers/runtime-apis/web-crypto/#constructors */
class DigestStream extends WritableStream {
  #digest;
  #written = 0;

  constructor(algorithm) {
    const name = algorithmName(algorithm);
    let rid = op_digest_new(name);
    let resolve, reject;
    const digest = new Promise((yes, no) => {
      resolve = yes;
      reject = no;
    });
    // Nobody needs to ask for the digest of a stream that failed.
    PromisePrototypeCatch(digest, () => {});
    const count = (bytes) => this.#written += bytes;
    super({
      write(chunk) {
        const bytes = typeof chunk === "string" ? core.encode(chunk) : bytesOf(chunk);
        if (bytes === undefined) {
          const error = new TypeError("DigestStream is a byte stream but received an object of non-ArrayBuffer/ArrayBufferView/string type on its writable side.");
          reject(error);
          throw error;
        }
        op_digest_update(rid, bytes);
        count(bytes.byteLength);
      },
      close() {
        resolve(op_digest_finish(rid).buffer);
        rid = undefined;
      },
      abort(reason) {
        core.tryClose(rid);
        reject(reason);
      },
    });
    this.#digest = digest;
  }

  /** @returns {Promise<ArrayBuffer>} */
  get digest() {
    return this.#digest;
  }
  get bytesWritten() {
    return BigInt(this.#written);
  }
}
ObjectDefineProperty(DigestStream.prototype, SymbolToStringTag, {
  __proto__: null,
  value: "DigestStream",
  configurable: true,
});

ObjectDefineProperty(deno.Crypto.prototype, "DigestStream", {
  __proto__: null,
  get() {
    return DigestStream;
  },
  enumerable: true,
  configurable: true,
});

const subtlePrototype = deno.SubtleCrypto.prototype;
const { value: standardDigest } = ObjectGetOwnPropertyDescriptor(subtlePrototype, "digest");

function method(name, value) {
  ObjectDefineProperty(subtlePrototype, name, {
    __proto__: null,
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

const { digest, timingSafeEqual } = {
  digest(algorithm, data) {
    const name = typeof algorithm === "object" ? algorithm?.name : algorithm;
    const bytes = bytesOf(data);
    if (typeof name === "string" && StringPrototypeToUpperCase(name) === "MD5" && bytes !== undefined) {
      return PromisePrototypeThen(PromiseResolve(), () => op_digest("MD5", bytes).buffer);
    }
    return ReflectApply(standardDigest, this, arguments);
  },
  timingSafeEqual(a, b) {
    const left = bytesOf(a);
    const right = bytesOf(b);
    if (left === undefined || right === undefined) {
      throw new TypeError("Failed to execute 'timingSafeEqual' on 'SubtleCrypto': parameters must be ArrayBuffers or ArrayBufferViews.");
    }
    if (left.byteLength !== right.byteLength) throw new TypeError("Input buffers must have the same byte length.");
    return op_timing_safe_equal(left, right);
  },
};
method("digest", digest);
method("timingSafeEqual", timingSafeEqual);

return {
  Crypto: deno.Crypto,
  get crypto() {
    return deno.crypto;
  },
  CryptoKey: deno.CryptoKey,
  DigestStream,
  SubtleCrypto: deno.SubtleCrypto,
};
})();
