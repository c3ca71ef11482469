import { Fragment, h } from "./jsx";

const Greeting = ({ name }: { name: string }) => (
  <>
    <h1>Hello, {name}!</h1>
    {name === "stranger" && <p>Tell me your name below.</p>}
  </>
);

const Page = ({ name }: { name: string }) => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <title>JSX without a framework</title>
    </head>
    <body>
      <Greeting name={name} />
      <form>
        <input name="name" placeholder="Your name" required />
        <button>Greet</button>
      </form>
    </body>
  </html>
);

export default {
  fetch(request: Request): Response {
    const name = new URL(request.url).searchParams.get("name") ?? "stranger";
    const page = <Page name={name} />;
    return new Response(`<!doctype html>${page.html}`, { headers: { "content-type": "text/html; charset=utf-8" } });
  },
};
