// An HTML rewrite over a page of about 50 KiB, as a shop or a newspaper sends it: 64 articles with 128 links,
// 64 images and 64 prices; attributes are read and set, text is replaced, an element is appended.
const WORDS = "Some text that stands for what an editor wrote about this article, with the usual number of words. ";

function article(id) {
  return `
    <article class="card" id="article-${id}">
      <h2><a href="http://example.com/articles/${id}">Article number ${id}</a></h2>
      <img src="/images/${id}.jpg" alt="Picture ${id}">
      <p>${WORDS.repeat(5)}See <a href="/tags/${id % 9}">more of this kind</a>, and <em>read on</em>.</p>
      <span class="price">${id * 3}</span>
    </article>`;
}

const PAGE = `<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>A page</title></head>
  <body>
    <main>${Array.from({ length: 64 }, (_, id) => article(id)).join("")}
    </main>
  </body>
</html>
`;

const link = {
  element(element) {
    const href = element.getAttribute("href");
    if (href.startsWith("http://")) element.setAttribute("href", `https://${href.slice(7)}`);
  },
};

const image = {
  element(element) {
    element.setAttribute("loading", "lazy");
  },
};

const price = {
  text(text) {
    if (text.text.length > 0) text.replace(`${text.text} EUR`);
  },
};

const head = {
  element(element) {
    element.append(`<link rel="stylesheet" href="/style.css">`, { html: true });
  },
};

export default {
  fetch() {
    const page = new Response(PAGE, { headers: { "content-type": "text/html; charset=utf-8" } });
    return new HTMLRewriter()
      .on("head", head)
      .on("a[href]", link)
      .on("img", image)
      .on("span.price", price)
      .transform(page);
  },
};
