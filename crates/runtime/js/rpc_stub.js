// Stubs: what stands here for something that lives elsewhere. A stub has a hook, which knows how to reach it.
//
// A hook is `{ call(path, args), get(path), dup(), dispose() }`: paths are property names from the thing itself, `call` and
// `get` give promises, and the thing is let go when every hook got by `dup` is disposed of.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayIsArray,
  ArrayPrototypeSlice,
  Error,
  FunctionPrototypeCall,
  ObjectDefineProperty,
  ObjectGetPrototypeOf,
  ObjectHasOwn,
  ObjectPrototype,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototypeCatch,
  PromisePrototypeFinally,
  PromisePrototypeThen,
  Proxy,
  ReflectApply,
  ReflectGet,
  SafeWeakMap,
  Symbol,
  SymbolDispose,
  SymbolToStringTag,
  TypeError,
} = primordials;
const { RpcTarget } = core.loadExtScript("ext:selvedge/workers.js");

/** What stands behind each proxy: `{ hook, path, promise }`. */
const states = new SafeWeakMap();

/** @returns {{ hook: object, path: string[], promise: Promise<any> | undefined } | undefined} */
function stateOf(value) {
  return typeof value === "function" || (typeof value === "object" && value !== null) ? states.get(value) : undefined;
}

function tag(Class, name) {
  ObjectDefineProperty(Class.prototype, SymbolToStringTag, { __proto__: null, value: name, configurable: true });
}

// === the classes ===

/** https://developers.cloudflare.com/workers/runtime-apis/rpc/ */
class RpcStub {
  constructor(target) {
    if (typeof target !== "function" && (typeof target !== "object" || target === null)) {
      throw new TypeError("Failed to construct 'RpcStub': constructor parameter 1 is not of type 'Object'.");
    }
    return makeStub(new LocalHook(target));
  }
  dup() {
    const { hook } = stateOf(this);
    return makeStub(hook.dup());
  }
  [SymbolDispose]() {
    stateOf(this).hook.dispose();
  }
}
tag(RpcStub, "JsRpcStub");

class RpcPromise {
  constructor() {
    throw new TypeError("Illegal constructor");
  }
  then(onFulfilled, onRejected) {
    return PromisePrototypeThen(stateOf(this).promise, onFulfilled, onRejected);
  }
  catch(onRejected) {
    return PromisePrototypeCatch(stateOf(this).promise, onRejected);
  }
  finally(onFinally) {
    return PromisePrototypeFinally(stateOf(this).promise, onFinally);
  }
  [SymbolDispose]() {
    stateOf(this).hook.dispose();
  }
}
tag(RpcPromise, "JsRpcPromise");

class RpcProperty {
  constructor() {
    throw new TypeError("Illegal constructor");
  }
  then(onFulfilled, onRejected) {
    return PromisePrototypeThen(valueOf(this), onFulfilled, onRejected);
  }
  catch(onRejected) {
    return PromisePrototypeCatch(valueOf(this), onRejected);
  }
  finally(onFinally) {
    return PromisePrototypeFinally(valueOf(this), onFinally);
  }
}
tag(RpcProperty, "JsRpcProperty");

function valueOf(property) {
  const { hook, path } = stateOf(property);
  return hook.get(path);
}

// === their proxies ===

/** A callable target without properties of its own. */
function bare() {
  const target = () => {};
  delete target.name;
  delete target.length;
  return target;
}

const handler = {
  __proto__: null,
  get(_target, property, receiver) {
    const state = states.get(receiver) ?? states.get(this.self);
    const prototype = state.prototype;
    if (typeof property === "symbol") return ReflectGet(prototype, property, receiver);
    if (ObjectHasOwn(prototype, property) && property !== "constructor") return prototype[property];
    if (property === "constructor") return prototype.constructor;
    // A stub that had a `then` could not be given by a promise.
    if (property === "then") return undefined;
    return makeProperty(state.hook, [...new Names(state.path), property]);
  },
  has(_target, property) {
    return typeof property === "string";
  },
  getPrototypeOf() {
    return states.get(this.self).prototype;
  },
  set() {
    throw new TypeError("Cannot set a property of an RPC stub: it stands for something that lives elsewhere.");
  },
  deleteProperty() {
    throw new TypeError("Cannot delete a property of an RPC stub: it stands for something that lives elsewhere.");
  },
  defineProperty() {
    throw new TypeError("Cannot define a property of an RPC stub: it stands for something that lives elsewhere.");
  },
  apply(_target, _receiver, args) {
    const { hook, path } = states.get(this.self);
    return makePromise(hook.call(path, args));
  },
};

/** Iterates names without the array iterator that tenants can reach. */
class Names {
  constructor(list) {
    this.list = list;
    this.at = 0;
  }
  next() {
    return this.at < this.list.length ? { done: false, value: this.list[this.at++] } : { done: true, value: undefined };
  }
  [Symbol.iterator]() {
    return this;
  }
}

function make(prototype, state) {
  const traps = { __proto__: handler, self: undefined };
  const proxy = new Proxy(bare(), traps);
  traps.self = proxy;
  state.prototype = prototype;
  states.set(proxy, state);
  return proxy;
}

function makeStub(hook) {
  return make(RpcStub.prototype, { hook, path: [], promise: undefined });
}

function makeProperty(hook, path) {
  return make(RpcProperty.prototype, { hook, path, promise: undefined });
}

/** @param {Promise<any>} promise of the result of a call */
function makePromise(promise) {
  return make(RpcPromise.prototype, { hook: new PromiseHook(promise), path: [], promise });
}

// === reaching into values that are here ===

/** Names that no path may hold: they would reach what is not the worker's own. */
function isReserved(name) {
  return name === "constructor" || name === "__proto__" || name === "prototype";
}

function missing(name) {
  return new TypeError(`The RPC receiver does not implement the method "${name}".`);
}

/**
 * A property as callers from elsewhere may see it: of classes what their prototypes have, of plain objects what they
 * have themselves.
 */
function propertyOf(value, name) {
  if (isReserved(name)) throw missing(name);
  if (states.has(value)) return value[name];
  if (typeof value === "object" && value !== null) {
    const prototype = ObjectGetPrototypeOf(value);
    if (prototype === null || prototype === ObjectPrototype || ArrayIsArray(value)) {
      if (ObjectHasOwn(value, name)) return value[name];
      throw missing(name);
    }
    if (ObjectHasOwn(value, name)) throw missing(name);
    for (let at = prototype; at !== null && at !== ObjectPrototype; at = ObjectGetPrototypeOf(at)) {
      if (ObjectHasOwn(at, name)) return ReflectGet(at, name, value);
    }
  }
  throw missing(name);
}

/** Follows a path from a value that is here; gives the last value and what it is a property of. */
async function follow(value, path) {
  let parent = undefined;
  for (let i = 0; i < path.length; i++) {
    parent = value;
    value = propertyOf(parent, path[i]);
    if (i < path.length - 1) value = await value;
  }
  return { value, parent };
}

async function getOf(target, path) {
  const { value } = await follow(target, path);
  return await value;
}

async function callOf(target, path, args) {
  const { value, parent } = await follow(target, path);
  if (typeof value !== "function") {
    throw path.length === 0 ? new TypeError("The RPC stub is not a function.") : missing(path[path.length - 1]);
  }
  return await ReflectApply(value, parent, args);
}

// === hooks ===

/** Something that is here: a function, an RpcTarget or a plain object. */
class LocalHook {
  constructor(target) {
    this.shared = { target, count: 1 };
    this.live = true;
  }
  #target() {
    if (!this.live) throw disposed();
    return this.shared.target;
  }
  async call(path, args) {
    return await callOf(this.#target(), path, args);
  }
  async get(path) {
    return await getOf(this.#target(), path);
  }
  dup() {
    if (!this.live) throw disposed();
    const hook = new LocalHook(undefined);
    hook.shared = this.shared;
    this.shared.count++;
    return hook;
  }
  dispose() {
    if (!this.live) return;
    this.live = false;
    if (--this.shared.count > 0) return;
    const { target } = this.shared;
    if (!ObjectPrototypeIsPrototypeOf(RpcTarget.prototype, target) && typeof target !== "function") return;
    const dispose = target[SymbolDispose];
    if (typeof dispose === "function") FunctionPrototypeCall(dispose, target);
  }
}

/** The result of a call that may not be there yet: what is asked of it waits. */
class PromiseHook {
  constructor(promise) {
    this.promise = promise;
    this.live = true;
  }
  async call(path, args) {
    return await callOf(await this.promise, path, args);
  }
  async get(path) {
    return await getOf(await this.promise, path);
  }
  dup() {
    return new PromiseHook(PromisePrototypeThen(this.promise, (value) => {
      const state = stateOf(value);
      return state === undefined ? value : makeStub(state.hook.dup());
    }));
  }
  dispose() {
    if (!this.live) return;
    this.live = false;
    PromisePrototypeThen(this.promise, (value) => {
      if (stateOf(value) !== undefined || (typeof value === "object" && value !== null)) value[SymbolDispose]?.();
    }, () => {});
  }
}

/** Something under a path of another hook. */
class PathHook {
  constructor(hook, path) {
    this.hook = hook;
    this.path = path;
  }
  call(path, args) {
    return this.hook.call([...new Names(this.path), ...new Names(path)], args);
  }
  get(path) {
    return this.hook.get([...new Names(this.path), ...new Names(path)]);
  }
  dup() {
    return new PathHook(this.hook.dup(), this.path);
  }
  dispose() {
    this.hook.dispose();
  }
}

function disposed() {
  return new Error("RPC stub used after being disposed.");
}

/** A hook of its own for what a value is to be sent as. */
function hookFor(value) {
  const state = stateOf(value);
  if (state === undefined) return new LocalHook(value);
  return state.path.length === 0 ? state.hook.dup() : new PathHook(state.hook.dup(), ArrayPrototypeSlice(state.path));
}

return { callOf, disposed, getOf, hookFor, makePromise, makeProperty, makeStub, missing, RpcPromise, RpcProperty, RpcStub, stateOf };
})();
