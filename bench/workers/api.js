// A JSON API with routing: a router, path and query parameters, a middleware, a 404.
import { Hono } from "hono";

const PRODUCTS = Array.from({ length: 200 }, (_, id) => ({
  id,
  name: `Product ${id}`,
  price_cents: 100 + ((id * 37) % 5000),
  tags: [`tag-${id % 7}`, `tag-${id % 11}`],
  in_stock: id % 3 !== 0,
}));

const app = new Hono();

app.use("/api/*", async (c, next) => {
  await next();
  c.header("x-api-version", "1");
});

app.get("/", (c) => c.text("bench"));
app.get("/api/v1/health", (c) => c.json({ ok: true }));
app.get("/api/v1/users/:user", (c) => c.json({ user: c.req.param("user") }));
app.get("/api/v1/users/:user/orders", (c) => c.json([]));
app.get("/api/v1/products/:id{[0-9]+}", (c) => {
  const product = PRODUCTS[Number(c.req.param("id"))];
  return product ? c.json(product) : c.notFound();
});
app.get("/api/v1/users/:user/orders/:order", (c) => {
  const limit = Math.min(Number(c.req.query("limit") ?? 10), 50);
  const order = Number(c.req.param("order"));
  const items = PRODUCTS.slice(order, order + limit);
  return c.json({
    user: c.req.param("user"),
    order,
    items,
    total_cents: items.reduce((sum, item) => sum + item.price_cents, 0),
  });
});
app.post("/api/v1/products", async (c) => c.json(await c.req.json(), 201));
app.delete("/api/v1/products/:id", (c) => c.body(null, 204));
app.notFound((c) => c.json({ error: "not found" }, 404));

export default { fetch: app.fetch };
