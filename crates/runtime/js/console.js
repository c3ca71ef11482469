// The console of a worker: what it is given leaves as log records, under the event whose code is running.
(function () {
const { core, primordials } = __bootstrap;
const { op_frozen_now, op_log } = core.ops;
const {
  ArrayIsArray,
  ArrayPrototypePop,
  ArrayPrototypePush,
  JSONStringify,
  ObjectDefineProperty,
  ObjectGetPrototypeOf,
  ObjectPrototype,
  RangeError,
  ReflectApply,
  SafeArrayIterator,
  SafeMap,
  String,
  StringPrototypeEndsWith,
  StringPrototypeSlice,
} = primordials;
const { Console, inspect, stripVTControlCharacters } = core.loadExtScript("ext:deno_web/01_console.js");
const events = core.loadExtScript("ext:selvedge/events.js");

const LEVELS = ["debug", "log", "info", "warn", "error"];
/** The levels of what deno_web's console prints, by its own numbers. */
const LEVEL_OF_KIND = ["debug", "log", "warn", "error", "log"];
/** What console.trace() prints. */
const TRACE = 4;

/** The most that the values of one record take as JSON, in UTF-16 units; of more, their text tells. */
const VALUES_LENGTH_MAX = 65536;
/** The most that a value takes which is shown as text, in UTF-16 units. */
const SHOWN_LENGTH_MAX = 16384;
/** How deep values may be nested: whoever reads a record has a bound of its own. */
const VALUES_DEPTH_MAX = 32;

/**
 * Sends one log record to the host.
 * @param {number} stream the event's, 0 for none
 * @param {string} level
 * @param {string} text
 * @param {string} further more members of the record, as JSON, each with a comma before it
 */
function logRecord(stream, level, text, further = "") {
  // Put together by hand: a worker may have given all objects, or all arrays, a toJSON.
  op_log(
    stream,
    '{"level":"' + level + '","timestamp":' + op_frozen_now() + ',"message":[' + JSONStringify(text) + "]" + further + "}",
  );
}

/**
 * Logs an exception that ended a part of an event's work.
 * @param {{ name: string, message: string, stack: string }} report
 * @param {string} during
 */
function logException(stream, report, during) {
  logRecord(
    stream,
    "error",
    report.stack,
    ',"during":' + JSONStringify(during) + ',"exception":{"name":' + JSONStringify(report.name) +
      ',"message":' + JSONStringify(report.message) + ',"stack":' + JSONStringify(report.stack) + "}",
  );
}

// === values ===

/** Whether a value is shown as JSON says it: what has no class of its own, or says itself how. */
function isPlain(value) {
  if (ArrayIsArray(value)) return true;
  const prototype = ObjectGetPrototypeOf(value);
  return prototype === null || prototype === ObjectPrototype || typeof value.toJSON === "function";
}

/** The JSON of an object, whatever it is made of: throws where it would be too large or too deep. */
function jsonOf(value) {
  let room = VALUES_LENGTH_MAX;
  // The objects that are being written, from the outermost.
  const holders = [];
  return JSONStringify(value, function (key, member) {
    while (holders.length > 0 && holders[holders.length - 1] !== this) ArrayPrototypePop(holders);
    room -= key.length + (typeof member === "string" ? member.length : 4);
    if (room < 0) throw new RangeError("too large");
    if (typeof member === "object" && member !== null) {
      if (holders.length === VALUES_DEPTH_MAX) throw new RangeError("too deep");
      ArrayPrototypePush(holders, member);
    }
    return member;
  });
}

/** One value as JSON. */
function valueOf(value) {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return JSONStringify(value);
    case "undefined":
      return "null";
  }
  if (value === null) return "null";
  try {
    if (typeof value === "object" && isPlain(value)) {
      const json = jsonOf(value);
      if (json !== undefined) return json;
    }
  } catch {
    // A cycle, a getter that throws, too much: text then.
  }
  try {
    return JSONStringify(StringPrototypeSlice(inspect(value, { __proto__: null, colors: false }), 0, SHOWN_LENGTH_MAX));
  } catch {
    return '"[a value that cannot be shown as text]"';
  }
}

/** The values that the console was given, as a member of a record; nothing where the text says the same. */
function valuesOf(values, text) {
  if (values.length === 1 && values[0] === text) return "";
  let json = "";
  for (let i = 0; i < values.length; i++) {
    json += (i === 0 ? "" : ",") + valueOf(values[i]);
    if (json.length > VALUES_LENGTH_MAX) return insteadOf(text);
  }
  return ',"values":[' + json + "]";
}

/** What stands in the place of values that are too large: the text, without the colours of a terminal. */
function insteadOf(text) {
  const bare = stripVTControlCharacters(text);
  if (bare === text) return "";
  return ',"values":[' + JSONStringify(StringPrototypeSlice(bare, 0, SHOWN_LENGTH_MAX)) + "]";
}

// === node:diagnostics_channel ===

/** What stands in the place of a message that is none of JSON's values, or too large: in the platform's words. */
const NO_MESSAGE = "[[ Diagnostic event was not serializable ]]";
/** A message is being written: what its getters publish is not told, or it could go on for ever. */
let publishing = false;

/**
 * Tells of what the event under way published, for tails and tail workers.
 * @param {string} channel
 * @param {any} message
 */
function channelRecord(channel, message) {
  const invocation = events.current();
  if (invocation === undefined || publishing) return;
  let json;
  publishing = true;
  try {
    if (typeof message !== "function" && typeof message !== "symbol") json = valueOf(message);
  } finally {
    publishing = false;
  }
  if (json === undefined || json.length > VALUES_LENGTH_MAX) json = JSONStringify(NO_MESSAGE);
  logRecord(invocation.stream, "log", "", ',"channel":' + JSONStringify(channel) + ',"values":[' + json + "]");
}

// === the console ===

/** `console.time` and its kin, by the clock that code sees: Deno's would tell how long code ran. */
function addTimers(console) {
  const { info, warn } = console;
  const started = new SafeMap();
  const tell = (label, values) => {
    const start = started.get(label);
    if (start === undefined) warn(`Timer '${label}' does not exist`);
    else info(`${label}: ${op_frozen_now() - start}ms`, ...new SafeArrayIterator(values));
  };
  const timers = {
    time(label = "default") {
      label = String(label);
      if (started.has(label)) warn(`Timer '${label}' already exists`);
      else started.set(label, op_frozen_now());
    },
    timeLog(label = "default", ...values) {
      tell(String(label), values);
    },
    timeEnd(label = "default") {
      label = String(label);
      tell(label, []);
      started.delete(label);
    },
  };
  for (const name in timers) console[name] = timers[name];
}

/** @returns {Console} */
function makeConsole() {
  /** The call under way, until its record is made: its name and what it was given. */
  let call;
  /** Values are being written: what their getters log is text alone, or it could go on for ever. */
  let writing = false;
  const console = new Console((text, kind) => {
    // The text ends with the line feed that a terminal would want.
    const line = StringPrototypeEndsWith(text, "\n") ? StringPrototypeSlice(text, 0, -1) : text;
    // console.trace() prints it on its own.
    if (kind === TRACE && line === "") return;
    const { name, values } = call ?? { name: LEVEL_OF_KIND[kind], values: undefined };
    // Where no values go with the text, it is all that a tail has: without the colours of a terminal then.
    const shown = call === undefined ? stripVTControlCharacters(line) : line;
    call = undefined;
    let further = "";
    if (values !== undefined && !writing) {
      writing = true;
      try {
        further = valuesOf(values, line);
      } finally {
        writing = false;
      }
    }
    logRecord(events.current()?.stream ?? 0, name, shown, further);
  });
  for (const name of LEVELS) {
    const print = console[name];
    console[name] = {
      [name](...values) {
        const before = call;
        call = { name, values };
        try {
          ReflectApply(print, undefined, values);
        } finally {
          call = before;
        }
      },
    }[name];
  }
  addTimers(console);
  // As in Chrome's console: the same console, for whoever wants one with a name.
  ObjectDefineProperty(console, "context", {
    __proto__: null,
    value: { context() { return console; } }.context,
    writable: true,
    enumerable: true,
    configurable: true,
  });
  return console;
}

return { channelRecord, logException, logRecord, makeConsole };
})();
