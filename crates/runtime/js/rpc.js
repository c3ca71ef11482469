// Answers RPC calls of other workers: https://developers.cloudflare.com/workers/runtime-apis/rpc/
(function () {
const { core, primordials } = __bootstrap;
const { op_respond_start } = core.ops;
const {
  ArrayPrototypeSlice,
  ObjectPrototypeIsPrototypeOf,
  SafeSet,
  TypeError,
} = primordials;
const events = core.loadExtScript("ext:selvedge/events.js");
const { env } = core.loadExtScript("ext:selvedge/env.js");
const { WorkerEntrypoint } = core.loadExtScript("ext:selvedge/workers.js");
const { callOf, getOf, missing } = core.loadExtScript("ext:selvedge/rpc_stub.js");
const { decode, encode, encodeError } = core.loadExtScript("ext:selvedge/rpc_value.js");
const { disposeAll, FIRST_BYTES_MAX, RETURN, Session } = core.loadExtScript("ext:selvedge/rpc_session.js");

/** Methods that the runtime calls: nobody else may. */
const RESERVED = new SafeSet([
  "fetch",
  "connect",
  "constructor",
  "dup",
  "alarm",
  "webSocketMessage",
  "webSocketClose",
  "webSocketError",
]);

/**
 * @param {number} stream
 * @param {string} entrypoint an export's name; empty for the default one
 * @param {string} meta JSON
 * @param {Uint8Array | undefined} first the first message; none if it follows
 * @param {number} rid what further messages come by
 */
function dispatchRpc(stream, entrypoint, meta, first, rid) {
  const invocation = new events.Invocation(stream, null);
  events.live.set(stream, invocation);
  const previous = core.getAsyncContext();
  core.setAsyncContext(invocation);
  try {
    const session = new Session(false);
    session.stream = stream;
    session.rid = rid;
    session.onStart = () => {
      invocation.responded = true;
      op_respond_start(stream, "200\n\n");
      invocation.waitUntil(session.finished.promise);
    };
    if (first !== undefined && first.byteLength > 0) {
      answer(invocation, session, entrypoint, meta, first);
    } else {
      session.onFirst = (content) => answer(invocation, session, entrypoint, meta, content);
      session.receive();
    }
  } finally {
    core.setAsyncContext(previous);
  }
}

/** Runs the call that opened the session. */
async function answer(invocation, session, entrypoint, meta, content) {
  session.answering++;
  let stubs = [];
  let result;
  try {
    const decoded = decode(session, content);
    stubs = decoded.stubs;
    if (!session.idle) session.receive();
    const ctx = new events.ExecutionContext(invocation, meta);
    const { p: path, g: get } = decoded.head;
    result = encode(session, await invoke(entrypoint, path, decoded.value, get === 1, ctx));
  } catch (error) {
    result = encodeError(session, error);
  }
  disposeAll(stubs);
  session.answering--;
  if (invocation.cancelled && !session.started) {
    session.over = true;
    session.close();
    return;
  }
  // The stream's answer arrives at once only if it fits one frame.
  if (!session.started && session.idle && result.byteLength <= FIRST_BYTES_MAX) {
    session.over = true;
    session.close();
    events.finish(invocation, "200\n\n", result);
    return;
  }
  session.receive();
  session.send(RETURN, 0, result);
}

async function invoke(entrypoint, path, args, get, ctx) {
  const name = entrypoint === "" ? "default" : entrypoint;
  const exported = events.exported(name);
  if (exported === undefined) {
    throw new TypeError(name === "default" ? "This worker has no default export." : `This worker has no export named "${name}".`);
  }
  if (path.length === 0) throw new TypeError("A service binding is not a function.");
  if (RESERVED.has(path[0])) throw missing(path[0]);
  if (typeof exported === "function") {
    if (!ObjectPrototypeIsPrototypeOf(WorkerEntrypoint.prototype, exported.prototype)) {
      throw new TypeError(
        `The receiver is not an RPC object: the export "${name}" is a class that does not extend WorkerEntrypoint.`,
      );
    }
    const instance = new exported(ctx, env);
    return get ? await getOf(instance, path) : await callOf(instance, path, args);
  }
  const value = exported[path[0]];
  if (value === undefined) throw missing(path[0]);
  if (path.length > 1) {
    const rest = ArrayPrototypeSlice(path, 1);
    return get ? await getOf(await value, rest) : await callOf(await value, rest, args);
  }
  if (get) return await value;
  if (typeof value !== "function") throw missing(path[0]);
  if (args.length !== 1) {
    throw new TypeError(
      `Attempted to call RPC function "${path[0]}" with the wrong number of arguments. When calling a top-level handler function that is not declared as part of a class, you must always send exactly one argument. In order to support variable numbers of arguments, the server must use class-based syntax (extending WorkerEntrypoint) instead.`,
    );
  }
  return await exported[path[0]](args[0], env, ctx);
}

return { dispatchRpc };
})();
