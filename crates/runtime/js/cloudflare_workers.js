// `cloudflare:workers`: https://developers.cloudflare.com/workers/runtime-apis/bindings/#importing-env-as-a-global
import { core, primordials } from "ext:core/mod.js";
const { Error, Proxy, ReflectDefineProperty, ReflectDeleteProperty, ReflectGet, ReflectGetOwnPropertyDescriptor, ReflectHas, ReflectOwnKeys, ReflectSet, Symbol } =
  primordials;
const workers = core.loadExtScript("ext:selvedge/workers.js");
const events = core.loadExtScript("ext:selvedge/events.js");
const own = core.loadExtScript("ext:selvedge/env.js").env;

export const { DurableObject, RpcTarget, WorkerEntrypoint, WorkflowEntrypoint } = workers;
export const { RpcPromise, RpcProperty, RpcStub } = core.loadExtScript("ext:selvedge/rpc_stub.js");
export const { ServiceStub } = core.loadExtScript("ext:selvedge/service.js");
export const { tracing } = core.loadExtScript("ext:selvedge/tracing.js");

/** What `withEnv` and `withExports` put in the place of the worker's own. */
const envNow = new core.AsyncVariable();
const exportsNow = new core.AsyncVariable();

/** An object that is whatever `now` says at the moment. */
function live(now) {
  return new Proxy({}, {
    __proto__: null,
    get: (_target, name) => ReflectGet(now(), name),
    set: (_target, name, value) => ReflectSet(now(), name, value),
    has: (_target, name) => ReflectHas(now(), name),
    deleteProperty: (_target, name) => ReflectDeleteProperty(now(), name),
    defineProperty: (_target, name, descriptor) => ReflectDefineProperty(now(), name, descriptor),
    ownKeys: () => ReflectOwnKeys(now()),
    getOwnPropertyDescriptor(_target, name) {
      const descriptor = ReflectGetOwnPropertyDescriptor(now(), name);
      // The proxy's target does not have it, so it must not be told as fixed.
      if (descriptor !== undefined) descriptor.configurable = true;
      return descriptor;
    },
  });
}

export const env = live(() => envNow.get() ?? own);
export const exports = live(() => exportsNow.get() ?? events.loopbacks());

function within(variable, value, fn) {
  const before = variable.enter(value);
  try {
    return fn();
  } finally {
    core.setAsyncContext(before);
  }
}

export function withEnv(newEnv, fn) {
  return within(envNow, newEnv, fn);
}

export function withExports(newExports, fn) {
  return within(exportsNow, newExports, fn);
}

export function withEnvAndExports(newEnv, newExports, fn) {
  return within(envNow, newEnv, () => within(exportsNow, newExports, fn));
}

export const waitUntil = events.waitUntil;
export const cache = {};
export const restore = Symbol("restore");

export function abortIsolate(reason) {
  throw new Error(`abortIsolate() is not available: an isolate cannot end itself here (${reason ?? "no reason given"})`);
}
