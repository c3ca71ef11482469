// Values between isolates: structured clones, in which what cannot be copied is a reference.
//
// Encoded: u32 (little-endian) length of a head, the head as JSON (nothing where there are no references), then V8's
// serialisation of `[value, ...bytes of bodies]`, or of the value alone where there are no references.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayBufferIsView,
  ArrayIsArray,
  ArrayPrototypePush,
  Boolean,
  DataView,
  DataViewPrototypeGetUint32,
  DataViewPrototypeSetUint32,
  Error,
  EvalError,
  JSONParse,
  JSONStringify,
  MapPrototypeForEach,
  MapPrototypeSet,
  Map,
  ObjectDefineProperty,
  ObjectGetPrototypeOf,
  ObjectHasOwn,
  ObjectKeys,
  ObjectPrototype,
  ObjectPrototypeIsPrototypeOf,
  RangeError,
  ReferenceError,
  SafeMap,
  SafeSet,
  Set,
  SetPrototypeAdd,
  SetPrototypeForEach,
  String,
  SymbolDispose,
  SyntaxError,
  TypeError,
  TypedArrayPrototypeSet,
  TypedArrayPrototypeSubarray,
  Uint8Array,
  URIError,
} = primordials;
const { hookFor, makeStub, stateOf } = core.loadExtScript("ext:selvedge/rpc_stub.js");
const { RpcTarget } = core.loadExtScript("ext:selvedge/workers.js");
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const { ReadableStreamPrototype, WritableStream } = core.loadExtScript("ext:deno_web/06_streams.js");
const { hookOfService } = core.loadExtScript("ext:selvedge/service.js");
const http = core.loadExtScript("ext:selvedge/http.js");
const { Headers } = core.loadExtScript("ext:deno_fetch/20_headers.js");
const { prototype: WritableStreamPrototype } = WritableStream;
const { prototype: HeadersPrototype } = Headers;

/** The largest value that travels: 32 MiB. */
const VALUE_BYTES_MAX = 32 * 1024 * 1024;

function cloneError(message) {
  return new DOMException(message, "DataCloneError");
}

function unsupported(value) {
  let name;
  try {
    name = value.constructor?.name;
  } catch {
    // Then it has no name.
  }
  return cloneError(`Could not serialize object of type "${name ?? "Object"}". This type does not support serialization.`);
}

/** Whether an object is sent by reference. */
function isReference(value) {
  return typeof value === "function" || stateOf(value) !== undefined || hookOfService(value) !== undefined ||
    ObjectPrototypeIsPrototypeOf(RpcTarget.prototype, value) ||
    ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, value) ||
    ObjectPrototypeIsPrototypeOf(WritableStreamPrototype, value) ||
    ObjectPrototypeIsPrototypeOf(http.RequestPrototype, value) ||
    ObjectPrototypeIsPrototypeOf(http.ResponsePrototype, value) ||
    ObjectPrototypeIsPrototypeOf(HeadersPrototype, value);
}

/** Whether V8 copies an object as it is, and nothing in it could be a reference. */
function isLeaf(value) {
  return core.isDate(value) || core.isRegExp(value) || core.isAnyArrayBuffer(value) || ArrayBufferIsView(value) ||
    core.isNativeError(value) || core.isBoxedPrimitive(value) ||
    ObjectPrototypeIsPrototypeOf(DOMException.prototype, value);
}

/**
 * Whether a value holds references. Throws for what cannot be sent.
 * @param {any} value
 * @param {SafeSet} seen
 */
function scan(value, seen) {
  if (typeof value === "function") return true;
  if (typeof value !== "object" || value === null || seen.has(value)) return false;
  seen.add(value);
  let found = false;
  if (ArrayIsArray(value)) {
    for (let i = 0; i < value.length; i++) found = scan(value[i], seen) || found;
    return found;
  }
  const prototype = ObjectGetPrototypeOf(value);
  if (prototype === null || prototype === ObjectPrototype) {
    const keys = ObjectKeys(value);
    for (let i = 0; i < keys.length; i++) found = scan(value[keys[i]], seen) || found;
    return found;
  }
  if (isLeaf(value)) return false;
  if (core.isMap(value)) {
    MapPrototypeForEach(value, (item, key) => {
      found = scan(key, seen) || found;
      found = scan(item, seen) || found;
    });
    return found;
  }
  if (core.isSet(value)) {
    SetPrototypeForEach(value, (item) => {
      found = scan(item, seen) || found;
    });
    return found;
  }
  if (isReference(value)) return true;
  throw unsupported(value);
}

// === out ===

/** A value on its way out: what takes the place of its references. */
class Outgoing {
  constructor(session) {
    this.session = session;
    this.references = [];
    this.placeholders = [];
    this.bodies = [];
    this.copies = new SafeMap();
  }

  copy(value) {
    if (typeof value !== "function" && (typeof value !== "object" || value === null)) return value;
    const known = this.copies.get(value);
    if (known !== undefined) return known;
    if (typeof value === "object" && isLeaf(value)) return value;
    if (isReference(value)) {
      const placeholder = { [core.hostObjectBrand]: "reference" };
      this.copies.set(value, placeholder);
      ArrayPrototypePush(this.placeholders, placeholder);
      const at = ArrayPrototypePush(this.references, null) - 1;
      this.references[at] = this.refer(value);
      return placeholder;
    }
    if (ArrayIsArray(value)) {
      const list = [];
      this.copies.set(value, list);
      for (let i = 0; i < value.length; i++) ArrayPrototypePush(list, this.copy(value[i]));
      return list;
    }
    if (core.isMap(value)) {
      const map = new Map();
      this.copies.set(value, map);
      MapPrototypeForEach(value, (item, key) => {
        MapPrototypeSet(map, this.copy(key), this.copy(item));
      });
      return map;
    }
    if (core.isSet(value)) {
      const set = new Set();
      this.copies.set(value, set);
      SetPrototypeForEach(value, (item) => {
        SetPrototypeAdd(set, this.copy(item));
      });
      return set;
    }
    const object = {};
    this.copies.set(value, object);
    const keys = ObjectKeys(value);
    for (let i = 0; i < keys.length; i++) {
      ObjectDefineProperty(object, keys[i], {
        __proto__: null,
        value: this.copy(value[keys[i]]),
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
    return object;
  }

  refer(value) {
    if (ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, value)) {
      return { t: "readable", i: this.session.sendReadable(value) };
    }
    if (ObjectPrototypeIsPrototypeOf(WritableStreamPrototype, value)) {
      return { t: "writable", i: this.session.offerWritable(value) };
    }
    if (ObjectPrototypeIsPrototypeOf(HeadersPrototype, value)) return { t: "headers", h: [...value] };
    if (ObjectPrototypeIsPrototypeOf(http.RequestPrototype, value)) {
      const inner = http.toInnerRequest(value);
      return {
        t: "request",
        m: inner.method,
        u: inner.url(),
        r: inner.redirectMode,
        h: inner.headerList,
        c: value.cf,
        b: this.body(inner.body),
      };
    }
    if (ObjectPrototypeIsPrototypeOf(http.ResponsePrototype, value)) {
      const inner = http.toInnerResponse(value);
      if (value.webSocket) throw cloneError("A Response with a webSocket cannot be sent over RPC: use fetch().");
      value[http.serveFastConsumedKey] = true;
      return {
        t: "response",
        s: inner.status,
        x: inner.statusMessage,
        u: inner.urlList,
        h: http.wireHeaderList(inner),
        b: this.body(inner.body),
      };
    }
    return { t: "stub", i: this.session.offer(hookOfService(value) ?? hookFor(value)) };
  }

  body(body) {
    if (body === null || body === undefined) return undefined;
    if (body.unusable()) {
      throw new TypeError("Body has already been used. It can only be used once. Use tee() first if you need to read it twice.");
    }
    const source = body.streamOrStatic;
    if (ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, source)) return { i: this.session.sendReadable(source) };
    source.consumed = true;
    const bytes = typeof source.body === "string" ? core.encode(source.body) : source.body;
    return { a: ArrayPrototypePush(this.bodies, bytes) };
  }
}

const nothing = new Uint8Array(0);

/**
 * @param {Session} session that references live in
 * @param {any} value
 * @param {object | undefined} extra more for the head
 * @returns {Uint8Array}
 */
function encode(session, value, extra = undefined) {
  let head = nothing;
  let bytes;
  if (scan(value, new SafeSet())) {
    const outgoing = new Outgoing(session);
    const copy = outgoing.copy(value);
    bytes = serialize([copy, ...outgoing.bodies], outgoing.placeholders);
    head = core.encode(JSONStringify({ ...extra, refs: outgoing.references }));
  } else {
    bytes = serialize(value, undefined);
    if (extra !== undefined) head = core.encode(JSONStringify(extra));
  }
  if (bytes.byteLength > VALUE_BYTES_MAX) {
    throw cloneError(
      `Serialized RPC arguments or return values are limited to 32MiB, but the size of this value was: ${bytes.byteLength} bytes.`,
    );
  }
  const whole = new Uint8Array(4 + head.byteLength + bytes.byteLength);
  DataViewPrototypeSetUint32(new DataView(whole.buffer), 0, head.byteLength, true);
  TypedArrayPrototypeSet(whole, head, 4);
  TypedArrayPrototypeSet(whole, bytes, 4 + head.byteLength);
  return whole;
}

function serialize(value, hostObjects) {
  // As for storage: memory that is shared, which a number stands for that means something in this isolate alone, is none
  // of what can be sent.
  return core.serialize(value, { hostObjects, forStorage: true }, (message) => {
    throw cloneError(message);
  });
}

// === in ===

/**
 * @param {Session} session
 * @param {Uint8Array} whole
 * @returns {{ head: object | undefined, value: any, stubs: any[] }} the value, and the stubs in it
 */
function decode(session, whole) {
  const length = DataViewPrototypeGetUint32(new DataView(whole.buffer, whole.byteOffset, whole.byteLength), 0, true);
  const bytes = TypedArrayPrototypeSubarray(whole, 4 + length);
  const deserializers = core.getCloneableDeserializers();
  if (length === 0) return { head: undefined, value: core.deserialize(bytes, { deserializers, forStorage: true }), stubs: [] };
  const head = JSONParse(core.decode(TypedArrayPrototypeSubarray(whole, 4, 4 + length)));
  if (head.refs === undefined) return { head, value: core.deserialize(bytes, { deserializers, forStorage: true }), stubs: [] };
  const stubs = [];
  const late = [];
  const hostObjects = [];
  for (let i = 0; i < head.refs.length; i++) {
    const reference = head.refs[i];
    ArrayPrototypePush(hostObjects, take(session, reference, stubs, late));
  }
  const list = core.deserialize(bytes, { hostObjects, deserializers, forStorage: true });
  for (let i = 0; i < late.length; i++) late[i](list);
  return { head, value: list[0], stubs };
}

function take(session, reference, stubs, late) {
  switch (reference.t) {
    case "stub": {
      const stub = makeStub(session.hold(reference.i));
      ArrayPrototypePush(stubs, stub);
      return stub;
    }
    case "readable":
      return session.takeReadable(reference.i);
    case "writable":
      return session.takeWritable(reference.i);
    case "headers":
      return new Headers(reference.h);
    case "request": {
      const request = new http.Request(reference.u, {
        method: reference.m,
        redirect: reference.r,
        cf: reference.c,
      });
      const inner = http.toInnerRequest(request);
      inner.headerList = reference.h;
      giveBody(session, inner, reference.b, late);
      return http.fromInnerRequest(inner, "immutable");
    }
    case "response": {
      const inner = {
        type: "default",
        status: reference.s,
        statusMessage: reference.x,
        headerList: reference.h,
        body: null,
        aborted: false,
        bodyDecoded: false,
        urlList: reference.u,
        url() {
          return this.urlList.length === 0 ? null : this.urlList[this.urlList.length - 1];
        },
      };
      giveBody(session, inner, reference.b, late);
      return http.fromInnerResponse(inner, "response");
    }
    default:
      throw new Error(`a reference of a kind that is not known here: ${reference.t}`);
  }
}

/** Gives a request or response its body: a stream now, bytes once they are there. */
function giveBody(session, inner, body, late) {
  if (body === undefined) return;
  const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");
  if (body.i !== undefined) {
    inner.body = new InnerBody(session.takeReadable(body.i));
    return;
  }
  inner.body = new InnerBody({ body: nothing, consumed: false });
  ArrayPrototypePush(late, (list) => {
    inner.body.streamOrStatic.body = list[body.a];
    inner.body.length = list[body.a].byteLength;
  });
}

// === errors ===

const ERRORS = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

/** What is thrown here, as it travels. */
function encodeError(session, error) {
  try {
    if (typeof error !== "object" || error === null) {
      return encode(session, { name: "Error", message: String(error) }, { e: 1 });
    }
    if (ObjectPrototypeIsPrototypeOf(DOMException.prototype, error)) {
      return encode(session, { name: error.name, message: error.message }, { e: 2 });
    }
    if (!core.isNativeError(error)) return encode(session, error, { e: 3 });
    let kind = "Error";
    for (let at = ObjectGetPrototypeOf(error); at !== null; at = ObjectGetPrototypeOf(at)) {
      if (ObjectHasOwn(at, "constructor") && ERRORS[at.constructor?.name] !== undefined) {
        kind = at.constructor.name;
        break;
      }
    }
    const properties = {};
    const keys = ObjectKeys(error);
    for (let i = 0; i < keys.length; i++) {
      try {
        if (scan(error[keys[i]], new SafeSet())) continue;
        serialize(error[keys[i]], undefined);
        properties[keys[i]] = error[keys[i]];
      } catch {
        // What cannot be sent stays behind.
      }
    }
    const described = { kind, name: String(error.name), message: String(error.message), properties };
    if (core.isNativeError(error.cause)) {
      described.cause = { name: String(error.cause.name), message: String(error.cause.message) };
    } else if (ObjectHasOwn(error, "cause") && typeof error.cause !== "object" && typeof error.cause !== "function") {
      described.cause = { value: error.cause };
    }
    return encode(session, described, { e: 1 });
  } catch {
    return encode(session, { name: "Error", message: "an exception that cannot be sent over RPC" }, { e: 1 });
  }
}

/** The exception to throw here for one that was thrown elsewhere: `remote` says so. */
function errorOf(head, value) {
  if (head.e === 3) {
    value.remote = true;
    return value;
  }
  let error;
  if (head.e === 2) {
    error = new DOMException(value.message, value.name);
  } else {
    error = new (ERRORS[value.kind] ?? Error)(value.message);
    if (value.name !== error.name) {
      ObjectDefineProperty(error, "name", {
        __proto__: null,
        value: value.name,
        writable: true,
        enumerable: false,
        configurable: true,
      });
      const stack = error.stack;
      if (typeof stack === "string") error.stack = value.name + stack.slice((value.kind ?? "Error").length);
    }
    if (value.cause !== undefined) {
      let { cause } = value;
      if (cause.message !== undefined) cause = new (ERRORS[cause.name] ?? Error)(cause.message);
      else cause = cause.value;
      ObjectDefineProperty(error, "cause", { __proto__: null, value: cause, writable: true, configurable: true });
    }
    const keys = ObjectKeys(value.properties ?? {});
    for (let i = 0; i < keys.length; i++) error[keys[i]] = value.properties[keys[i]];
  }
  error.remote = true;
  return error;
}

/** Lets a result's stubs go together with it. */
function makeDisposable(value, stubs) {
  if (typeof value !== "object" || value === null || stateOf(value) !== undefined || ObjectHasOwn(value, SymbolDispose)) {
    return value;
  }
  const prototype = ObjectGetPrototypeOf(value);
  if (prototype !== ObjectPrototype && prototype !== null) return value;
  ObjectDefineProperty(value, SymbolDispose, {
    __proto__: null,
    value: {
      [SymbolDispose]() {
        for (let i = 0; i < stubs.length; i++) stubs[i][SymbolDispose]();
      },
    }[SymbolDispose],
    writable: true,
    enumerable: false,
    configurable: true,
  });
  return value;
}

return { decode, encode, encodeError, errorOf, makeDisposable };
})();
