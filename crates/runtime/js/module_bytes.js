// The default exports of modules that are not code. Only the stand-ins that the loader writes may import this.
import { core } from "ext:core/mod.js";
const { op_module_bytes, op_module_kind, op_module_text } = core.ops;

/** @param {string} specifier */
export function take(specifier) {
  switch (op_module_kind(specifier)) {
    case "text":
      return op_module_text(specifier);
    case "json":
      return JSON.parse(op_module_text(specifier));
    case "wasm":
      return new WebAssembly.Module(op_module_bytes(specifier));
    case "commonjs":
      throw new TypeError(`"${specifier}" is a CommonJS module: bundle it, or convert it to an ECMAScript module.`);
    default:
      return op_module_bytes(specifier).buffer;
  }
}
