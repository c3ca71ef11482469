// The Cache API, asked what it keeps and what it refuses.
const KEY = "https://cached.example/";
const keep = { "cache-control": "max-age=60" };

async function rules() {
  const answers = {};
  const ask = async (name, question) => {
    try {
      answers[name] = String(await question());
    } catch (error) {
      answers[name] = error.message;
    }
  };
  const cache = caches.default;
  await ask("206", () => cache.put(KEY, new Response("x", { status: 206 })));
  await ask("vary", () => cache.put(KEY, new Response("x", { headers: { vary: "a, *" } })));
  await ask("post", () => cache.put(new Request(KEY, { method: "POST" }), new Response("x")));
  await ask("error", () => cache.put(KEY, Response.error()));
  await cache.put(KEY, new Response("0123456789", { headers: { ...keep, etag: '"1"' } }));
  await ask("match post", () => cache.match(new Request(KEY, { method: "POST" })));
  await ask("ignoreMethod", async () => {
    const response = await cache.match(new Request(KEY, { method: "POST" }), { ignoreMethod: true });
    return response.status;
  });
  await ask("another cache", async () => (await caches.open("other")).match(KEY));
  await ask("no-store", async () => {
    await cache.put(`${KEY}no-store`, new Response("x", { headers: { "cache-control": "no-store" } }));
    return cache.match(`${KEY}no-store`);
  });
  await ask("coded by hand", async () => {
    const coded = new Response("plain").body.pipeThrough(new CompressionStream("gzip"));
    const headers = { ...keep, "content-encoding": "gzip" };
    await cache.put(`${KEY}coded`, new Response(coded, { encodeBody: "manual", headers }));
    return (await cache.match(`${KEY}coded`)).text();
  });
  await ask("large", async () => {
    let left = 20;
    const stream = new ReadableStream({
      pull(controller) {
        if (left-- === 0) controller.close();
        else controller.enqueue(new Uint8Array(100_000));
      },
    });
    await cache.put(`${KEY}large`, new Response(stream, { headers: keep }));
    return (await (await cache.match(`${KEY}large`)).arrayBuffer()).byteLength;
  });
  await ask("range", async () => {
    const response = await cache.match(new Request(KEY, { headers: { range: "bytes=2-4" } }));
    return `${response.status} ${await response.text()} ${response.headers.get("content-range")}`;
  });
  await ask("etag", async () => (await cache.match(new Request(KEY, { headers: { "if-none-match": '"1"' } }))).status);
  return answers;
}

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname !== "/page") return Response.json(await rules());
    const cached = await caches.default.match(request);
    if (cached !== undefined) return cached;
    const response = new Response(`made at ${crypto.randomUUID()}`, { headers: keep });
    ctx.waitUntil(caches.default.put(request, response.clone()));
    return response;
  },
};
