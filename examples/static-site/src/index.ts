interface Env {
  ASSETS: { fetch(request: Request | string): Promise<Response> };
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/api/time") {
      return Response.json({ now: new Date().toISOString() });
    }
    if (pathname === "/api/style-size") {
      const style = await env.ASSETS.fetch(new Request(new URL("/style.css", request.url)));
      return Response.json({ bytes: (await style.arrayBuffer()).byteLength });
    }
    return Response.json({ error: "no such thing" }, { status: 404 });
  },
};
