// Forms as they are posted, `multipart/form-data`: https://www.rfc-editor.org/rfc/rfc7578. As on Workers, lines may end
// with LF alone, and what is cut off or has no name is an error rather than a form that lacks something.
(function () {
const { core, primordials } = __bootstrap;
const {
  StringPrototypeCharAt,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeSplit,
  StringPrototypeToLowerCase,
  StringPrototypeTrim,
  TypedArrayPrototypeIndexOf,
  TypedArrayPrototypeSubarray,
  TypeError,
} = primordials;
const { FormData } = core.loadExtScript("ext:deno_fetch/21_formdata.js");
const { File } = core.loadExtScript("ext:deno_web/09_file.js");

/** The most that the headers of one part take, in bytes. */
const PART_HEADER_BYTES_MAX = 16 * 1024;
/** How many parts a form may have. */
const PARTS_MAX = 65536;

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const DASH = 45;

/**
 * The delimiter that a line is, if it is one.
 * @param {Uint8Array} body
 * @param {Uint8Array} delimiter
 * @param {number} at where the line begins
 * @returns {{ at: number, next: number, last: boolean } | undefined} `next` is where the next line begins
 */
function delimiterAt(body, delimiter, at) {
  for (let i = 0; i < delimiter.length; i++) if (body[at + i] !== delimiter[i]) return undefined;
  let next = at + delimiter.length;
  if (body[next] === DASH && body[next + 1] === DASH) return { at, next: next + 2, last: true };
  while (body[next] === SPACE || body[next] === TAB) next++;
  if (body[next] === CR) next++;
  return body[next] === LF ? { at, next: next + 1, last: false } : undefined;
}

/** The first delimiter from the line that begins at `from`. A delimiter is within a line: each byte is compared once. */
function findDelimiter(body, delimiter, from) {
  let at = from;
  while (true) {
    const found = delimiterAt(body, delimiter, at);
    if (found !== undefined) return found;
    const feed = TypedArrayPrototypeIndexOf(body, LF, at);
    if (feed === -1) return undefined;
    at = feed + 1;
  }
}

/** Where a line ends that begins at `from`, without its line feed and what belongs to that. */
function lineEnd(body, from, feed) {
  return feed > from && body[feed - 1] === CR ? feed - 1 : feed;
}

/**
 * The headers of a part, which begins at `from`.
 * @returns {{ headers: Record<string, string>, next: number }}
 */
function headersOf(body, from) {
  const headers = { __proto__: null };
  let at = from;
  while (true) {
    const feed = TypedArrayPrototypeIndexOf(body, LF, at);
    if (feed === -1) throw new TypeError("Cannot read a multipart form: it ends among the headers of a part.");
    if (feed - from > PART_HEADER_BYTES_MAX) {
      throw new TypeError(`Cannot read a multipart form: the headers of a part take more than ${PART_HEADER_BYTES_MAX} bytes.`);
    }
    const end = lineEnd(body, at, feed);
    if (end === at) return { headers, next: feed + 1 };
    const line = core.decode(TypedArrayPrototypeSubarray(body, at, end));
    const colon = StringPrototypeIndexOf(line, ":");
    if (colon !== -1) {
      const name = StringPrototypeToLowerCase(StringPrototypeTrim(StringPrototypeSlice(line, 0, colon)));
      headers[name] = StringPrototypeTrim(StringPrototypeSlice(line, colon + 1));
    }
    at = feed + 1;
  }
}

/**
 * The value that begins at `from`: a quoted string or a token.
 * @returns {{ value: string, next: number }}
 */
function valueAt(text, from) {
  if (StringPrototypeCharAt(text, from) !== '"') {
    const end = StringPrototypeIndexOf(text, ";", from);
    const next = end === -1 ? text.length : end;
    return { value: StringPrototypeTrim(StringPrototypeSlice(text, from, next)), next };
  }
  let value = "";
  let at = from + 1;
  while (at < text.length) {
    let char = StringPrototypeCharAt(text, at++);
    if (char === '"') break;
    const escaped = StringPrototypeCharAt(text, at);
    // Some clients send the path of a file as it is: a backslash before anything else is one.
    if (char === "\\" && (escaped === '"' || escaped === "\\")) {
      char = escaped;
      at++;
    }
    value += char;
  }
  const end = StringPrototypeIndexOf(text, ";", at);
  return { value, next: end === -1 ? text.length : end };
}

/** @returns {Record<string, string>} the parameters of a Content-Disposition that is `form-data` */
function dispositionOf(text) {
  const kind = text === undefined ? "" : StringPrototypeSplit(text, ";", 1)[0];
  if (StringPrototypeToLowerCase(StringPrototypeTrim(kind)) !== "form-data") {
    throw new TypeError('Cannot read a multipart form: a part has no header "Content-Disposition: form-data".');
  }
  const parameters = { __proto__: null };
  let at = kind.length;
  while (at < text.length) {
    const equals = StringPrototypeIndexOf(text, "=", at);
    if (equals === -1) break;
    const name = StringPrototypeToLowerCase(StringPrototypeTrim(StringPrototypeSlice(text, at + 1, equals)));
    let from = equals + 1;
    while (StringPrototypeCharAt(text, from) === " ") from++;
    const { value, next } = valueAt(text, from);
    parameters[name] ??= value;
    at = next;
  }
  return parameters;
}

/**
 * @param {FormData} form that the part is added to
 * @param {Record<string, string>} headers
 * @param {Uint8Array} content
 */
function addPart(form, headers, content) {
  const { name, filename } = dispositionOf(headers["content-disposition"]);
  if (name === undefined) {
    throw new TypeError("Cannot read a multipart form: the Content-Disposition of a part has no name.");
  }
  if (filename === undefined) form.append(name, core.decode(content));
  else form.append(name, new File([content], filename, { type: headers["content-type"] ?? "" }));
}

/**
 * @param {Uint8Array} body
 * @param {string | undefined} boundary
 * @returns {FormData}
 */
function parseFormData(body, boundary) {
  if (boundary === undefined || boundary === null || boundary === "") {
    throw new TypeError("Cannot read a multipart form: its Content-Type names no boundary.");
  }
  const delimiter = core.encode(`--${boundary}`);
  let found = findDelimiter(body, delimiter, 0);
  if (found === undefined) throw new TypeError("Cannot read a multipart form: it does not have its boundary.");
  const form = new FormData();
  for (let parts = 0; !found.last; parts++) {
    if (parts === PARTS_MAX) throw new TypeError(`Cannot read a multipart form: it has more than ${PARTS_MAX} parts.`);
    const { headers, next } = headersOf(body, found.next);
    found = findDelimiter(body, delimiter, next);
    if (found === undefined) throw new TypeError("Cannot read a multipart form: it ends within a part.");
    // The line feed before a delimiter belongs to the delimiter.
    const end = found.at > next ? lineEnd(body, next, found.at - 1) : next;
    addPart(form, headers, TypedArrayPrototypeSubarray(body, next, end));
  }
  return form;
}

return { parseFormData };
})();
