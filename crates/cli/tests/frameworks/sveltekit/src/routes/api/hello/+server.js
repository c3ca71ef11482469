import { json } from "@sveltejs/kit";

export function GET({ url, platform }) {
  return json({ greeting: platform.env.GREETING, query: url.searchParams.get("q") });
}

export async function POST({ request }) {
  return json(await request.json(), { status: 201 });
}
