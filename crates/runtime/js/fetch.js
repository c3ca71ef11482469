// fetch, by the host door. Takes the place of deno_fetch's 26_fetch.js, with the exports that others of Deno's scripts use.
(function () {
const { core, primordials } = __bootstrap;
const { op_stream_finish } = core.ops;
const {
  ArrayPrototypeFind,
  Error,
  EvalError,
  JSONParse,
  JSONStringify,
  ObjectPrototypeIsPrototypeOf,
  PromiseReject,
  RangeError,
  ReferenceError,
  StringPrototypeIndexOf,
  StringPrototypeLastIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
  SyntaxError,
  TypeError,
  URIError,
} = primordials;
const { ask, formatHeaders, innerBodyOf, lengthOf, setKnownLength, withLength } = core.loadExtScript("ext:selvedge/door.js");
const {
  fromInnerResponse,
  nullBodyStatus,
  Request,
  RequestPrototype,
  Response,
  toInnerRequest,
  webSocketKey,
  fetcherKey,
} = core.loadExtScript("ext:selvedge/http.js");
const { current } = core.loadExtScript("ext:selvedge/events.js");

/**
 * Sends a request to a target of the host door and makes a Response of the answer.
 * @param {string} target `fetch` for the world, or what a binding names
 * @param {Request} request
 * @param {object} extra more for the meta of the stream
 * @returns {Promise<Response>}
 */
async function send(target, request, extra = undefined) {
  const inner = toInnerRequest(request);
  const signal = request.signal;
  if (signal?.aborted) throw signal.reason;
  const response = await sendInner(target, inner, signal, request.cf, extra);
  return response;
}

/** Text becomes the bytes that it is sent as: their length goes ahead of them. */
function measure(body) {
  const source = body.streamOrStatic;
  if (typeof source.body !== "string") return;
  source.body = core.encode(source.body);
  body.length = source.body.byteLength;
}

/** A URL without what only the sender needs: as HTTP has no place for it, another worker is not told either. */
function wireUrl(href) {
  const hash = StringPrototypeIndexOf(href, "#");
  const url = hash === -1 ? href : StringPrototypeSlice(href, 0, hash);
  const from = StringPrototypeIndexOf(url, "//") + 2;
  const slash = StringPrototypeIndexOf(url, "/", from);
  const query = StringPrototypeIndexOf(url, "?", from);
  const path = slash === -1 || (query !== -1 && query < slash) ? query : slash;
  const authority = StringPrototypeSlice(url, from, path === -1 ? url.length : path);
  const at = StringPrototypeLastIndexOf(authority, "@");
  if (at === -1) return url;
  return StringPrototypeSlice(url, 0, from) + StringPrototypeSlice(url, from + at + 1);
}

const ERRORS = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

/** What another worker threw, of its own class: its name and its message are what came of it. */
function exceptionOf(text) {
  for (const name in ERRORS) {
    if (StringPrototypeStartsWith(text, name + ": ")) return new ERRORS[name](StringPrototypeSlice(text, name.length + 2));
  }
  return new TypeError(text);
}

async function sendInner(target, inner, signal, cf, extra) {
  if (inner.body !== null && inner.body.unusable()) {
    throw new TypeError("Cannot construct a Request with a Request object that has already been used.");
  }
  if (inner.body !== null) measure(inner.body);
  const meta = { event: current()?.stream, redirect: inner.redirectMode, ...extra };
  if (cf !== undefined) meta.cf = cf;
  const upgrade = headerOf(inner.headerList, "upgrade");
  const websocket = upgrade !== undefined && StringPrototypeToLowerCase(upgrade) === "websocket";
  if (websocket) meta.websocket = true;
  let reply;
  try {
    reply = await ask(
      {
        target,
        method: inner.method,
        url: target === "fetch" ? inner.currentUrl() : wireUrl(inner.currentUrl()),
        meta: JSONStringify(meta),
        headers: formatHeaders(
          inner.body === null || inner.body.length === undefined
            ? inner.headerList
            : withLength(inner.headerList, inner.body.length),
        ),
      },
      websocket ? null : inner.body,
      signal,
      websocket,
    );
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw target === "fetch" ? new TypeError(error.message) : exceptionOf(error.message);
  }
  const answer = reply.meta === "" ? {} : JSONParse(reply.meta);
  const urlList = [inner.url()];
  if (answer.url !== undefined && answer.url !== urlList[0]) urlList.push(answer.url);
  const body = nullBodyStatus(reply.status) || inner.method === "HEAD" ? null : innerBodyOf(reply.body);
  if (body !== null && typeof reply.body === "number" && answer.decoded !== true) {
    setKnownLength(body, lengthOf(headerOf(reply.headerList, "content-length") ?? ""));
  }
  const response = fromInnerResponse({
    type: "default",
    status: reply.status,
    statusMessage: reply.statusText,
    headerList: reply.headerList,
    body,
    aborted: false,
    bodyDecoded: answer.decoded === true,
    urlList,
    url() {
      return this.urlList[this.urlList.length - 1];
    },
  }, "immutable");
  if (reply.status === 101) {
    const { clientOfStream } = core.loadExtScript("ext:selvedge/websocket.js");
    response[webSocketKey] = clientOfStream(reply.stream, reply.body, reply.headerList);
  } else if (websocket) {
    // No messages will follow.
    op_stream_finish(reply.stream);
  }
  return response;
}

/** The value of the first header of a name. */
function headerOf(list, name) {
  return ArrayPrototypeFind(
    list,
    ({ 0: key }) => key.length === name.length && StringPrototypeToLowerCase(key) === name,
  )?.[1];
}

/** What a `data:` URL holds: https://fetch.spec.whatwg.org/#scheme-fetch */
async function dataOf(request) {
  if (request.signal.aborted) throw request.signal.reason;
  const { dataUrl } = core.loadExtScript("ext:selvedge/data_url.js");
  const { type, bytes } = dataUrl(request.url);
  return new Response(bytes, { headers: { "content-type": type } });
}

/** https://developers.cloudflare.com/workers/runtime-apis/fetch/ */
function fetch(input, init = undefined) {
  let request;
  try {
    request = ObjectPrototypeIsPrototypeOf(RequestPrototype, input) && init === undefined
      ? input
      : new Request(input, init);
  } catch (error) {
    return PromiseReject(error);
  }
  if (StringPrototypeStartsWith(toInnerRequest(request).url(), "data:")) return dataOf(request);
  const fetcher = request[fetcherKey];
  if (fetcher !== undefined) return fetcher.fetch(request);
  return send("fetch", request);
}

/** What deno_fetch's EventSource asks with. */
async function mainFetch(inner, _recursive, terminator) {
  const response = await sendInner("fetch", inner, terminator, undefined, undefined);
  return core.loadExtScript("ext:deno_fetch/23_response.js").toInnerResponse(response);
}

return { fetch, mainFetch, send };
})();
