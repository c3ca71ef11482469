//! `HTMLRewriter`, as workers use it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::Dev;

/// A worker that rewrites `html` with `rewriter`, an expression that may use `out` to tell what it saw.
fn rewrite(cases: &[(&str, &str, &str)]) -> serde_json::Value {
    let cases: Vec<String> = cases
        .iter()
        .map(|(name, html, rewriter)| {
            format!(
                "{name}: async (out) => {{ const html = {html}; const source = html instanceof Response ? html : \
                 new Response(html); return await ({rewriter}).transform(source).text(); }}"
            )
        })
        .collect();
    let source = format!(
        r#"const cases = {{ {} }};
        export default {{
          async fetch() {{
            const all = {{}};
            for (const name in cases) {{
              const out = {{}};
              let html;
              try {{ html = await cases[name](out); }} catch (error) {{ html = `${{error.name}}: ${{error.message}}`; }}
              all[name] = {{ html, ...out }};
            }}
            return Response.json(all);
          }},
        }};"#,
        cases.join(",\n")
    );
    let (dev, _folder) = Dev::script(&source);
    dev.get("/").json()
}

#[test]
fn elements_are_read_and_changed() {
    let all = rewrite(&[
        (
            "element",
            r#""<div a=1 B='2'>x<p>y</p></div>""#,
            r#"new HTMLRewriter().on("div", { element(e) {
                out.seen = [e.tagName, [...e.attributes], e.getAttribute("a"), e.getAttribute("z"), e.hasAttribute("b"), e.namespaceURI, e.removed];
                e.setAttribute("c", "3").removeAttribute("a").before("<b>").after("<b>", { html: true }).prepend("PRE").append("APP");
                e.onEndTag((tag) => { out.end = tag.name; tag.before("EB"); tag.after("EA"); });
                e.tagName = "section"; } })"#,
        ),
        (
            "removal",
            r#""<a>1</a><b>2</b><i>3<u>4</u></i><s>5</s>""#,
            r#"new HTMLRewriter().on("a", { element(e) { e.remove(); out.removed = e.removed; } })
                .on("b", { element(e) { e.removeAndKeepContent(); } })
                .on("i", { element(e) { e.setInnerContent("<x>"); } })
                .on("s", { element(e) { e.replace("<r>", { html: true }); } })"#,
        ),
        (
            "selectors",
            r#""<div><p class='x y'>1</p><p>2</p></div>""#,
            r#"new HTMLRewriter().on("div > p.x", { element(e) { e.setAttribute("ok", ""); } })
                .on("p:nth-child(2)", { element(e) { e.setAttribute("nth", ""); } })
                .on("p:not(.x)", { element(e) { e.setAttribute("not", ""); } })"#,
        ),
    ]);
    assert_eq!(all["element"]["html"], "&lt;b&gt;<section B='2' c=\"3\">PREx<p>y</p>APPEB</section>EA<b>");
    assert_eq!(
        all["element"]["seen"],
        serde_json::json!(["div", [["a", "1"], ["b", "2"]], "1", null, true, "http://www.w3.org/1999/xhtml", false])
    );
    assert_eq!(all["element"]["end"], "section");
    assert_eq!(all["removal"]["html"], "2<i>&lt;x&gt;</i><r>");
    assert_eq!(all["removal"]["removed"], true);
    assert_eq!(all["selectors"]["html"], "<div><p class='x y' ok=\"\">1</p><p nth=\"\" not=\"\">2</p></div>");
}

#[test]
fn text_comments_and_the_document_are_read_and_changed() {
    let all = rewrite(&[
        (
            "text",
            r#""<p>hi &amp; there</p>""#,
            r#"new HTMLRewriter().on("p", { text(t) { (out.seen ??= []).push([t.text, t.lastInTextNode]); if (t.text) t.replace("<R>"); } })"#,
        ),
        (
            "comments",
            r#""<p><!-- x --></p>""#,
            r#"new HTMLRewriter().on("p", { comments(c) { out.seen = c.text; c.text = "new"; c.before("B"); c.after("A"); } })"#,
        ),
        (
            "document",
            r#""<!DOCTYPE html PUBLIC \"a\" \"b\"><p>a</p><!--c-->""#,
            r#"new HTMLRewriter().onDocument({
                doctype(d) { out.seen = [d.name, d.publicId, d.systemId]; },
                text(t) { if (t.text) t.replace(t.text.toUpperCase()); },
                comments(c) { c.remove(); },
                end(e) { e.append("<END>"); e.append("<END>", { html: true }); } })"#,
        ),
    ]);
    assert_eq!(all["text"]["html"], "<p>&lt;R&gt;</p>");
    assert_eq!(all["text"]["seen"], serde_json::json!([["hi &amp; there", false], ["", true]]));
    assert_eq!(all["comments"]["html"], "<p>B<!--new-->A</p>");
    assert_eq!(all["document"]["html"], "<!DOCTYPE html PUBLIC \"a\" \"b\"><p>A</p>&lt;END&gt;<END>");
    assert_eq!(all["document"]["seen"], serde_json::json!(["html", "a", "b"]));
}

#[test]
fn handlers_may_wait_and_content_may_stream() {
    let all = rewrite(&[
        (
            "waiting",
            r#""<a>1</a><a>2</a>""#,
            r#"new HTMLRewriter().on("a", { async element(e) { await new Promise((done) => setTimeout(done, 5)); e.append("+"); } })"#,
        ),
        (
            "streams",
            r#""<a>1</a>""#,
            r#"new HTMLRewriter().on("a", { element(e) {
                e.append(new Response("<s>").body); e.prepend(new Response("<s>"), { html: true }); } })"#,
        ),
        (
            "pieces",
            r#"(() => { const { readable, writable } = new TransformStream(); const w = writable.getWriter();
                (async () => { for (const piece of ["<a hr", "ef=x>t", "ext</", "a>"]) await w.write(new TextEncoder().encode(piece)); await w.close(); })();
                return new Response(readable); })()"#,
            r#"new HTMLRewriter().on("a", { element(e) { e.setAttribute("y", "1"); } })"#,
        ),
        (
            "charset",
            r#"new Response(new Uint8Array([60, 97, 32, 120, 61, 0xe9, 62, 60, 47, 97, 62]), { headers: { "content-type": "text/html; charset=iso-8859-1" } })"#,
            r#"new HTMLRewriter().on("a", { element(e) { out.seen = e.getAttribute("x"); e.removeAttribute("x"); } })"#,
        ),
    ]);
    assert_eq!(all["waiting"]["html"], "<a>1+</a><a>2+</a>");
    assert_eq!(all["streams"]["html"], "<a><s>1&lt;s&gt;</a>");
    assert_eq!(all["pieces"]["html"], "<a href=x y=\"1\">text</a>");
    assert_eq!(all["charset"]["html"], "<a></a>");
    assert_eq!(all["charset"]["seen"], "\u{e9}");
}

#[test]
fn what_is_wrong_is_said() {
    let all = rewrite(&[
        ("selector", r#""""#, r#"new HTMLRewriter().on("a[", {})"#),
        ("handlers", r#""""#, r#"new HTMLRewriter().on("a")"#),
        ("attribute", r#""<a>""#, r#"new HTMLRewriter().on("a", { element(e) { e.setAttribute("a b", ""); } })"#),
        ("thrown", r#""<a>""#, r#"new HTMLRewriter().on("a", { element() { throw new RangeError("mine"); } })"#),
        (
            "rejected",
            r#""<a>""#,
            r#"new HTMLRewriter().on("a", { async element() { await 1; throw new RangeError("mine"); } })"#,
        ),
        (
            "stale",
            r#""<a></a><b></b>""#,
            r#"(() => { let kept; return new HTMLRewriter().on("a", { element(e) { kept = e; } }).on("b", { element() { kept.tagName; } }); })()"#,
        ),
        (
            "iteration",
            r#""<a b=1 c=2>""#,
            r#"new HTMLRewriter().on("a", { element(e) { for (const [name] of e.attributes) e.removeAttribute(name); } })"#,
        ),
        ("memory", r#"`<a ${"x".repeat(4 << 20)}`"#, r#"new HTMLRewriter().on("a", { element() {} })"#),
    ]);
    let expected = [
        ("selector", "TypeError: Parser error: Unexpected end of selector."),
        (
            "handlers",
            "TypeError: Failed to execute 'on' on 'HTMLRewriter': parameter 2 is not of type 'ElementContentHandlers'.",
        ),
        ("attribute", "TypeError: Parser error: ` ` character is forbidden in the attribute name"),
        ("thrown", "RangeError: mine"),
        ("rejected", "RangeError: mine"),
        (
            "stale",
            "TypeError: This content token is no longer valid. Content tokens are only valid during the execution of the relevant content handler.",
        ),
        (
            "iteration",
            "Error: The attributes of this element have been modified during iteration. You must create a new iterator after modifying attributes.",
        ),
        ("memory", "TypeError: Parser error: The memory limit has been exceeded."),
    ];
    for (name, html) in expected {
        assert_eq!(all[name]["html"], html, "{name}");
    }
}

#[test]
fn a_rewritten_response_keeps_its_head_but_its_length() {
    let (dev, _folder) = Dev::script(
        r#"export default { fetch() {
            const page = new Response("<a>x</a>", { status: 203, headers: { "content-type": "text/html", "content-length": "8", "x-a": "b" } });
            return new HTMLRewriter().on("a", { element(e) { e.append("more"); } }).transform(page);
        } };"#,
    );
    let answer = dev.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (203, "<a>xmore</a>"));
    assert_eq!(answer.header("x-a"), Some("b"));
    assert_eq!(answer.header("content-length"), Some("12"));
}
