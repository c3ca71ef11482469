const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>WebSocket echo</title>
<form><input autofocus placeholder="Say something"><button>Send</button></form>
<pre></pre>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws"));
  const log = (line) => (document.querySelector("pre").textContent += line + "\\n");
  socket.onmessage = (event) => log(event.data);
  socket.onclose = (event) => log("closed: " + event.code + " " + event.reason);
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    const input = document.querySelector("input");
    socket.send(input.value);
    input.value = "";
  };
</script>
`;

export default {
  fetch(request: Request): Response {
    if (request.headers.get("upgrade") !== "websocket") {
      return new Response(PAGE, { headers: { "content-type": "text/html; charset=utf-8" } });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    let count = 0;
    // Binary messages as they are to be sent back.
    server.binaryType = "arraybuffer";
    server.accept();
    server.send("hello");
    server.addEventListener("message", (event) => {
      if (event.data === "bye") {
        server.close(1000, "goodbye");
        return;
      }
      count += 1;
      server.send(typeof event.data === "string" ? `${count}: ${event.data}` : event.data);
    });
    server.addEventListener("close", (event) => console.log(`closed with ${event.code} after ${count} messages`));
    return new Response(null, { status: 101, webSocket: client });
  },
};
