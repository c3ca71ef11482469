// Rate limits as bindings: https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/
(function () {
const { core, primordials } = __bootstrap;
const { Error, JSONParse, JSONStringify, ObjectDefineProperty, ObjectKeys, SymbolToStringTag, TypeError } = primordials;
const { ask } = core.loadExtScript("ext:selvedge/door.js");
const events = core.loadExtScript("ext:selvedge/events.js");

/** The longest key, in bytes of UTF-8. */
const KEY_BYTES_MAX = 16384;

/** What is counted under, or a TypeError that says what is wrong with it. */
function keyOf(options) {
  if (typeof options !== "object" || options === null) {
    throw new TypeError("invalid rate limit options: limit() needs an object with a key, such as { key: userId }.");
  }
  const names = ObjectKeys(options);
  for (let i = 0; i < names.length; i++) {
    if (names[i] !== "key") throw new TypeError(`bad rate limit options: [${names[i]}]: "key" is the only one.`);
  }
  const { key } = options;
  if (typeof key !== "string") throw new TypeError(`invalid key: it must be a string, but it is of type ${typeof key}.`);
  const bytes = core.byteLength(key);
  if (bytes > KEY_BYTES_MAX) throw new TypeError(`invalid key: it takes ${bytes} bytes; ${KEY_BYTES_MAX} are allowed.`);
  return key;
}

class RateLimit {
  #target;
  constructor(target) {
    this.#target = target;
  }
  /**
   * Counts one use of `key`.
   * @param {{ key: string }} options
   * @returns {Promise<{ success: boolean }>} whether it is within the limit
   */
  async limit(options) {
    const meta = JSONStringify({ __proto__: null, event: events.current()?.stream, key: keyOf(options) });
    const reply = await ask({ target: this.#target, method: "POST", url: "", meta, headers: "" }, null);
    if (reply.status !== 200) throw new Error(`The rate limit cannot be asked: status ${reply.status}.`);
    return { success: JSONParse(reply.meta).success === true };
  }
}
ObjectDefineProperty(RateLimit.prototype, SymbolToStringTag, { __proto__: null, value: "RateLimit", configurable: true });

/** @param {string} name the binding's */
function rateLimit(name) {
  return new RateLimit(`ratelimit:${name}`);
}

return { rateLimit };
})();
