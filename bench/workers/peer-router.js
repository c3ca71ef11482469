// Stand-in for routing by host in workerd, which has none: hands each request to the service that the Host header
// names. Every deployed worker is a service binding under its own name.
export default {
  fetch(request, env) {
    const name = new URL(request.url).hostname.split(".")[0];
    const worker = env[name];
    return worker === undefined ? new Response("no worker\n", { status: 404 }) : worker.fetch(request);
  },
};
