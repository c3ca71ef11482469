/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
// Hono with the middleware and helpers it comes with.
import { zValidator } from "@hono/zod-validator";
import { Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { bearerAuth } from "hono/bearer-auth";
import { bodyLimit } from "hono/body-limit";
import { cache } from "hono/cache";
import { getRuntimeKey } from "hono/adapter";
import { every, some } from "hono/combine";
import { compress } from "hono/compress";
import { contextStorage, getContext } from "hono/context-storage";
import { deleteCookie, getCookie, getSignedCookie, setCookie, setSignedCookie } from "hono/cookie";
import { cors } from "hono/cors";
import { csrf } from "hono/csrf";
import { css, Style } from "hono/css";
import { etag } from "hono/etag";
import { html, raw } from "hono/html";
import { HTTPException } from "hono/http-exception";
import { ipRestriction } from "hono/ip-restriction";
import { jsxRenderer } from "hono/jsx-renderer";
import { jwt, sign } from "hono/jwt";
import { languageDetector } from "hono/language";
import { logger } from "hono/logger";
import { methodOverride } from "hono/method-override";
import { poweredBy } from "hono/powered-by";
import { prettyJSON } from "hono/pretty-json";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { stream, streamSSE, streamText } from "hono/streaming";
import { testClient } from "hono/testing";
import { timeout } from "hono/timeout";
import { endTime, startTime, timing } from "hono/timing";
import { trimTrailingSlash } from "hono/trailing-slash";
import { z } from "zod";

type Env = { Variables: { who: string } };

const SECRET = "a secret of at least thirty-two bytes";

const app = new Hono<Env>();

app.use(logger((line, ...rest) => console.log(`hono: ${line}`, ...rest)));
app.use(requestId());
app.use(poweredBy());
app.use(contextStorage());
app.onError((error, c) => {
  if (error instanceof HTTPException) {
    return error.getResponse();
  }
  return c.json({ failed: error.message }, 500);
});
app.notFound((c) => c.json({ nothing: c.req.path }, 404));

// === routing ===
app.get("/", (c) => c.text(getRuntimeKey()));
app.get("/users/:id{[0-9]+}/posts/:slug?", (c) => c.json({ ...c.req.param(), page: c.req.query("page") ?? null }));
app.on(["PURGE", "PUT"], "/things/*", (c) => c.text(c.req.method));
app.route("/nested", new Hono().basePath("/deep").get("/leaf", (c) => c.text("leaf")));
app.mount("/mounted", (request: Request) => new Response(new URL(request.url).pathname));
app.get("/throw", () => {
  throw new Error("thrown on purpose");
});
app.get("/teapot", () => {
  throw new HTTPException(418, { message: "short and stout" });
});

// === who may ask ===
app.use("/basic/*", basicAuth({ username: "ada", password: "lovelace" }));
app.get("/basic/page", (c) => c.text("in"));
app.use("/bearer/*", bearerAuth({ token: "let-me-in" }));
app.get("/bearer/page", (c) => c.text("in"));
app.get("/token", async (c) => c.text(await sign({ sub: "ada", exp: Math.floor(Date.now() / 1000) + 60 }, SECRET, "HS256")));
app.use("/jwt/*", jwt({ secret: SECRET, alg: "HS256" }));
app.get("/jwt/page", (c) => c.json(c.get("jwtPayload")));
app.use("/csrf/*", csrf({ origin: "https://good.example" }));
app.post("/csrf/form", (c) => c.text("accepted"));
app.use("/local/*", ipRestriction((c) => c.req.header("cf-connecting-ip") ?? "", { denyList: [], allowList: ["127.0.0.1", "::1"] }));
app.get("/local/page", (c) => c.text("near"));
app.use(
  "/either/*",
  some(
    every(bearerAuth({ token: "first" })),
    bearerAuth({ token: "second" }),
  ),
);
app.get("/either/page", (c) => c.text("in"));

// === headers ===
app.use("/cors/*", cors({ origin: "https://app.example", allowMethods: ["GET", "PUT"], maxAge: 600, credentials: true }));
app.get("/cors/page", (c) => c.text("shared"));
app.use("/secure/*", secureHeaders({ contentSecurityPolicy: { defaultSrc: ["'self'"] } }));
app.get("/secure/page", (c) => c.text("safe"));
app.use("/etag/*", etag());
app.get("/etag/page", (c) => c.text("the same text every time"));
app.use("/compress/*", compress({ threshold: 64 }));
app.get("/compress/page", (c) => c.text("abc".repeat(1000)));
app.use("/timing/*", timing());
app.get("/timing/page", async (c) => {
  startTime(c, "work");
  await new Promise((done) => setTimeout(done, 5));
  endTime(c, "work");
  return c.text("timed");
});
app.use("/language/*", languageDetector({ supportedLanguages: ["en", "de"], fallbackLanguage: "en" }));
app.get("/language/page", (c) => c.text(c.get("language" as never)));

// === bodies ===
app.use("/small/*", bodyLimit({ maxSize: 8, onError: (c) => c.text("too large", 413) }));
app.post("/small/body", async (c) => c.text(await c.req.text()));
app.post(
  "/validated",
  zValidator("json", z.object({ name: z.string().min(2), age: z.number().int().positive() })),
  (c) => c.json({ hello: c.req.valid("json").name }),
);
app.post("/form", async (c) => {
  const form = await c.req.parseBody({ all: true });
  const file = form["file"] as File;
  return c.json({ tags: form["tag"], file: { name: file.name, type: file.type, text: await file.text() } });
});
app.use("/override", methodOverride({ app }));
app.delete("/override", (c) => c.text("deleted"));
app.use("/pretty", prettyJSON());
app.get("/pretty", (c) => c.json({ a: 1 }));

// === time and cache ===
app.use("/slow", timeout(20));
app.get("/slow", async (c) => {
  await new Promise((done) => setTimeout(done, 10_000));
  return c.text("never");
});
let made = 0;
app.use("/cached", cache({ cacheName: "hono", cacheControl: "max-age=60", wait: true }));
app.get("/cached", (c) => c.text(String(++made)));

// === cookies ===
app.get("/cookies/set", async (c) => {
  setCookie(c, "plain", "yes", { httpOnly: true, path: "/", sameSite: "Lax", maxAge: 60 });
  await setSignedCookie(c, "signed", "sealed", SECRET);
  deleteCookie(c, "old");
  return c.text("set");
});
app.get("/cookies/get", async (c) => c.json({ plain: getCookie(c, "plain") ?? null, signed: (await getSignedCookie(c, SECRET, "signed")) ?? null }));

// === pages ===
app.use("/page/*", jsxRenderer(({ children }) => (
  <html>
    <head>
      <Style />
    </head>
    <body>{children}</body>
  </html>
)));
const Slow = async ({ name }: { name: string }) => {
  await new Promise((done) => setTimeout(done, 1));
  return <b>{name}</b>;
};
const red = css`
  color: red;
`;
app.get("/page/:name", (c) => c.render(<p class={red}>Hello <Slow name={c.req.param("name")} /></p>));
app.get("/template", (c) => c.html(html`<p>${"<script>"}${raw("<hr>")}</p>`));

// === streams ===
app.get("/stream/bytes", (c) =>
  stream(c, async (out) => {
    for (const part of ["one ", "two ", "three"]) {
      await out.write(new TextEncoder().encode(part));
    }
  }));
app.get("/stream/text", (c) =>
  streamText(c, async (out) => {
    for (let index = 0; index < 3; index++) {
      await out.writeln(`line ${index}`);
      await out.sleep(1);
    }
  }));
app.get("/stream/events", (c) =>
  streamSSE(c, async (out) => {
    for (let id = 0; id < 3; id++) {
      await out.writeSSE({ event: "tick", id: String(id), data: JSON.stringify({ id }) });
    }
  }));

// === the context across awaits ===
app.use("/context", async (c, next) => {
  c.set("who", c.req.query("who") ?? "nobody");
  await next();
});
const later = async () => {
  await new Promise((done) => setTimeout(done, Math.random() * 10));
  return getContext<Env>().var.who;
};
app.get("/context", async (c) => c.text(await later()));

// === a client of itself ===
app.get("/client", async (c) => {
  const inner = new Hono().get("/add/:a/:b", (d) => d.json({ sum: Number(d.req.param("a")) + Number(d.req.param("b")) }));
  const answer = await testClient(inner).add[":a"][":b"].$get({ param: { a: "2", b: "3" } });
  return c.json(await answer.json());
});
app.use("/trim/*", trimTrailingSlash());
app.get("/trim/page", (c) => c.text("trimmed"));

export default app;
