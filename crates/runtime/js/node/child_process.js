// `node:child_process`: a worker has no processes, and each function says so.
(function () {
const { refusing, refusingClass } = __bootstrap.core.loadExtScript("ext:selvedge_node/stubs.js");
const exports = {
  ChildProcess: refusingClass("child_process", "ChildProcess", ["kill", "ref", "spawn", "unref"]),
};
for (const name of ["_forkChild", "exec", "execFile", "execFileSync", "execSync", "fork", "spawn", "spawnSync"]) {
  exports[name] = refusing("child_process", name);
}
return exports;
})();
