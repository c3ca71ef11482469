// The frozen clock: Date and performance.now tell when the host last let time in, not the present moment.
(function () {
const { core, primordials } = __bootstrap;
const { op_frozen_now } = core.ops;
const {
  Date,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  ReflectApply,
  ReflectConstruct,
  SafeWeakMap,
} = primordials;

const NativeDate = Date;

function now() {
  return op_frozen_now();
}

/** @returns {DateConstructor} a Date whose present is the frozen clock's */
function frozenDate() {
  const FrozenDate = function Date(...args) {
    if (new.target === undefined) return new NativeDate(now()).toString();
    return ReflectConstruct(NativeDate, args.length === 0 ? [now()] : args, new.target);
  };
  FrozenDate.prototype = NativeDate.prototype;
  for (const name of ["parse", "UTC"]) {
    ObjectDefineProperty(FrozenDate, name, {
      __proto__: null,
      value: NativeDate[name],
      writable: true,
      enumerable: false,
      configurable: true,
    });
  }
  ObjectDefineProperty(FrozenDate, "now", {
    __proto__: null,
    value: { now() { return now(); } }.now,
    writable: true,
    enumerable: false,
    configurable: true,
  });
  ObjectDefineProperty(FrozenDate, "length", { __proto__: null, value: 7, configurable: true });
  ObjectDefineProperty(NativeDate.prototype, "constructor", {
    __proto__: null,
    value: FrozenDate,
    writable: true,
    enumerable: false,
    configurable: true,
  });
  return FrozenDate;
}

/** What Intl makes of no date is the present: the frozen clock's. */
function freezeDateTimeFormat() {
  const { prototype } = Intl.DateTimeFormat;
  const { get: nativeFormat } = ObjectGetOwnPropertyDescriptor(prototype, "format");
  const { value: nativeParts } = ObjectGetOwnPropertyDescriptor(prototype, "formatToParts");
  // As the standard has it, one formatter has one function.
  const functions = new SafeWeakMap();
  const frozen = {
    get format() {
      const native = ReflectApply(nativeFormat, this, []);
      let format = functions.get(native);
      if (format === undefined) {
        functions.set(native, (date) => native(date === undefined ? now() : date));
        format = functions.get(native);
      }
      return format;
    },
    formatToParts(date) {
      return ReflectApply(nativeParts, this, [date === undefined ? now() : date]);
    },
  };
  const { get } = ObjectGetOwnPropertyDescriptor(frozen, "format");
  ObjectDefineProperty(prototype, "format", { __proto__: null, get, enumerable: false, configurable: true });
  ObjectDefineProperty(prototype, "formatToParts", {
    __proto__: null,
    value: frozen.formatToParts,
    writable: true,
    enumerable: false,
    configurable: true,
  });
}

return { freezeDateTimeFormat, frozenDate, now };
})();
