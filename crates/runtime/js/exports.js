// What a worker exports that can answer events, for the host to say what it deployed.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayPrototypeIncludes,
  ArrayPrototypePush,
  FunctionPrototypeToString,
  JSONStringify,
  ObjectGetPrototypeOf,
  ObjectKeys,
  ObjectPrototype,
  ObjectPrototypeIsPrototypeOf,
  ReflectGetOwnPropertyDescriptor,
  ReflectOwnKeys,
  StringPrototypeStartsWith,
} = primordials;
const { DurableObject, WorkerEntrypoint, WorkflowEntrypoint } = core.loadExtScript("ext:selvedge/workers.js");

const HANDLER_NAMES = ["fetch", "scheduled", "queue", "email", "tail", "trace", "alarm", "test"];
/** The most exports that are told of, and the most methods of each. */
const NAMES_MAX = 128;
/** The longest name that is told, in UTF-16 units. */
const NAME_LENGTH_MAX = 256;

function add(names, name) {
  if (typeof name !== "string" || name.length > NAME_LENGTH_MAX || names.length >= NAMES_MAX) return;
  if (!ArrayPrototypeIncludes(names, name)) ArrayPrototypePush(names, name);
}

/** The methods of a class and of those that it extends: events first. */
function methodsOf(prototype, ends) {
  const names = [];
  for (let i = 0; i < HANDLER_NAMES.length; i++) {
    if (typeof prototype[HANDLER_NAMES[i]] === "function") add(names, HANDLER_NAMES[i]);
  }
  for (let at = prototype; at !== null && at !== ends && at !== ObjectPrototype; at = ObjectGetPrototypeOf(at)) {
    const keys = ReflectOwnKeys(at);
    for (let i = 0; i < keys.length; i++) {
      if (keys[i] !== "constructor" && typeof ReflectGetOwnPropertyDescriptor(at, keys[i])?.value === "function") {
        add(names, keys[i]);
      }
    }
  }
  return names;
}

function functionsOf(object) {
  const names = [];
  for (let i = 0; i < HANDLER_NAMES.length; i++) {
    if (typeof object[HANDLER_NAMES[i]] === "function") add(names, HANDLER_NAMES[i]);
  }
  if (names.length > 0) return names;
  // RPC alone.
  const keys = ObjectKeys(object);
  for (let i = 0; i < keys.length; i++) if (typeof object[keys[i]] === "function") add(names, keys[i]);
  return names;
}

/** What an export answers to, or nothing where it is not of that kind. */
function handlersOf(exported) {
  if (typeof exported === "object" && exported !== null) return functionsOf(exported);
  if (typeof exported !== "function") return [];
  const { prototype } = exported;
  if (typeof prototype !== "object" || prototype === null) return [];
  if (ObjectPrototypeIsPrototypeOf(WorkerEntrypoint.prototype, prototype)) {
    return methodsOf(prototype, WorkerEntrypoint.prototype);
  }
  const isObject = ObjectPrototypeIsPrototypeOf(DurableObject.prototype, prototype) ||
    ObjectPrototypeIsPrototypeOf(WorkflowEntrypoint.prototype, prototype);
  if (isObject) return ["class"];
  const methods = methodsOf(prototype, null);
  if (methods.length > 0 && ArrayPrototypeIncludes(HANDLER_NAMES, methods[0])) return methods;
  // Durable Objects need extend nothing.
  return StringPrototypeStartsWith(FunctionPrototypeToString(exported), "class") ? ["class"] : [];
}

function list(names) {
  let json = "";
  for (let i = 0; i < names.length; i++) json += (i === 0 ? "" : ",") + JSONStringify(names[i]);
  return "[" + json + "]";
}

/**
 * @param {object} exports the main module's
 * @param {object | undefined} listeners of the service-worker form
 * @returns {string} JSON
 */
function describe(exports, listeners) {
  if (listeners !== undefined) return '{"handlers":' + list(ObjectKeys(listeners)) + ',"named_handlers":[]}';
  let handlers = [];
  let named = "";
  let count = 0;
  const names = ObjectKeys(exports);
  for (let i = 0; i < names.length && count < NAMES_MAX; i++) {
    const name = names[i];
    let found;
    try {
      found = handlersOf(exports[name]);
    } catch {
      // A getter of the worker's threw: what it hides answers nothing.
      continue;
    }
    if (name === "default") {
      handlers = found;
    } else if (found.length > 0 && name.length <= NAME_LENGTH_MAX) {
      named += (count === 0 ? "" : ",") + '{"name":' + JSONStringify(name) + ',"handlers":' + list(found) + "}";
      count++;
    }
  }
  return '{"handlers":' + list(handlers) + ',"named_handlers":[' + named + "]}";
}

return { describe };
})();
