// Hello world: what a server costs when the handler costs nothing.
export default {
  fetch() {
    return new Response("Hello, world!\n");
  },
};
