import { Form } from "react-router";
import { platform } from "../platform.js";

export function loader({ params, context, request }) {
  const { env } = context.get(platform);
  return { text: `${env.GREETING}, ${params.name}, from ${request.headers.get("user-agent")}` };
}

export async function action({ request }) {
  const form = await request.formData();
  return { said: String(form.get("word")).toUpperCase() };
}

export default function Hello({ loaderData, actionData }) {
  return (
    <Form method="post">
      <p>{loaderData.text}</p>
      {actionData ? <p>{`said ${actionData.said}`}</p> : null}
      <input name="word" />
    </Form>
  );
}
