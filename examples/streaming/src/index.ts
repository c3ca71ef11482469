// Bodies that are made, changed and passed on piece by piece.
const encoder = new TextEncoder();

/** Server-sent events: one a moment, until the client has had enough. */
function clock(request: Request): Response {
  const count = Number(new URL(request.url).searchParams.get("count") ?? 5);
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const write = async () => {
    const writer = writable.getWriter();
    for (let id = 1; id <= count && !request.signal.aborted; id++) {
      await writer.write(encoder.encode(`id: ${id}\ndata: ${new Date().toISOString()}\n\n`));
      await scheduler.wait(100);
    }
    await writer.close();
  };
  // A client that goes away ends the writing with an error, which nobody needs to hear of.
  write().catch(() => {});
  return new Response(readable, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
}

/** What the client sends, in capitals, while it is still sending. */
function shout(request: Request): Response {
  const upper = new TransformStream<string, string>({
    transform: (text, controller) => controller.enqueue(text.toUpperCase()),
  });
  const body = request.body
    ?.pipeThrough(new TextDecoderStream())
    .pipeThrough(upper)
    .pipeThrough(new TextEncoderStream());
  return new Response(body ?? null, { headers: { "content-type": "text/plain; charset=utf-8" } });
}

/** As many bytes as asked for, of which only a few are in memory at any time. */
function zeros(request: Request): Response {
  const length = Number(new URL(request.url).searchParams.get("bytes") ?? 1024 * 1024);
  const { readable, writable } = new FixedLengthStream(length);
  const write = async () => {
    const writer = writable.getWriter();
    const piece = new Uint8Array(64 * 1024);
    for (let left = length; left > 0; left -= piece.byteLength) {
      await writer.write(piece.subarray(0, Math.min(left, piece.byteLength)));
    }
    await writer.close();
  };
  write().catch(() => {});
  return new Response(readable, { headers: { "content-type": "application/octet-stream" } });
}

const routes: Record<string, (request: Request) => Response> = { "/clock": clock, "/shout": shout, "/zeros": zeros };

export default {
  fetch(request: Request): Response {
    const route = routes[new URL(request.url).pathname];
    return route ? route(request) : new Response("Try /clock, /zeros?bytes=1000000, or POST to /shout\n", { status: 404 });
  },
};
