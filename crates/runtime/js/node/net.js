// Stands in for Deno's `01_net.js`: nothing in a worker listens on a socket.
(function () {
const { refusing } = __bootstrap.core.loadExtScript("ext:selvedge_node/stubs.js");
return { listen: refusing("net", "listen") };
})();
