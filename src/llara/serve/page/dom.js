/** Elements without HTML: children that are strings become text nodes, so that data is never markup. */

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, v] of Object.entries(value)) node.style.setProperty(`--${key}`, v);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/**
 * An element. `on…` attributes are listeners; `vars` are CSS variables, set through the CSSOM as the
 * Content-Security-Policy allows (a style attribute in markup it would not).
 */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export const $ = (id) => document.getElementById(id);

/** A sentence of ours with `code` between backticks, as nodes. */
export function prose(sentence) {
  return sentence.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

/** Text in pieces (see text.js); a piece with a weight becomes a <mark> of that strength, 0..1. */
export function marked(pieces) {
  return pieces.map(({ text, weight }) =>
    weight > 0 ? el("mark", { vars: { w: Math.min(1, weight).toFixed(3) } }, text) : text,
  );
}
