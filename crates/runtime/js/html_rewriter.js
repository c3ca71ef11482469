// HTMLRewriter: https://developers.cloudflare.com/workers/runtime-apis/html-rewriter/
//
// The parser stops wherever a handler is due and says which one; handlers run here, between two steps of it. One that
// returns a promise makes the rest of the document wait.
(function () {
const { core, primordials } = __bootstrap;
const {
  op_rewriter_attribute,
  op_rewriter_attributes,
  op_rewriter_check,
  op_rewriter_content,
  op_rewriter_end,
  op_rewriter_get,
  op_rewriter_has_attribute,
  op_rewriter_insert,
  op_rewriter_last_in_text_node,
  op_rewriter_new,
  op_rewriter_on_end_tag,
  op_rewriter_output,
  op_rewriter_proceed,
  op_rewriter_reason,
  op_rewriter_remove,
  op_rewriter_remove_attribute,
  op_rewriter_removed,
  op_rewriter_set,
  op_rewriter_set_attribute,
  op_rewriter_stream,
  op_rewriter_write,
  op_rewriter_write_text,
} = core.ops;
const {
  ArrayBufferIsView,
  ArrayPrototypeFilter,
  ArrayPrototypePop,
  ArrayPrototypePush,
  Error,
  FunctionPrototypeCall,
  ObjectDefineProperty,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototypeThen,
  PromiseReject,
  PromiseResolve,
  SafeFinalizationRegistry,
  String,
  StringPrototypeToLowerCase,
  Symbol,
  SymbolIterator,
  SymbolToStringTag,
  TypeError,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetSymbolToStringTag,
  Uint8Array,
} = primordials;
const {
  fromInnerResponse,
  ResponsePrototype,
  serveFastConsumedKey,
  toInnerResponse,
  wireHeaderList,
} = core.loadExtScript("ext:selvedge/http.js");
const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");
const { createReadableByteStream, ReadableStreamPrototype } = core.loadExtScript("ext:deno_web/06_streams.js");

/** What a step of the parser says; from `HANDLER` on, the number of the handler that is due. */
const IDLE = 0;
const DONE = 1;
const FAILED = 2;
const HANDLER = 3;

/** Fields of a token. */
const NAME = 0;
const TEXT = 1;
const PUBLIC_ID = 2;
const SYSTEM_ID = 3;
const NAMESPACE_URI = 4;

/** Where content goes. */
const BEFORE = 0;
const AFTER = 1;
const PREPEND = 2;
const APPEND = 3;
const REPLACE = 4;
const INNER = 5;

const _illegal = Symbol("not for tenants");

/** Closes the parsers of documents that nobody finished. */
const abandoned = new SafeFinalizationRegistry((rid) => core.tryClose(rid));

// === tokens ===

let ridOf;
let rewritingOf;

/** A part of the document, as a handler is given it: valid until the handler is done. */
class ContentToken {
  #rewriting;
  #serial;
  constructor(key, rewriting) {
    if (key !== _illegal) throw new TypeError("Illegal constructor");
    this.#rewriting = rewriting;
    this.#serial = rewriting.serial;
  }
  static {
    ridOf = (token) => {
      if (token.#rewriting.serial !== token.#serial) {
        throw new TypeError(
          "This content token is no longer valid. Content tokens are only valid during the execution of the relevant content handler.",
        );
      }
      return token.#rewriting.rid;
    };
    rewritingOf = (token) => token.#rewriting;
  }
}

function tag(Class, name) {
  ObjectDefineProperty(Class, "name", { __proto__: null, value: name, configurable: true });
  ObjectDefineProperty(Class.prototype, SymbolToStringTag, { __proto__: null, value: name, configurable: true });
}

/** Puts content (a string, a stream or a Response) somewhere. */
function insert(token, place, method, content, options) {
  const rid = ridOf(token);
  const html = options?.html === true;
  if (typeof content === "object" && content !== null) {
    let stream;
    if (ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, content)) stream = content;
    else if (ObjectPrototypeIsPrototypeOf(ResponsePrototype, content)) stream = content.body;
    if (stream === null) return token;
    if (stream !== undefined) {
      // Taken at once, so that nobody else reads it before its turn.
      const reader = stream.getReader();
      op_rewriter_stream(rid, place, rewritingOf(token).keep({ kind: streamed, reader, decoder: undefined }), html);
      return token;
    }
  }
  if (content === undefined) {
    throw new TypeError(
      `Failed to execute '${method}' on '${token[SymbolToStringTag]}': parameter 1 is not of type 'string or JsReadableStream or Response'.`,
    );
  }
  op_rewriter_insert(rid, place, String(content), html);
  return token;
}

/** @see https://developers.cloudflare.com/workers/runtime-apis/html-rewriter/#element */
class Element extends ContentToken {
  /** How often attributes were changed: for iterators. */
  #changes = 0;
  get tagName() {
    return op_rewriter_get(ridOf(this), NAME);
  }
  set tagName(name) {
    op_rewriter_set(ridOf(this), NAME, String(name));
  }
  get attributes() {
    const element = this;
    const began = this.#changes;
    const list = op_rewriter_attributes(ridOf(this));
    return new AttributesIterator(_illegal, list, () => {
      ridOf(element);
      if (element.#changes !== began) {
        throw new Error(
          "The attributes of this element have been modified during iteration. You must create a new iterator after modifying attributes.",
        );
      }
    });
  }
  get namespaceURI() {
    return op_rewriter_get(ridOf(this), NAMESPACE_URI);
  }
  get removed() {
    return op_rewriter_removed(ridOf(this));
  }
  getAttribute(name) {
    return op_rewriter_attribute(ridOf(this), String(name));
  }
  hasAttribute(name) {
    return op_rewriter_has_attribute(ridOf(this), String(name));
  }
  setAttribute(name, value) {
    this.#changes++;
    op_rewriter_set_attribute(ridOf(this), String(name), String(value));
    return this;
  }
  removeAttribute(name) {
    this.#changes++;
    op_rewriter_remove_attribute(ridOf(this), String(name));
    return this;
  }
  before(content, options) {
    return insert(this, BEFORE, "before", content, options);
  }
  after(content, options) {
    return insert(this, AFTER, "after", content, options);
  }
  prepend(content, options) {
    return insert(this, PREPEND, "prepend", content, options);
  }
  append(content, options) {
    return insert(this, APPEND, "append", content, options);
  }
  replace(content, options) {
    return insert(this, REPLACE, "replace", content, options);
  }
  setInnerContent(content, options) {
    return insert(this, INNER, "setInnerContent", content, options);
  }
  remove() {
    op_rewriter_remove(ridOf(this), false);
    return this;
  }
  removeAndKeepContent() {
    op_rewriter_remove(ridOf(this), true);
    return this;
  }
  onEndTag(handler) {
    const rid = ridOf(this);
    if (typeof handler !== "function") {
      throw new TypeError("Failed to execute 'onEndTag' on 'Element': parameter 1 is not of type 'Function'.");
    }
    const rewriting = rewritingOf(this);
    const id = rewriting.keep({ kind: EndTag, handler, self: undefined, once: true });
    op_rewriter_on_end_tag(rid, id);
  }
}

class AttributesIterator {
  #list;
  #at = 0;
  #check;
  constructor(key, list, check) {
    if (key !== _illegal) throw new TypeError("Illegal constructor");
    this.#list = list;
    this.#check = check;
  }
  next() {
    this.#check();
    const at = this.#at;
    if (at >= this.#list.length) return { done: true, value: undefined };
    this.#at = at + 2;
    return { done: false, value: [this.#list[at], this.#list[at + 1]] };
  }
  [SymbolIterator]() {
    return this;
  }
}

class EndTag extends ContentToken {
  get name() {
    return op_rewriter_get(ridOf(this), NAME);
  }
  set name(name) {
    op_rewriter_set(ridOf(this), NAME, String(name));
  }
  before(content, options) {
    return insert(this, BEFORE, "before", content, options);
  }
  after(content, options) {
    return insert(this, AFTER, "after", content, options);
  }
  remove() {
    op_rewriter_remove(ridOf(this), false);
    return this;
  }
}

class Comment extends ContentToken {
  get text() {
    return op_rewriter_get(ridOf(this), TEXT);
  }
  set text(text) {
    op_rewriter_set(ridOf(this), TEXT, String(text));
  }
  get removed() {
    return op_rewriter_removed(ridOf(this));
  }
  before(content, options) {
    return insert(this, BEFORE, "before", content, options);
  }
  after(content, options) {
    return insert(this, AFTER, "after", content, options);
  }
  replace(content, options) {
    return insert(this, REPLACE, "replace", content, options);
  }
  remove() {
    op_rewriter_remove(ridOf(this), false);
    return this;
  }
}

class Text extends ContentToken {
  get text() {
    return op_rewriter_get(ridOf(this), TEXT);
  }
  get lastInTextNode() {
    return op_rewriter_last_in_text_node(ridOf(this));
  }
  get removed() {
    return op_rewriter_removed(ridOf(this));
  }
  before(content, options) {
    return insert(this, BEFORE, "before", content, options);
  }
  after(content, options) {
    return insert(this, AFTER, "after", content, options);
  }
  replace(content, options) {
    return insert(this, REPLACE, "replace", content, options);
  }
  remove() {
    op_rewriter_remove(ridOf(this), false);
    return this;
  }
}

class Doctype extends ContentToken {
  get name() {
    return op_rewriter_get(ridOf(this), NAME);
  }
  get publicId() {
    return op_rewriter_get(ridOf(this), PUBLIC_ID);
  }
  get systemId() {
    return op_rewriter_get(ridOf(this), SYSTEM_ID);
  }
}

class DocumentEnd extends ContentToken {
  append(content, options) {
    if (typeof content === "object" && content !== null) {
      throw new TypeError("Failed to execute 'append' on 'DocumentEnd': parameter 1 is not of type 'string'.");
    }
    return insert(this, APPEND, "append", content, options);
  }
}

for (const Class of [Element, AttributesIterator, EndTag, Comment, Text, Doctype, DocumentEnd]) tag(Class, Class.name);

/** The kind of a table entry that is no handler but content that arrives piece by piece. */
const streamed = Symbol("streamed content");

// === one document ===

/** The rewriting of one document. */
class Rewriting {
  constructor(specs, table, encoding) {
    this.rid = op_rewriter_new(specs, encoding);
    /** Handlers by number. Those of `on()` come first; end tags and streams join and leave. */
    this.table = [...new SafeArrayIteratorOf(table)];
    this.free = [];
    /** Which handler runs: tokens of an earlier one are stale. */
    this.serial = 0;
    this.done = false;
    abandoned.register(this, this.rid, this);
  }

  /** Gives an entry a number. */
  keep(entry) {
    if (this.free.length > 0) {
      const id = ArrayPrototypePop(this.free);
      this.table[id] = entry;
      return id;
    }
    return ArrayPrototypePush(this.table, entry) - 1;
  }

  release(id) {
    this.table[id] = undefined;
    ArrayPrototypePush(this.free, id);
  }

  close() {
    if (this.done) return;
    this.done = true;
    this.serial++;
    abandoned.unregister(this);
    core.tryClose(this.rid);
  }

  /**
   * @param {string | Uint8Array} chunk
   * @returns {undefined | Promise<void>} a promise only if a handler waits for something
   */
  write(chunk) {
    return this.advance(typeof chunk === "string" ? op_rewriter_write_text(this.rid, chunk) : op_rewriter_write(this.rid, chunk));
  }

  end() {
    return this.advance(op_rewriter_end(this.rid));
  }

  /** Runs the handlers that are due, until the parser wants more of the document. */
  advance(code) {
    while (true) {
      if (code < HANDLER) {
        if (code === IDLE) return undefined;
        if (code === DONE) {
          this.output = op_rewriter_output(this.rid);
          this.close();
          return undefined;
        }
        const reason = op_rewriter_reason(this.rid);
        this.close();
        throw new TypeError(reason);
      }
      const id = code - HANDLER;
      const entry = this.table[id];
      if (entry.kind === streamed) return this.#feed(id, entry);
      if (entry.once) this.release(id);
      let result;
      try {
        result = FunctionPrototypeCall(entry.handler, entry.self, new entry.kind(_illegal, this));
        if (result !== undefined && result !== null && typeof result.then === "function") {
          return this.#wait(result);
        }
      } catch (error) {
        this.close();
        throw error;
      }
      this.serial++;
      code = op_rewriter_proceed(this.rid);
    }
  }

  async #wait(result) {
    try {
      await result;
    } catch (error) {
      this.close();
      throw error;
    }
    if (this.done) return;
    this.serial++;
    await this.advance(op_rewriter_proceed(this.rid));
  }

  /** Gives the parser the next piece of streamed content. */
  async #feed(id, entry) {
    let code;
    try {
      entry.decoder ??= new (core.loadExtScript("ext:deno_web/08_text_encoding.js").TextDecoder)();
      const { done, value } = await entry.reader.read();
      if (this.done) return;
      if (done) {
        const rest = entry.decoder.decode();
        if (rest !== "") code = op_rewriter_content(this.rid, rest, true);
        this.release(id);
        code = op_rewriter_content(this.rid, "", false);
      } else {
        code = op_rewriter_content(this.rid, entry.decoder.decode(bytesOf(value), { stream: true }), true);
      }
    } catch (error) {
      this.close();
      throw error;
    }
    await this.advance(code);
  }

  /** What was rewritten since the last call. */
  takeOutput() {
    if (!this.done) return op_rewriter_output(this.rid);
    const output = this.output;
    this.output = undefined;
    return output ?? new Uint8Array(0);
  }
}

/** Iterates an array without its (tenant-reachable) iterator. */
class SafeArrayIteratorOf {
  #array;
  #at = 0;
  constructor(array) {
    this.#array = array;
  }
  next() {
    const at = this.#at++;
    return at < this.#array.length ? { done: false, value: this.#array[at] } : { done: true, value: undefined };
  }
  [SymbolIterator]() {
    return this;
  }
}

function bytesOf(chunk) {
  if (TypedArrayPrototypeGetSymbolToStringTag(chunk) === "Uint8Array") return chunk;
  if (ArrayBufferIsView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (core.isAnyArrayBuffer(chunk)) return new Uint8Array(chunk);
  if (typeof chunk === "string") return core.encode(chunk);
  throw new TypeError("This stream did not return bytes: HTMLRewriter reads ArrayBuffer, ArrayBufferView and string chunks.");
}

// === bodies ===

/**
 * The rewritten body as a stream.
 * @param {Rewriting} rewriting
 * @param {() => Promise<{ done: boolean, value?: Uint8Array }>} read
 * @param {(reason: any) => Promise<void>} cancel
 * @param {Promise<void> | undefined} pending what must be awaited before anything else
 */
function streamOf(rewriting, read, cancel, pending) {
  // A rejection is met at the next pull.
  if (pending !== undefined) PromisePrototypeThen(pending, undefined, () => {});
  async function pull(controller) {
    try {
      while (true) {
        if (pending !== undefined) {
          const waited = pending;
          pending = undefined;
          await waited;
        }
        const output = rewriting.takeOutput();
        if (TypedArrayPrototypeGetByteLength(output) > 0) {
          controller.enqueue(output);
          return;
        }
        if (rewriting.done) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        const { done, value } = await read();
        pending = done ? rewriting.end() : rewriting.write(bytesOf(value));
      }
    } catch (error) {
      rewriting.close();
      PromisePrototypeThen(cancel(error), undefined, () => {});
      throw error;
    }
  }
  return createReadableByteStream(() => {}, pull, (reason) => {
    rewriting.close();
    return cancel(reason);
  });
}

/** A body that is there whole is rewritten when it is first looked at; it stays whole unless a handler waits. */
function wholeBody(make, source) {
  const body = new InnerBody({ body: "", consumed: false });
  const settle = (value) => {
    ObjectDefineProperty(body, "streamOrStatic", { __proto__: null, value, writable: true, enumerable: true, configurable: true });
    return value;
  };
  ObjectDefineProperty(body, "streamOrStatic", {
    __proto__: null,
    get: () => settle(rewriteWhole(make, source)),
    set: settle,
    enumerable: true,
    configurable: true,
  });
  return body;
}

function rewriteWhole(make, source) {
  let rewriting;
  let ended = false;
  const read = () => PromiseResolve({ done: true });
  const cancel = () => PromiseResolve();
  try {
    rewriting = make();
    let pending = rewriting.write(source);
    if (pending === undefined) {
      ended = true;
      pending = rewriting.end();
      if (pending === undefined) return { body: rewriting.takeOutput(), consumed: false };
    }
    return streamOf(rewriting, ended ? () => PromiseReject(new Error("the document is over")) : read, cancel, pending);
  } catch (error) {
    rewriting?.close();
    return createReadableByteStream(() => {}, () => PromiseReject(error), cancel);
  }
}

function streamedBody(make, stream) {
  const reader = stream.getReader();
  let rewriting;
  const lazily = {
    __proto__: null,
    get done() {
      return rewriting?.done ?? false;
    },
    takeOutput: () => rewriting === undefined ? new Uint8Array(0) : rewriting.takeOutput(),
    write: (chunk) => (rewriting ??= make()).write(chunk),
    end: () => (rewriting ??= make()).end(),
    close: () => rewriting?.close(),
  };
  return new InnerBody(streamOf(lazily, () => reader.read(), (reason) => reader.cancel(reason), undefined));
}

/** The charset that a response's content-type names. */
function charsetOf(headerList) {
  for (let i = 0; i < headerList.length; i++) {
    if (StringPrototypeToLowerCase(headerList[i][0]) !== "content-type") continue;
    const match = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(headerList[i][1]);
    return match === null ? "" : match[1];
  }
  return "";
}

// === the global ===

const KINDS = {
  __proto__: null,
  element: Element,
  comments: Comment,
  text: Text,
  doctype: Doctype,
  end: DocumentEnd,
};

class HTMLRewriter {
  /** What the parser is told. */
  #specs = [];
  /** Handlers by number. */
  #table = [];

  #register(method, kinds, selector, handlers) {
    if (handlers === null || (typeof handlers !== "object" && typeof handlers !== "function")) {
      const type = method === "on" ? "ElementContentHandlers" : "DocumentContentHandlers";
      const parameter = method === "on" ? 2 : 1;
      throw new TypeError(
        `Failed to execute '${method}' on 'HTMLRewriter': parameter ${parameter} is not of type '${type}'.`,
      );
    }
    const spec = { selector };
    for (let i = 0; i < kinds.length; i++) {
      const handler = handlers[kinds[i]];
      if (handler === undefined) continue;
      if (typeof handler !== "function") {
        throw new TypeError(
          `Failed to execute '${method}' on 'HTMLRewriter': the handler "${kinds[i]}" is not a function.`,
        );
      }
      const entry = { kind: KINDS[kinds[i]], handler, self: handlers, once: false };
      spec[kinds[i]] = ArrayPrototypePush(this.#table, entry) - 1;
    }
    ArrayPrototypePush(this.#specs, spec);
    return this;
  }

  on(selector, handlers) {
    selector = String(selector);
    op_rewriter_check(selector);
    return this.#register("on", ["element", "comments", "text"], selector, handlers);
  }

  onDocument(handlers) {
    return this.#register("onDocument", ["doctype", "comments", "text", "end"], undefined, handlers);
  }

  transform(response) {
    if (!ObjectPrototypeIsPrototypeOf(ResponsePrototype, response)) {
      throw new TypeError("Failed to execute 'transform' on 'HTMLRewriter': parameter 1 is not of type 'Response'.");
    }
    const source = toInnerResponse(response);
    if (source.body === null) return response;
    if (source.body.unusable()) {
      throw new TypeError("Body has already been used. It can only be used once. Use tee() first if you need to read it twice.");
    }
    const specs = [...new SafeArrayIteratorOf(this.#specs)];
    const table = [...new SafeArrayIteratorOf(this.#table)];
    const headers = wireHeaderList(source);
    const charset = charsetOf(headers);
    const make = () => new Rewriting(specs, table, charset);
    const inside = source.body.streamOrStatic;
    let body;
    if (ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, inside)) {
      body = streamedBody(make, inside);
    } else {
      inside.consumed = true;
      response[serveFastConsumedKey] = true;
      body = wholeBody(make, inside.body);
    }
    return fromInnerResponse({
      type: "default",
      body,
      headerList: ArrayPrototypeFilter(headers, (header) => StringPrototypeToLowerCase(header[0]) !== "content-length"),
      urlList: [],
      status: source.status,
      statusMessage: source.statusMessage,
      aborted: false,
      bodyDecoded: false,
      url() {
        return null;
      },
    }, "response");
  }
}
tag(HTMLRewriter, "HTMLRewriter");

return { HTMLRewriter };
})();
