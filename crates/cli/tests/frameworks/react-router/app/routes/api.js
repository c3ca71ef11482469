import { platform } from "../platform.js";

export function loader({ request, context }) {
  const { env } = context.get(platform);
  return Response.json({ greeting: env.GREETING, query: new URL(request.url).searchParams.get("q") });
}

export async function action({ request }) {
  return Response.json(await request.json(), { status: 201 });
}
