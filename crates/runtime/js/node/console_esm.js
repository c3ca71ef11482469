// `node:console`
import { core } from "ext:core/mod.js";
const { Console } = core.loadExtScript("ext:deno_node/console.ts");

const console = globalThis.console;
console.Console ??= Console;

export { Console };
export const {
  assert,
  clear,
  context,
  count,
  countReset,
  createTask,
  debug,
  dir,
  dirxml,
  error,
  group,
  groupCollapsed,
  groupEnd,
  info,
  log,
  profile,
  profileEnd,
  table,
  time,
  timeEnd,
  timeLog,
  timeStamp,
  trace,
  warn,
} = console;
export default console;
