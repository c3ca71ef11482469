/** JSX to a string of HTML, in a screenful: text is escaped, markup is not. */

export class Markup {
  constructor(readonly html: string) {}
}

type Child = Markup | string | number | boolean | null | undefined | Child[];
type Props = Record<string, unknown>;
type Component = (props: Props & { children: Child[] }) => Markup;

const VOID = new Set(["br", "hr", "img", "input", "link", "meta"]);

const escape = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

function render(child: Child): string {
  if (Array.isArray(child)) return child.map(render).join("");
  if (child instanceof Markup) return child.html;
  if (child === null || child === undefined || typeof child === "boolean") return "";
  return escape(String(child));
}

export function h(tag: string | Component, props: Props | null, ...children: Child[]): Markup {
  if (typeof tag === "function") return tag({ ...props, children });
  const attributes = Object.entries(props ?? {})
    .filter(([, value]) => value !== false && value !== null && value !== undefined)
    .map(([name, value]) => (value === true ? ` ${name}` : ` ${name}="${escape(String(value))}"`))
    .join("");
  return new Markup(VOID.has(tag) ? `<${tag}${attributes}>` : `<${tag}${attributes}>${render(children)}</${tag}>`);
}

export const Fragment: Component = ({ children }) => new Markup(render(children));

declare global {
  namespace JSX {
    type Element = Markup;
    interface IntrinsicElements {
      [tag: string]: Record<string, unknown>;
    }
  }
}
