import type { Ledger } from "../../accounts/src/index";

interface Env {
  /** The other worker, asked over HTTP that never leaves this machine. */
  ACCOUNTS: { fetch(request: Request): Promise<Response> };
  /** One class of the other worker, called like a local one. */
  LEDGER: {
    open(owner: string): Promise<{ deposit(amount: number): Promise<number>; balance: Promise<string>; [Symbol.dispose](): void }>;
    total(amounts: ReadableStream<Uint8Array>): ReturnType<Ledger["total"]>;
  };
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/call": {
        const account = await env.LEDGER.open("ada");
        await account.deposit(30);
        await account.deposit(12);
        const balance = await account.balance;
        account[Symbol.dispose]();
        return Response.json({ balance });
      }
      case "/error": {
        const account = await env.LEDGER.open("ada");
        return account.deposit(-1).then(
          () => new Response("accepted"),
          (error) => new Response(`${error.name}: ${error.message}\n`, { status: 400 }),
        );
      }
      case "/stream": {
        const amounts = new Blob(["1\n2\n", "3\n4\n"]).stream();
        return Response.json({ total: await env.LEDGER.total(amounts) });
      }
      default:
        return env.ACCOUNTS.fetch(request);
    }
  },
};
