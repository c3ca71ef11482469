// Stands in for Deno's `12_io.js`: a worker has no terminal.
(function () {
const closed = { isTerminal: () => false, rid: -1 };
return { stderr: closed, stdin: closed, stdout: closed };
})();
