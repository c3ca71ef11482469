// One web worker of peer-web-workers.js: runs the deployed module `<name>.js`, which lies beside this file.
const name = new URL(import.meta.url).search.slice(1);
const module = import(new URL(`./${name}.js`, import.meta.url).href);

self.onmessage = async (event) => {
  const { default: handler } = await module;
  const response = await handler.fetch(new Request(event.data));
  self.postMessage(await response.text());
};
