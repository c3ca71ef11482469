// A streamed body: 1 MiB in 16 chunks of 64 KiB, each made when the reader asks for it.
const CHUNK_BYTES = 64 * 1024;
const CHUNKS = 16;

export default {
  fetch() {
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(CHUNK_BYTES).fill(97 + sent));
        sent += 1;
        if (sent === CHUNKS) controller.close();
      },
    });
    return new Response(body, { headers: { "content-type": "application/octet-stream" } });
  },
};
