// itty-router: the batteries-included router, with its responses, parameters and CORS.
import { AutoRouter, cors, error, html, type IRequest, json, png, status, StatusError, text, withContent, withCookies, withParams } from "itty-router";

// itty's `corsify` copies a response without its status, on every platform: so it has routes of its own.
const { preflight, corsify } = cors({ origin: "https://app.example", credentials: true, allowMethods: ["GET", "POST"] });

const shared = AutoRouter({ base: "/shared", before: [preflight], finally: [corsify] }).get("/page", () => ({ shared: true }));

const nested = AutoRouter({ base: "/nested" }).get("/leaf", () => "leaf");

const needsKey = (request: IRequest) => {
  if (request.headers.get("x-key") !== "open") {
    return error(401, "no key");
  }
};

const router = AutoRouter({
  before: [withCookies],
  missing: () => error(404, "nothing here"),
});

router
  .get("/", () => ({ router: "itty" }))
  .get("/users/:id/:rest+", ({ id, rest }) => ({ id, rest }))
  .get("/optional/:format?", ({ format }) => ({ format: format ?? null }))
  .get("/files/:name.:ext", ({ name, ext }) => ({ name, ext }))
  .get("/query", ({ query }) => query)
  .post("/content", withContent, ({ content }) => ({ got: content }))
  .get("/cookies", ({ cookies }) => cookies)
  .get("/params/:id", withParams, ({ id }) => ({ id }))
  .get("/guarded", needsKey, () => "open")
  .get("/text", () => text("words"))
  .get("/html", () => html("<p>page</p>"))
  .get("/png", () => png(new Uint8Array([137, 80, 78, 71])))
  .get("/status", () => status(204))
  .get("/json", () => json([1, 2, 3], { status: 201, headers: { "x-made": "yes" } }))
  .get("/thrown", () => {
    throw new StatusError(418, { error: "short and stout" });
  })
  .get("/broken", () => (undefined as unknown as { a: { b: number } }).a.b)
  .all("/env", (_request, env) => ({ greeting: env.GREETING ?? null }))
  .all("/shared/*", shared.fetch)
  .all("/nested/*", nested.fetch);

export default { ...router };
