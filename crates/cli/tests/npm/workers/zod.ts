// zod: every route parses something and answers with what came of it.
import * as z from "zod";
import * as mini from "zod/mini";

const Address = z.object({ street: z.string(), zip: z.string().regex(/^\d{5}$/) });
const User = z.strictObject({
  id: z.uuid(),
  email: z.email(),
  age: z.coerce.number().int().min(18).optional(),
  role: z.enum(["admin", "user"]).default("user"),
  tags: z.array(z.string().trim().toLowerCase()).max(3),
  address: Address.partial({ zip: true }).nullable(),
  born: z.iso.date().transform((text) => new Date(text)),
});

const Shape = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("circle"), radius: z.number().positive() }),
  z.object({ kind: z.literal("square"), side: z.number().positive() }),
]);

interface Tree {
  name: string;
  children: Tree[];
}
const Tree: z.ZodType<Tree> = z.object({
  name: z.string(),
  get children() {
    return z.array(Tree);
  },
});

const Login = z
  .object({ password: z.string(), again: z.string() })
  .refine((form) => form.password === form.again, { path: ["again"], message: "not the same" })
  .refine(async (form) => {
    await new Promise((done) => setTimeout(done, 1));
    return form.password !== "123456";
  }, "known to everyone");

const routes: Record<string, (body: unknown) => unknown> = {
  "/user": (body) => User.parse(body),
  "/shape": (body) => Shape.parse(body),
  "/tree": (body) => Tree.parse(body),
  "/login": (body) => Login.parseAsync(body),
  "/codec": (body) => {
    const date = z.codec(z.iso.datetime(), z.date(), { decode: (text) => new Date(text), encode: (value) => value.toISOString() });
    const decoded = z.decode(date, body as string);
    return { year: decoded.getUTCFullYear(), back: z.encode(date, decoded) };
  },
  "/schema": () => z.toJSONSchema(z.object({ name: z.string().min(1), age: z.int().optional() })),
  "/mini": (body) => mini.parse(mini.object({ n: mini.number().check(mini.gte(3)) }), body),
  "/bytes": async () => {
    const file = z.file().min(2).mime("text/plain");
    return { name: file.parse(new File(["abc"], "a.txt", { type: "text/plain" })).name };
  },
};

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const body = request.method === "POST" ? await request.json() : undefined;
    try {
      return Response.json({ value: await routes[pathname](body) });
    } catch (error) {
      if (error instanceof z.core.$ZodError) {
        return Response.json({ issues: error.issues, tree: z.treeifyError(error), text: z.prettifyError(error) }, { status: 422 });
      }
      throw error;
    }
  },
};
