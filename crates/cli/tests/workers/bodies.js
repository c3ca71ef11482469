// Bodies as a worker sends and receives them.
const bytes = (text) => new TextEncoder().encode(text);

function fixed(length, parts) {
  const { readable, writable } = new FixedLengthStream(length);
  const writer = writable.getWriter();
  const written = (async () => {
    for (const part of parts) await writer.write(bytes(part));
    await writer.close();
  })();
  return { readable, written: written.catch((error) => console.log("writer:", error.message)) };
}

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const to = url.searchParams.get("to");
    switch (url.pathname) {
      case "/fixed": {
        const { readable, written } = fixed(11, ["hello ", "world"]);
        ctx.waitUntil(written);
        return new Response(readable);
      }
      case "/fixed-short": {
        const { readable, written } = fixed(11, ["hello"]);
        ctx.waitUntil(written);
        return new Response(readable);
      }
      case "/echo":
        return new Response(request.body, { headers: { "x-length": request.headers.get("content-length") ?? "none" } });
      case "/count": {
        let count = 0;
        for await (const chunk of request.body) count += chunk.byteLength;
        return Response.json([count, request.headers.get("content-length")]);
      }
      case "/upload":
        return fetch(to, { method: "POST", body: request.body });
      case "/pass-on":
        return fetch(new Request(to, request));
      case "/text-of": {
        const response = await fetch(to);
        return Response.json([response.headers.get("content-encoding"), await response.text()]);
      }
      case "/again": {
        const response = await fetch(to);
        return new Response(response.body, response);
      }
      case "/gzip":
        return new Response("in gzip", { headers: { "content-encoding": "gzip" } });
      case "/gzip-stream":
        return new Response(ReadableStream.from([bytes("in "), bytes("gzip")]), {
          headers: { "Content-Encoding": "gzip" },
        });
      case "/br":
        return new Response("in brotli", { headers: { "content-encoding": "br" } });
      case "/manual": {
        const coded = new Response("by hand").body.pipeThrough(new CompressionStream("gzip"));
        return new Response(coded, { encodeBody: "manual", headers: { "content-encoding": "gzip" } });
      }
      case "/fails":
        return new Response(
          new ReadableStream({
            async pull(controller) {
              controller.enqueue(bytes("some of it"));
              await scheduler.wait(5);
              controller.error(new Error("half way"));
            },
          }),
        );
      case "/large-text":
        return new Response("l".repeat(3_000_000), { headers: { "content-length": "1" } });
      case "/large-bytes":
        return new Response(new Uint8Array(3_000_000));
      case "/claims-length":
        return new Response(ReadableStream.from([bytes("short")]), { headers: { "content-length": "99" } });
      case "/endless": {
        let chunks = 0;
        request.signal.addEventListener("abort", () => console.log("signal aborted"));
        return new Response(
          new ReadableStream({
            pull(controller) {
              chunks++;
              controller.enqueue(new Uint8Array(65536));
            },
            cancel() {
              console.log("cancelled after", chunks);
            },
          }, { highWaterMark: 0 }),
        );
      }
      case "/silent":
        return new Response(
          new ReadableStream({
            start(controller) {
              controller.enqueue(bytes("first"));
              // Something may still happen: without it the stream would be given up.
              this.timer = setInterval(() => {}, 60_000);
            },
            cancel() {
              clearInterval(this.timer);
              console.log("silent source cancelled");
            },
          }),
        );
      case "/waits":
        request.signal.addEventListener("abort", () => console.log("waiting handler aborted"));
        await scheduler.wait(60_000);
        return new Response("late");
      case "/form": {
        const form = await request.formData();
        const entries = [...form].map(([name, value]) =>
          typeof value === "string" ? [name, value] : [name, value.name, value.type, value.size]
        );
        return Response.json(entries);
      }
      case "/rejects":
        Promise.reject(new Error("nobody waits for this"));
        await scheduler.wait(1);
        return new Response("unharmed");
      case "/timer-throws":
        setTimeout(() => {
          throw new TypeError("thrown by a timer");
        }, 1);
        await scheduler.wait(10);
        return new Response("unharmed");
      default:
        return new Response("no such test", { status: 404 });
    }
  },
};
