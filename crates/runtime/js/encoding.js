// Codings that a response's headers promise. Inside, bodies are plain: one is coded on its way to a client, and one that
// a worker coded itself (`encodeBody: "manual"`) is decoded where it stays inside.
(function () {
const { core, primordials } = __bootstrap;
const { op_compression_finish, op_compression_new, op_compression_write } = core.ops;
const { ObjectPrototypeIsPrototypeOf, TypedArrayPrototypeSet, Uint8Array } = primordials;
const { CompressionStream, DecompressionStream } = core.loadExtScript("ext:deno_web/14_compression.js");
const { ReadableStreamPrototype } = core.loadExtScript("ext:deno_web/06_streams.js");

const FORMATS = { __proto__: null, gzip: "gzip", br: "brotli" };

/**
 * @param {"gzip" | "br"} coding
 * @param {string | Uint8Array} body
 * @returns {Uint8Array}
 */
function encode(coding, body) {
  const rid = op_compression_new(FORMATS[coding], false);
  const first = op_compression_write(rid, typeof body === "string" ? core.encode(body) : body);
  const last = op_compression_finish(rid, true);
  const whole = new Uint8Array(first.byteLength + last.byteLength);
  TypedArrayPrototypeSet(whole, first, 0);
  TypedArrayPrototypeSet(whole, last, first.byteLength);
  return whole;
}

/**
 * What of a body goes out, where it does not go out as it is.
 * @param {"gzip" | "br"} coding
 * @param {InnerBody} body
 * @param {boolean} manual the worker coded it
 * @param {boolean} inside it goes to another worker
 * @returns {ReadableStream | { body: Uint8Array, consumed: boolean } | null}
 */
function outgoing(coding, body, manual, inside) {
  if (manual !== inside) return null;
  if (inside) return decoded(coding, body);
  const source = body.streamOrStatic;
  if (ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, source)) {
    return source.pipeThrough(new CompressionStream(FORMATS[coding]));
  }
  source.consumed = true;
  return { body: encode(coding, source.body), consumed: false };
}

/**
 * @param {"gzip" | "br"} coding
 * @param {InnerBody} body
 * @returns {ReadableStream}
 */
function decoded(coding, body) {
  return body.stream.pipeThrough(new DecompressionStream(FORMATS[coding]));
}

return { decoded, outgoing };
})();
