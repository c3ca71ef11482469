// Stand-in for an isolate of its own per worker in Deno, which serves one program: a web worker for the name in the
// Host header, started upon its first request. Each imports the same file that the other servers deploy.
const workers = new Map();

function start(name) {
  const worker = new Worker(new URL(`./web-worker.js?${name}`, import.meta.url), { type: "module" });
  workers.set(name, worker);
  return worker;
}

function ask(worker, url) {
  return new Promise((resolve, reject) => {
    worker.onmessage = (event) => resolve(event.data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(url);
  });
}

export default {
  async fetch(request) {
    const name = new URL(request.url).hostname.split(".")[0];
    if (!name.startsWith("w-")) return new Response("ready\n");
    return new Response(await ask(workers.get(name) ?? start(name), request.url));
  },
};
