// What most workers do in their first request, done once while the snapshot is made: the snapshot keeps the bytecode of
// what ran, and no isolate compiles it again. Nothing of a worker stays: `forget` undoes `start`, and events end.
(() => {
  const { dispatch, handlers, start } = globalThis.__selvedge;
  const headers = "accept\n*/*\ncontent-type\napplication/json\nhost\nlocalhost\nuser-agent\nrehearsal";
  const body = () => new TextEncoder().encode('{"a":1}');
  const scenes = [
    () => new Response("text"),
    () => new Response("text", { status: 404, headers: { "x-name": "value" } }),
    () => new Response(new Uint8Array(1), { headers: new Headers([["x-name", "value"]]) }),
    () => new Response(null, { status: 204 }),
    () => Response.json({ a: 1 }),
    async () => Response.json({ a: 1 }, { status: 201 }),
    async (request, _env, ctx) => {
      ctx.waitUntil(Promise.resolve());
      const url = new URL(request.url);
      const entries = Object.fromEntries(request.headers);
      return new Response(`${request.method} ${url.pathname}${url.searchParams.get("q")} ${entries.host} ${request.cf}`);
    },
    async (request) => Response.json(await request.json()),
    async (request) => new Response(await request.text(), { headers: { "content-type": request.headers.get("content-type") } }),
    () => {
      throw new Error("rehearsed");
    },
  ];
  for (const fetch of scenes) {
    start({ default: { fetch } });
    handlers();
    const method = fetch.length > 0 ? "POST" : "GET";
    dispatch(1, "fetch", method, "http://localhost/path?q=1", '{"id":"0"}', headers, method === "POST" ? body() : undefined);
  }
})();
