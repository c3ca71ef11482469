import { Hono } from "hono";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { logger } from "hono/logger";

interface Note {
  id: string;
  text: string;
}

// In memory, so that it lasts as long as this instance of the worker does.
const notes = new Map<string, Note>();

const find = (id: string): Note => {
  const note = notes.get(id);
  if (!note) throw new HTTPException(404, { message: `no note ${id}` });
  return note;
};

const app = new Hono();

app.use(logger());
app.use("/notes/*", cors());

app.get("/", (c) => c.text("Notes: GET /notes, POST /notes, GET, PUT and DELETE /notes/:id\n"));

app.get("/notes", (c) => c.json([...notes.values()]));

app.post("/notes", async (c) => {
  const { text } = await c.req.json<{ text?: string }>();
  if (!text) throw new HTTPException(400, { message: "a note needs a text" });
  const note = { id: crypto.randomUUID(), text };
  notes.set(note.id, note);
  return c.json(note, 201, { location: `/notes/${note.id}` });
});

app.get("/notes/:id", (c) => c.json(find(c.req.param("id"))));

app.put("/notes/:id", async (c) => {
  const note = { ...find(c.req.param("id")), ...(await c.req.json<{ text: string }>()) };
  notes.set(note.id, note);
  return c.json(note);
});

app.delete("/notes/:id", (c) => {
  notes.delete(find(c.req.param("id")).id);
  return c.body(null, 204);
});

app.onError((error, c) => {
  if (error instanceof HTTPException) return c.json({ error: error.message }, error.status);
  console.error(error);
  return c.json({ error: "something went wrong here" }, 500);
});

export default app;
