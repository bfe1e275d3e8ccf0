// Elements and texts. Nothing here or elsewhere parses HTML: whatever comes from data becomes a text node.
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "text") node.append(visible(value));
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...(children || []).filter((child) => child !== null));
  return node;
}
const el = (name, attributes, children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, children) => fill(document.createElementNS(SVG, name), attributes, children);
const byId = (id) => document.getElementById(id);
const color = (number) => `var(--s${number % 12})`;
const count = (number) => number.toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 2 : 1)}%`;

function short(number) {
  const size = Math.abs(number);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (size >= 10 * unit) return `${+(number / unit).toPrecision(3)}${letter}`;
  return size >= 100 || Number.isInteger(number) ? String(Math.round(number)) : String(+number.toPrecision(size >= 1 ? 3 : 2));
}

// Controls that would reorder or hide text are shown by their number, as are halves of a pair of surrogates.
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function visible(value) {
  const text = String(value);
  const parts = document.createDocumentFragment();
  let from = 0;
  for (const found of text.matchAll(HIDDEN)) {
    parts.append(text.slice(from, found.index));
    const mark = document.createElement("span");
    mark.className = "char";
    mark.textContent = `U+${found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    parts.append(mark);
    from = found.index + 1;
  }
  parts.append(text.slice(from));
  return parts;
}

const said = (text, brief) => el("div", { class: brief ? "said short" : "said", dir: "auto", text: brief ? text.slice(0, 400) : text });
const swatch = (number) => {
  const mark = el("span", { class: "swatch" });
  mark.style.background = color(number);
  return mark;
};

function choice(label, options, change) {
  const select = el("select", { onchange: () => change(select.value) }, options.map(([value, words]) => el("option", { value, text: words })));
  return { node: el("label", { text: label }, [select]), select };
}

// What is large is packed, and unpacked when it is first looked at.
let unpacking = null;
function heavy() {
  unpacking = unpacking || (async () => {
    const bytes = Uint8Array.from(atob(byId("heavy").textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  })();
  return unpacking;
}

// Fill a section when it comes near the window, or at once for print. What is in the window stays where it is while sections
// above it grow (the style switches the browser's own way off, which does not hold after a jump to an anchor).
function whenNear(node, build) {
  if (!node) return;
  let done = false;
  const once = async () => {
    if (done) return;
    done = true;
    const before = node.getBoundingClientRect();
    await build();
    if (before.bottom <= 0) window.scrollBy({ top: node.getBoundingClientRect().height - before.height, behavior: "instant" });
  };
  new IntersectionObserver((seen, watch) => {
    if (seen.some((entry) => entry.isIntersecting)) { watch.disconnect(); once(); }
  }, { rootMargin: "600px" }).observe(node);
  window.addEventListener("beforeprint", once);
}
