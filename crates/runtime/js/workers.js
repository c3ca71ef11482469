// The classes of `cloudflare:workers`.
(function () {
/** The base of class-form handlers and named entrypoints. */
class WorkerEntrypoint {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

class DurableObject {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

class WorkflowEntrypoint {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

/** An object passed by reference over RPC. */
class RpcTarget {}

return { DurableObject, RpcTarget, WorkerEntrypoint, WorkflowEntrypoint };
})();
