import { createRequestHandler, RouterContextProvider } from "react-router";
import { platform } from "../app/platform.js";

const handle = createRequestHandler(() => import("virtual:react-router/server-build"), import.meta.env.MODE);

export default {
  fetch(request, env, ctx) {
    return handle(request, new RouterContextProvider(new Map([[platform, { env, ctx }]])));
  },
};
