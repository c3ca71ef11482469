// A stand-in for OpenAI's API: answers as the API's reference says, from a script. Prints its port.
import { createServer } from "node:http";

const attempts = { flaky: 0 };
const chat = (model, message, finish_reason = "stop") => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model,
  choices: [{ index: 0, message: { role: "assistant", refusal: null, ...message }, finish_reason, logprobs: null }],
  usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 },
});
const chunk = (content) => ({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1,
  model: "test-model",
  choices: [{ index: 0, delta: { content }, finish_reason: null }],
});
const output = [{
  id: "msg_1", type: "message", role: "assistant", status: "completed",
  content: [{ type: "output_text", text: "Hello there!", annotations: [] }],
}];
const fault = (message, code) => ({ error: { message, type: "invalid_request_error", code, param: null } });

const send = (response, status, value, headers = {}) => {
  response.writeHead(status, { "content-type": "application/json", "x-request-id": "req_1", ...headers });
  response.end(JSON.stringify(value));
};

const streamChat = async (response, model) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  if (model === "endless") {
    const timer = setInterval(() => response.write(`data: ${JSON.stringify(chunk("x"))}\n\n`), 2);
    response.on("close", () => clearInterval(timer));
    return;
  }
  // Split where it hurts: inside an event, inside a character.
  const bytes = Buffer.from(["Hel", "lo ", "wörld", "!"].map((part) => `data: ${JSON.stringify(chunk(part))}\n\n`).join("") + "data: [DONE]\n\n");
  for (let start = 0; start < bytes.length; start += 37) {
    response.write(bytes.subarray(start, start + 37));
    await new Promise((done) => setImmediate(done));
  }
  response.end();
};

const streamResponse = (response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const events = [
    { type: "response.created", response: { id: "resp_1", object: "response", status: "in_progress", output: [] } },
    { type: "response.output_text.delta", item_id: "msg_1", output_index: 0, content_index: 0, delta: "Hello " },
    { type: "response.output_text.delta", item_id: "msg_1", output_index: 0, content_index: 0, delta: "there!" },
    { type: "response.completed", response: { id: "resp_1", object: "response", status: "completed", output } },
  ];
  for (const [sequence_number, event] of events.entries()) {
    response.write(`event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number })}\n\n`);
  }
  response.end();
};

const tools = (response, { messages }) => {
  const last = messages.at(-1);
  if (last.role === "tool") {
    return send(response, 200, chat("test-tools", { content: `It is ${last.content}.` }));
  }
  const call = { id: "call_1", type: "function", function: { name: "add", arguments: '{"a":2,"b":3}' } };
  return send(response, 200, chat("test-tools", { content: null, tool_calls: [call] }, "tool_calls"));
};

const upload = (request, response, body) => {
  const text = body.toString("latin1");
  const boundary = /boundary=([^;]+)/.exec(request.headers["content-type"])[1];
  const parts = text.split(`--${boundary}`);
  const file = parts.find((part) => part.includes('name="file"'));
  const purpose = parts.find((part) => part.includes('name="purpose"')).split("\r\n\r\n")[1].trim();
  const content = file.slice(file.indexOf("\r\n\r\n") + 4, -2);
  send(response, 200, {
    id: "file-1", object: "file", created_at: 1, purpose, status: "processed",
    filename: /filename="([^"]+)"/.exec(file)[1], bytes: content.length,
  });
};

const answer = (request, response, body) => {
  if (request.headers.authorization !== "Bearer test-key") {
    return send(response, 401, fault("Incorrect API key provided", "invalid_api_key"));
  }
  const url = new URL(request.url, "http://server");
  const json = request.headers["content-type"] === "application/json" && body.length > 0 ? JSON.parse(body) : {};
  switch (`${request.method} ${url.pathname}`) {
    case "POST /v1/chat/completions":
      if (json.stream) {
        return streamChat(response, json.model);
      }
      return json.tools ? tools(response, json) : send(response, 200, chat(json.model, { content: "Hello there!" }));
    case "POST /v1/responses":
      return json.stream ? streamResponse(response) : send(response, 200, { id: "resp_1", object: "response", status: "completed", output });
    case "POST /v1/embeddings": {
      const embedding = Buffer.from(Float32Array.of(0.25, -0.5, 1).buffer).toString("base64");
      return send(response, 200, { object: "list", model: json.model, data: [{ object: "embedding", index: 0, embedding }], usage: {} });
    }
    case "POST /v1/files":
      return upload(request, response, body);
    case "GET /v1/files": {
      const all = ["f1", "f2", "f3"].map((id) => ({ id, object: "file" }));
      const from = url.searchParams.has("after") ? all.findIndex((file) => file.id === url.searchParams.get("after")) + 1 : 0;
      return send(response, 200, { object: "list", data: all.slice(from, from + 2), has_more: from + 2 < all.length });
    }
    case "GET /v1/files/file-1/content":
      response.writeHead(200, { "content-type": "application/octet-stream" });
      return response.end("one line\n");
    case "GET /v1/models/flaky":
      attempts.flaky += 1;
      if (attempts.flaky < 3) {
        return send(response, attempts.flaky === 1 ? 429 : 503, fault("try again", "busy"), { "retry-after-ms": "5" });
      }
      return send(response, 200, { id: `flaky after ${attempts.flaky}`, object: "model" });
    case "GET /v1/models/slow":
      return;
    default:
      return send(response, 404, fault("no such thing", "model_not_found"));
  }
};

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => answer(request, response, Buffer.concat(parts)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
