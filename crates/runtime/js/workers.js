// The base classes of `cloudflare:workers`: what a worker's own classes extend.
(function () {
const { ObjectDefineProperty, SymbolToStringTag, TypeError } = __bootstrap.primordials;

function tag(Class) {
  ObjectDefineProperty(Class.prototype, SymbolToStringTag, { __proto__: null, value: Class.name, configurable: true });
}

/** What all classes that the runtime makes instances of are given. */
function keep(instance, name, ctx, env) {
  if (typeof ctx !== "object" || ctx === null) {
    throw new TypeError(`Failed to construct '${name}': constructor parameter 1 is not of type 'Object'.`);
  }
  instance.ctx = ctx;
  instance.env = env;
}

/** The base of class-form handlers and named entrypoints. */
class WorkerEntrypoint {
  constructor(ctx, env) {
    keep(this, "WorkerEntrypoint", ctx, env);
  }
}

class DurableObject {
  constructor(ctx, env) {
    keep(this, "DurableObject", ctx, env);
  }
}

class WorkflowEntrypoint {
  constructor(ctx, env) {
    keep(this, "WorkflowEntrypoint", ctx, env);
  }
}

/** An object passed by reference over RPC. */
class RpcTarget {}

tag(WorkerEntrypoint);
tag(DurableObject);
tag(WorkflowEntrypoint);
tag(RpcTarget);

return { DurableObject, RpcTarget, WorkerEntrypoint, WorkflowEntrypoint };
})();
