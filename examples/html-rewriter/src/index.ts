// Changes a page as it streams by: nothing waits for its end. Here the page is made on the spot; usually it is the
// answer of `fetch(request)`.
const PAGE = `<!doctype html>
<html>
  <head><title>Plain page</title></head>
  <body>
    <h1>News</h1>
    <p>Read <a href="http://example.com/a">this</a> and <a href="/b">that</a>.</p>
    <img src="photo.jpg">
    <script src="https://tracker.example/t.js"></script>
    <!-- a note to ourselves -->
  </body>
</html>
`;

class Links {
  count = 0;

  element(link: Element) {
    this.count += 1;
    const target = link.getAttribute("href") ?? "";
    link.setAttribute("href", target.replace(/^http:/, "https:"));
    if (/^https?:/.test(target)) {
      link.setAttribute("rel", "noopener").setAttribute("target", "_blank");
    }
  }
}

export default {
  fetch(): Response {
    const origin = new Response(PAGE, { headers: { "content-type": "text/html; charset=utf-8" } });
    const links = new Links();
    return new HTMLRewriter()
      .on("title", { text: (text) => void (text.lastInTextNode && text.after(", rewritten")) })
      .on("h1", { element: (heading) => void heading.append(" <small>of today</small>", { html: true }) })
      .on("a[href]", links)
      .on("img:not([loading])", { element: (image) => void image.setAttribute("loading", "lazy") })
      .on("script[src*='tracker.']", { element: (script) => void script.remove() })
      .on("*", { comments: (comment) => void comment.remove() })
      .onDocument({ end: (end) => void end.append(`<!-- ${links.count} links -->\n`, { html: true }) })
      .transform(origin);
  },
};
