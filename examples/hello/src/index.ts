interface Env {
  GREETING: string;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    console.log(`${request.method} ${pathname}`);
    return new Response(`${env.GREETING} from Selvedge, at ${pathname}\n`);
  },
};
