// `node:util`: Deno's, with the functions that Node once had and that packages still ask for.
(function () {
const { core, primordials } = __bootstrap;
const { ObjectPrototypeIsPrototypeOf, ErrorPrototype } = primordials;
const util = core.loadExtScript("ext:deno_node/util.ts");
const errors = core.loadExtScript("ext:deno_node/internal/errors.ts");
const exports = util.default ?? util;
const { types } = exports;

const older = {
  _errnoException: errors.errnoException,
  _exceptionWithHostPort: errors.exceptionWithHostPort,
  getCallSite: exports.getCallSites,
  isBoolean: (value) => typeof value === "boolean",
  isBuffer: (value) => core.loadExtScript("ext:deno_node/internal/buffer.mjs").Buffer.isBuffer(value),
  isDate: (value) => types.isDate(value),
  isError: (value) => types.isNativeError(value) || ObjectPrototypeIsPrototypeOf(ErrorPrototype, value),
  isFunction: (value) => typeof value === "function",
  isNull: (value) => value === null,
  isNullOrUndefined: (value) => value === null || value === undefined,
  isNumber: (value) => typeof value === "number",
  isObject: (value) => value !== null && typeof value === "object",
  isPrimitive: (value) => value === null || (typeof value !== "object" && typeof value !== "function"),
  isRegExp: (value) => types.isRegExp(value),
  isString: (value) => typeof value === "string",
  isSymbol: (value) => typeof value === "symbol",
  isUndefined: (value) => value === undefined,
};
for (const name in older) exports[name] ??= older[name];
return exports;
})();
