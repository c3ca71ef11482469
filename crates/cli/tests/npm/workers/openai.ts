// The OpenAI client: plain calls, streams, tools, uploads and errors, against a server of the test's.
import OpenAI from "openai";

interface Env {
  OPENAI_URL: string;
}

const routes: Record<string, (client: OpenAI) => Promise<unknown>> = {
  async "/chat"(client) {
    const completion = await client.chat.completions.create({
      model: "test-model",
      messages: [{ role: "user", content: "Say hello" }],
    });
    return { text: completion.choices[0].message.content, tokens: completion.usage?.total_tokens, id: completion._request_id };
  },
  async "/chat/stream"(client) {
    const stream = await client.chat.completions.create({
      model: "test-model",
      messages: [{ role: "user", content: "Say hello" }],
      stream: true,
    });
    const parts: string[] = [];
    for await (const chunk of stream) {
      parts.push(chunk.choices[0]?.delta?.content ?? "");
    }
    return parts;
  },
  async "/chat/stopped"(client) {
    const stream = await client.chat.completions.create({
      model: "endless",
      messages: [{ role: "user", content: "Count" }],
      stream: true,
    });
    let seen = 0;
    for await (const _ of stream) {
      if (++seen === 5) {
        break;
      }
    }
    return { seen, aborted: stream.controller.signal.aborted };
  },
  async "/tools"(client) {
    const runner = client.chat.completions.runTools({
      model: "test-tools",
      messages: [{ role: "user", content: "What is 2 + 3?" }],
      tools: [{
        type: "function",
        function: {
          name: "add",
          description: "Adds",
          parameters: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } },
          parse: JSON.parse,
          function: ({ a, b }: { a: number; b: number }) => String(a + b),
        },
      }],
    });
    return { text: await runner.finalContent() };
  },
  async "/responses"(client) {
    const response = await client.responses.create({ model: "test-model", input: "Say hello" });
    return { text: response.output_text };
  },
  async "/responses/stream"(client) {
    const types: string[] = [];
    let text = "";
    for await (const event of await client.responses.create({ model: "test-model", input: "Say hello", stream: true })) {
      types.push(event.type);
      if (event.type === "response.output_text.delta") {
        text += event.delta;
      }
    }
    return { types, text };
  },
  async "/embeddings"(client) {
    const { data } = await client.embeddings.create({ model: "test-embedding", input: "x" });
    return Array.from(data[0].embedding);
  },
  async "/upload"(client) {
    const file = await OpenAI.toFile(new TextEncoder().encode("one line\n"), "lines.jsonl", { type: "application/jsonl" });
    const made = await client.files.create({ file, purpose: "batch" });
    return { name: made.filename, bytes: made.bytes };
  },
  async "/download"(client) {
    const content = await client.files.content("file-1");
    return { type: content.headers.get("content-type"), text: await content.text() };
  },
  async "/pages"(client) {
    const ids: string[] = [];
    for await (const file of client.files.list({ limit: 2 })) {
      ids.push(file.id);
    }
    return ids;
  },
  async "/retried"(client) {
    const model = await client.models.retrieve("flaky");
    return { id: model.id };
  },
  async "/errors"(client) {
    const of = (promise: PromiseLike<unknown>) =>
      Promise.resolve(promise).then(() => "no error", (error) => [error.constructor.name, error.status ?? null, error.code ?? null]);
    return {
      missing: await of(client.models.retrieve("missing")),
      unauthorized: await of(client.withOptions({ apiKey: "wrong" }).models.retrieve("test-model")),
      slow: await of(client.models.retrieve("slow", { timeout: 50, maxRetries: 0 })),
      stopped: await of(client.models.retrieve("slow", { signal: AbortSignal.timeout(20), maxRetries: 0 })),
    };
  },
};

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const client = new OpenAI({ apiKey: "test-key", baseURL: env.OPENAI_URL });
    return Response.json(await routes[new URL(request.url).pathname](client));
  },
};
