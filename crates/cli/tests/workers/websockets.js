// WebSockets as a worker serves and dials them.
function echo(server, name) {
  // Binary messages arrive as Blobs, as the standard has it.
  server.accept();
  server.addEventListener("message", (event) => server.send(event.data));
  server.addEventListener(
    "close",
    (event) => console.log(name, event.code, event.reason, event.wasClean, server.readyState),
  );
}

/** Sends two messages, closes after their echoes; gives what it saw. */
function converse(socket) {
  return new Promise((resolve) => {
    const seen = [];
    socket.addEventListener("message", (event) => {
      seen.push(event.data);
      if (seen.length === 2) socket.close(3001, "done");
    });
    socket.addEventListener("close", (event) => resolve([...seen, event.code, event.reason, event.wasClean]));
    socket.send("one");
    socket.send("two");
  });
}

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const { 0: client, 1: server } = new WebSocketPair();
    switch (url.pathname) {
      case "/echo":
        echo(server, "closed");
        return new Response(null, { status: 101, webSocket: client });
      case "/server-closes":
        server.accept();
        server.send("hello");
        server.close(4001, "bye");
        return new Response(null, { status: 101, webSocket: client });
      case "/flood":
        server.accept();
        for (let i = 0; i < 1000; i++) server.send("x".repeat(10000) + i);
        return new Response(null, { status: 101, webSocket: client });
      case "/refuses":
        return new Response("no socket for you", { status: 403 });
      case "/never-accepts":
        return new Response(null, { status: 101, webSocket: client });
      case "/dial": {
        const response = await fetch(url.searchParams.get("to"), { headers: { Upgrade: "websocket" } });
        if (response.webSocket === null) return new Response(`refused ${response.status}`);
        response.webSocket.accept();
        return Response.json(await converse(response.webSocket));
      }
      case "/new": {
        const socket = new WebSocket(url.searchParams.get("to").replace("http", "ws"));
        await new Promise((resolve, reject) => {
          socket.addEventListener("open", resolve);
          socket.addEventListener("error", (event) => reject(event.error));
        });
        return Response.json(await converse(socket));
      }
      case "/pass-on":
        return fetch(new Request(url.searchParams.get("to"), request));
      default:
        return new Response("not an upgrade", { status: 404 });
    }
  },
};
