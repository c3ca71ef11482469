export function load({ params, platform, request }) {
  return { greeting: platform.env.GREETING, name: params.name, agent: request.headers.get("user-agent") };
}

export const actions = {
  default: async ({ request }) => {
    const form = await request.formData();
    return { said: String(form.get("word")).toUpperCase() };
  },
};
