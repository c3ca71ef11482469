// Stand-in for deployment in workerd: loads the worker that the Host header names, upon its first request, through
// workerd's Worker Loader. `sources` maps each name to its module.
import sources from "sources.json";

const COMPATIBILITY_DATE = "2026-11-17";

export default {
  fetch(request, env) {
    const name = new URL(request.url).hostname.split(".")[0];
    const source = sources[name];
    if (source === undefined) return new Response("ready\n");
    const worker = env.LOADER.get(name, () => ({
      compatibilityDate: COMPATIBILITY_DATE,
      mainModule: "worker.js",
      modules: { "worker.js": source },
    }));
    return worker.getEntrypoint().fetch(request);
  },
};
