// SHA-256 of 1 MiB: native work that a handler waits for.
const DATA = new Uint8Array(1024 * 1024).map((_, index) => index & 0xff);

export default {
  async fetch() {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", DATA));
    return new Response(Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""));
  },
};
