import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

/** A value that stays here: its holder calls it from elsewhere. */
export class Account extends RpcTarget {
  #balance = 0;

  constructor(readonly owner: string, readonly currency: string) {
    super();
  }

  deposit(amount: number): number {
    if (!(amount > 0)) throw new RangeError("a deposit is more than nothing");
    return (this.#balance += amount);
  }

  get balance(): string {
    return `${this.#balance} ${this.currency}`;
  }
}

/** Methods of an entrypoint are what other workers may call. */
export class Ledger extends WorkerEntrypoint<unknown, { currency: string }> {
  open(owner: string): Account {
    return new Account(owner, this.ctx.props.currency);
  }

  async total(amounts: AsyncIterable<Uint8Array>): Promise<number> {
    let text = "";
    const decoder = new TextDecoder();
    for await (const part of amounts) text += decoder.decode(part, { stream: true });
    return text.trim().split("\n").map(Number).reduce((sum, amount) => sum + amount, 0);
  }
}

export default {
  fetch(request: Request): Response {
    return new Response(`accounts got ${request.method} ${new URL(request.url).pathname}\n`);
  },
};
