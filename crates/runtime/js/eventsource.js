// EventSource, and `EventSource.from` for a stream that the worker has already.
(function () {
const { core, primordials } = __bootstrap;
const {
  ObjectDefineProperties,
  ObjectDefineProperty,
  ReflectConstruct,
  StringPrototypeEndsWith,
  StringPrototypeIncludes,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  Symbol,
  SymbolDispose,
  SymbolToStringTag,
  TypeError,
} = primordials;
const { Event, EventTarget, MessageEvent, setIsTrusted } = core.loadExtScript("ext:deno_web/02_event.js");
const { EventSource, TextLineStream } = core.loadExtScript("ext:deno_fetch/27_eventsource.js");
const { TextDecoderStream } = core.loadExtScript("ext:deno_web/08_text_encoding.js");
const { isReadableStream } = core.loadExtScript("ext:deno_web/06_streams.js");

/** Calls `each` for every event of a stream, as https://html.spec.whatwg.org/#event-stream-interpretation says. */
async function interpret(stream, each) {
  let data = "";
  let type = "";
  let lastEventId = "";
  const lines = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream({ allowCR: true }));
  for await (const line of lines) {
    if (line === "") {
      if (data !== "") {
        if (StringPrototypeEndsWith(data, "\n")) data = StringPrototypeSlice(data, 0, -1);
        each(type || "message", data, lastEventId);
      }
      data = "";
      type = "";
      continue;
    }
    if (StringPrototypeStartsWith(line, ":")) continue;
    const colon = StringPrototypeIndexOf(line, ":");
    const field = colon === -1 ? line : StringPrototypeSlice(line, 0, colon);
    let value = colon === -1 ? "" : StringPrototypeSlice(line, colon + 1);
    if (StringPrototypeStartsWith(value, " ")) value = StringPrototypeSlice(value, 1);
    if (field === "event") type = value;
    else if (field === "data") data += value + "\n";
    else if (field === "id" && !StringPrototypeIncludes(value, "\0")) lastEventId = value;
  }
}

/** https://developers.cloudflare.com/workers/runtime-apis/eventsource/ */
function from(stream) {
  if (!isReadableStream(stream)) {
    throw new TypeError("Failed to execute 'from' on 'EventSource': parameter 1 is not of type 'ReadableStream'.");
  }
  const source = ReflectConstruct(EventTarget, [], EventSource);
  let readyState = 1;
  const own = (get) => ({ __proto__: null, get, enumerable: true, configurable: true });
  const method = (value) => ({ __proto__: null, value, writable: true, enumerable: true, configurable: true });
  ObjectDefineProperties(source, {
    readyState: own(() => readyState),
    url: own(() => ""),
    withCredentials: own(() => false),
    close: method(() => {
      readyState = 2;
    }),
  });
  (async () => {
    try {
      await interpret(stream, (type, data, lastEventId) => {
        if (readyState === 2) throw closed;
        const event = new MessageEvent(type, { data, lastEventId });
        setIsTrusted(event, true);
        source.dispatchEvent(event);
      });
    } catch {
      // Whatever ended the stream, it cannot be asked for again.
    }
    if (readyState !== 2) {
      readyState = 2;
      source.dispatchEvent(new Event("error"));
    }
  })();
  return source;
}
const closed = Symbol("closed");

ObjectDefineProperty(EventSource, "from", {
  __proto__: null,
  value: from,
  writable: true,
  enumerable: true,
  configurable: true,
});
ObjectDefineProperty(EventSource.prototype, SymbolDispose, {
  __proto__: null,
  value: { dispose() { this.close(); } }.dispose,
  writable: true,
  configurable: true,
});
ObjectDefineProperty(EventSource.prototype, SymbolToStringTag, {
  __proto__: null,
  value: "EventSource",
  configurable: true,
});
for (const name of ["CONNECTING", "OPEN", "CLOSED"]) {
  const value = EventSource[name];
  ObjectDefineProperty(EventSource.prototype, name, { __proto__: null, value, enumerable: true, configurable: true });
}

return { EventSource };
})();
