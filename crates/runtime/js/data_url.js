// `data:` URLs: https://fetch.spec.whatwg.org/#data-urls
(function () {
const { core, primordials } = __bootstrap;
const {
  NumberParseInt,
  RegExpPrototypeTest,
  SafeRegExp,
  StringPrototypeCharCodeAt,
  StringPrototypeIndexOf,
  StringPrototypeReplace,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  StringPrototypeTrim,
  TypeError,
  TypedArrayPrototypeSubarray,
  Uint8Array,
} = primordials;
const { parseMimeType, serializeMimeType } = core.loadExtScript("ext:deno_web/01_mimesniff.js");
const { forgivingBase64Decode } = core.loadExtScript("ext:deno_web/00_infra.js");

const BASE64 = new SafeRegExp(/; *base64$/i);
const PERCENT = 0x25;
const HEXADECIMAL = new SafeRegExp(/^[0-9A-Fa-f]{2}$/);

/** https://url.spec.whatwg.org/#string-percent-decode, of text in ASCII: what a serialised URL is */
function percentDecode(text) {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    let byte = StringPrototypeCharCodeAt(text, i);
    if (byte === PERCENT) {
      const digits = StringPrototypeSlice(text, i + 1, i + 3);
      if (RegExpPrototypeTest(HEXADECIMAL, digits)) {
        byte = NumberParseInt(digits, 16);
        i += 2;
      }
    }
    bytes[length++] = byte;
  }
  return TypedArrayPrototypeSubarray(bytes, 0, length);
}

/**
 * @param {string} url
 * @returns {{ type: string, bytes: Uint8Array }}
 */
function dataUrl(url) {
  const hash = StringPrototypeIndexOf(url, "#");
  const text = StringPrototypeSlice(url, 5, hash === -1 ? url.length : hash);
  const comma = StringPrototypeIndexOf(text, ",");
  if (comma === -1) throw new TypeError("Fetch API cannot load: the data: URL has no comma.");
  let type = StringPrototypeTrim(StringPrototypeSlice(text, 0, comma));
  let bytes = percentDecode(StringPrototypeSlice(text, comma + 1));
  if (RegExpPrototypeTest(BASE64, type)) {
    type = StringPrototypeReplace(type, BASE64, "");
    try {
      bytes = forgivingBase64Decode(core.decode(bytes));
    } catch {
      throw new TypeError("Fetch API cannot load: what the data: URL holds is not base64.");
    }
  }
  if (StringPrototypeStartsWith(type, ";")) type = "text/plain" + type;
  const mime = parseMimeType(type);
  return { type: mime === null ? "text/plain;charset=US-ASCII" : serializeMimeType(mime), bytes };
}

return { dataUrl };
})();
