// What the platform inside answers, a name for each question. The answers beside this file are workerd's own, except where
// the test says otherwise.
const dec = new TextDecoder();
async function read(stream) {
  const out = [];
  for await (const c of stream) out.push(typeof c === "string" ? c : dec.decode(c));
  return out.join("");
}
export default {
  async fetch(req, env, ctx) {
    const o = {};
    const t = async (n, f) => {
      try {
        const v = await Promise.race([f(), scheduler.wait(3000).then(() => "TIMEOUT")]);
        o[n] = typeof v === "function"
          ? String(v)
          : typeof v === "bigint"
          ? v + "n"
          : v === undefined
          ? "undefined"
          : v;
      } catch (e) {
        o[n] = "THROWS " + e?.name + ": " + e?.message;
      }
    };
    await t("fls ok", async () => {
      const f = new FixedLengthStream(5);
      const w = f.writable.getWriter();
      ctx.waitUntil((async () => {
        await w.write(new Uint8Array([104, 101]));
        await w.write(new Uint8Array([108, 108, 111]));
        await w.close();
      })());
      return read(f.readable);
    });
    await t("its byob", async () => {
      const f = new IdentityTransformStream();
      const w = f.writable.getWriter();
      ctx.waitUntil(w.write(new TextEncoder().encode("abcdef")).then(() => w.close()));
      const r = f.readable.getReader({ mode: "byob" });
      const a = await r.read(new Uint8Array(4));
      const b = await r.read(new Uint8Array(4));
      const c = await r.read(new Uint8Array(4));
      return [dec.decode(a.value), a.done, dec.decode(b.value), b.done, c.done, c.value?.byteLength].join();
    });
    await t("its string", async () => {
      const f = new IdentityTransformStream();
      const w = f.writable.getWriter();
      const p = w.write("str");
      const r = f.readable.getReader();
      const v = await r.read();
      await p;
      return dec.decode(v.value);
    });
    await t("its bad", async () => {
      const f = new IdentityTransformStream();
      const w = f.writable.getWriter();
      f.readable.getReader().read().catch(() => {});
      await w.write({});
    });
    await t("its cancel", async () => {
      const f = new IdentityTransformStream();
      const w = f.writable.getWriter();
      const p = w.write(new Uint8Array(1));
      await f.readable.cancel(new Error("nope"));
      await p;
    });
    await t("its abort", async () => {
      const f = new IdentityTransformStream();
      const r = f.readable.getReader();
      const p = r.read();
      await f.writable.abort(new Error("boo"));
      await p;
    });
    await t("readAtLeast", async () => {
      const f = new IdentityTransformStream();
      const w = f.writable.getWriter();
      ctx.waitUntil((async () => {
        for (const s of ["ab", "cd", "ef"]) await w.write(new TextEncoder().encode(s));
        await w.close();
      })());
      const r = f.readable.getReader({ mode: "byob" });
      const a = await r.readAtLeast(3, new Uint8Array(10));
      return dec.decode(a.value) + a.done;
    });
    await t("pipe its", async () => {
      const f = new IdentityTransformStream();
      ctx.waitUntil(new Response("piped").body.pipeTo(f.writable));
      return read(f.readable);
    });
    await t("from", async () => read(ReadableStream.from(["a", "b"])));
    await t("from async", async () =>
      read(ReadableStream.from((async function* () {
        yield "x";
        yield "y";
      })())));
    await t("tee", async () => {
      const [a, b] = new Response("teed").body.tee();
      return await read(a) + await read(b);
    });
    await t("clone", async () => {
      const r = new Response("cl");
      const c = r.clone();
      return await r.text() + await c.text() + r.bodyUsed;
    });
    await t("req stream", async () =>
      await new Request("http://a/", {
        method: "POST",
        body: new ReadableStream({
          start(c) {
            c.enqueue(new TextEncoder().encode("rs"));
            c.close();
          },
        }),
      }).text());
    await t("digest", async () => {
      const d = new crypto.DigestStream("SHA-256");
      await new Response("hello").body.pipeTo(d);
      const b = await d.digest;
      return [...new Uint8Array(b)].map((x) => x.toString(16).padStart(2, "0")).join("") + d.bytesWritten;
    });
    await t("digest md5", async () => {
      const d = new crypto.DigestStream({ name: "md5" });
      const w = d.getWriter();
      await w.write(new TextEncoder().encode("a"));
      await w.close();
      return [...new Uint8Array(await d.digest)].join();
    });
    await t("digest abort", async () => {
      const d = new crypto.DigestStream("SHA-1");
      const w = d.getWriter();
      await w.abort(new Error("ab"));
      await d.digest;
    });
    await t("tse", async () =>
      [
        crypto.subtle.timingSafeEqual(new Uint8Array([1, 2]), new Uint8Array([1, 2])),
        crypto.subtle.timingSafeEqual(new Uint8Array([1, 2]).buffer, new Uint8Array([1, 3])),
      ].join());
    await t("uuid", async () => crypto.randomUUID().length);
    await t("grv", async () => crypto.getRandomValues(new Uint32Array(4)).length);
    await t("scheduler", async () => {
      await scheduler.wait(5);
      return "ok";
    });
    await t("scheduler abort", async () => {
      await scheduler.wait(5000, { signal: AbortSignal.timeout(10) });
    });
    await t("AbortSignal.any", async () => {
      const c = new AbortController();
      const s = AbortSignal.any([c.signal, AbortSignal.timeout(10000)]);
      c.abort("why");
      return s.aborted + s.reason;
    });
    await t("mc", async () => {
      const { port1, port2 } = new MessageChannel();
      const p = new Promise((r) => port2.onmessage = (e) => r(e.data));
      port1.postMessage({ a: [1, new Date(0)] });
      const v = await p;
      port1.close();
      port2.close();
      return JSON.stringify(v);
    });
    await t("sc", async () => {
      const m = structuredClone(new Map([[1, { d: new Date(5), r: /x/g, u: new Uint8Array(2) }]]));
      return [...m.keys()].join() + m.get(1).d.getTime() + m.get(1).r + m.get(1).u.length;
    });
    await t("sc fn", async () => structuredClone(() => 1));
    await t("formdata url", async () => {
      const g = await new Response(new URLSearchParams("a=1&b=x%20y")).formData();
      return [...g].join("|");
    });
    await t("blob", async () => {
      const b = new Blob(["ab", new Uint8Array([99])], { type: "T/x" });
      return [b.size, b.type, await b.slice(1, 3).text(), (await b.bytes()).length, await read(b.stream())].join();
    });
    await t("compress", async () =>
      await read(
        new Response("zip".repeat(10)).body.pipeThrough(new CompressionStream("gzip")).pipeThrough(
          new DecompressionStream("gzip"),
        ),
      ));
    await t("reportError", async () => {
      let got;
      addEventListener("error", (e) => {
        got = [e.message, e.error?.message, e instanceof ErrorEvent];
        e.preventDefault();
      }, { once: true });
      reportError(new Error("rep"));
      return String(got);
    });
    await t("unhandled", async () => {
      let got = [];
      const f = (e) => {
        got.push(e.type, e.reason?.message);
        e.preventDefault();
      };
      addEventListener("unhandledrejection", f);
      addEventListener("rejectionhandled", (e) => got.push(e.type));
      const p = Promise.reject(new Error("unh"));
      await scheduler.wait(20);
      p.catch(() => {});
      await scheduler.wait(20);
      removeEventListener("unhandledrejection", f);
      return String(got);
    });
    await t("timer throws", async () => {
      let got;
      addEventListener("error", (e) => {
        got = e.message;
        e.preventDefault();
      }, { once: true });
      setTimeout(() => {
        throw new Error("in timer");
      }, 1);
      await scheduler.wait(20);
      return got;
    });
    await t("perf mark", async () => {
      performance.mark("a");
      performance.mark("b");
      const m = performance.measure("m", "a", "b");
      const n = performance.getEntriesByType("measure").length;
      performance.clearMarks();
      performance.clearMeasures();
      return [m.duration, n, performance.getEntries().length].join();
    });
    await t("frozen", async () => {
      const a = Date.now(), p = performance.now();
      let x = 0;
      for (let i = 0; i < 3e6; i++) {
        x += i;
      }
      return [Date.now() - a, performance.now() - p, new Date().getTime() - a].join();
    });
    await t("headers getAll", async () => {
      const h = new Headers([["set-cookie", "a=1"], ["set-cookie", "b=2"]]);
      return h.getAll("Set-Cookie").join("|") + h.getSetCookie().join("|");
    });
    await t("headers getAll bad", async () => new Headers().getAll("x"));
    await t(
      "urlpattern",
      async () => JSON.stringify(new URLPattern({ pathname: "/a/:b" }).exec("http://x/a/42").pathname.groups),
    );
    await t(
      "body instanceof",
      async () =>
        [new Response() instanceof Body, new Request("http://a") instanceof Body, typeof Body.prototype.text].join(),
    );
    await t("Response.json clone", async () => {
      const r = Response.json({ a: 1 }, { status: 201, headers: { "x-a": "b" } });
      const c = r.clone();
      return [c.status, c.headers.get("content-type"), JSON.stringify(await c.json()), r.headers.get("x-a")].join();
    });
    await t("resp cf", async () =>
      JSON.stringify(new Response("x", { cf: { a: 1 } }).cf) +
      JSON.stringify(new Request("http://a", { cf: { b: 1 } }).cf));
    await t("cache", async () => {
      const c = await caches.open("n" + Math.random());
      const k = "http://example.com/k";
      const none = await c.match(k);
      await c.put(k, new Response("cached", { headers: { "cache-control": "max-age=60", "x-y": "z" } }));
      const r = await c.match(k);
      const s = [
        none,
        r.status,
        r.headers.get("x-y"),
        r.headers.get("cf-cache-status"),
        await r.text(),
        await c.delete(k),
        await c.match(k),
        await c.delete(k),
      ];
      return s.join("|");
    });
    await t("pair", async () => {
      const [a, b] = Object.values(new WebSocketPair());
      a.binaryType = "arraybuffer";
      const got = [];
      a.addEventListener("message", (e) => got.push(typeof e.data === "string" ? e.data : e.data.byteLength));
      a.addEventListener("close", (e) => got.push(e.code, e.reason, e.wasClean, a.readyState));
      b.addEventListener("close", (e) => got.push("b", e.code, e.reason, b.readyState));
      b.accept();
      b.send("early");
      b.send(new Uint8Array(3));
      a.accept();
      await scheduler.wait(10);
      b.close(1001, "r");
      got.push(b.readyState);
      await scheduler.wait(10);
      return got.join();
    });
    await t("pair half", async () => {
      const [a, b] = Object.values(new WebSocketPair());
      const got = [];
      a.addEventListener("close", (e) => got.push("a", e.code, a.readyState));
      b.addEventListener("close", (e) => got.push("b", e.code, b.readyState));
      b.accept();
      a.accept({ allowHalfOpen: true });
      b.close(1001, "r");
      await scheduler.wait(10);
      a.close(3000, "x");
      await scheduler.wait(10);
      return got.join();
    });
    await t("onmessage", async () => {
      const [a, b] = Object.values(new WebSocketPair());
      a.accept();
      b.accept();
      const p = new Promise((r) => b.onmessage = (e) => r(e.data));
      a.send("on");
      return p;
    });
    await t("toString", async () =>
      [
        globalThis,
        navigator,
        caches,
        crypto,
        crypto.subtle,
        performance,
        scheduler,
        Cloudflare,
        new WebSocketPair(),
        new Headers(),
        new TransformStream(),
      ].map((x) => Object.prototype.toString.call(x)).join());
    await t("queueMicrotask", async () => await new Promise((r) => queueMicrotask(() => r("q"))));
    await t("req fields", async () =>
      [
        req.method,
        req.redirect,
        req.cf === undefined,
        req.headers.get("host") !== null,
        req.signal instanceof AbortSignal,
      ].join());
    await t(
      "resp type set",
      async () => new Response("a", { headers: { "Content-Type": "x/y" } }).headers.get("content-type"),
    );
    await t("sendBeacon", async () => typeof navigator.sendBeacon);
    return Response.json(o);
  },
};
