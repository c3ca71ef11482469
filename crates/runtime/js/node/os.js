// Stands in for Deno's `30_os.js`.
(function () {
let exitCode = 0;
return {
  exit: __bootstrap.core.loadExtScript("ext:selvedge_node/deno.js").exit,
  getExitCode: () => exitCode,
  osUptime: () => 0,
  setExitCode(code) {
    exitCode = code;
  },
};
})();
