// The frozen clock: Date and performance.now tell when the host last let time in, not the present moment.
(function () {
const { core, primordials } = __bootstrap;
const { op_frozen_now } = core.ops;
const { Date, ObjectDefineProperty, ReflectConstruct } = primordials;

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

return { frozenDate, now };
})();
