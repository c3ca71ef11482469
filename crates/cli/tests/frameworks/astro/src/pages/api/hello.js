import { env } from "cloudflare:workers";

export function GET({ url }) {
  return Response.json({ greeting: env.GREETING, query: url.searchParams.get("q") });
}

export async function POST({ request }) {
  return Response.json(await request.json(), { status: 201 });
}
