// Elements, and announcements for screen readers. Text is inserted as text, never parsed as HTML.

// Create an element: el("label", {for: id, class: "wide"}, "Prompt"). A function becomes a
// listener ("click"), true an attribute without a value; null and false are left out.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

// Create an element of SVG.
export function shape(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export const button = (text, click, attributes = {}) =>
  el("button", { type: "button", click, ...attributes }, text);

let count = 0;
export const freshId = (name) => `${name}-${(count += 1)}`;

// A control under its label, with an optional line of help.
export function labelled(text, control, help = null) {
  control.id ||= freshId("field");
  const parts = [el("label", { for: control.id }, text), control];
  if (help) {
    const line = el("small", { id: freshId("help") }, help);
    control.setAttribute("aria-describedby", line.id);
    parts.push(line);
  }
  return el("div", { class: "field" }, ...parts);
}

export function checkbox(text, checked = false) {
  const box = el("input", { type: "checkbox", id: freshId("field"), checked });
  box.whole = el("div", { class: "check" }, box, el("label", { for: box.id }, text));
  return box;
}

export const select = (choices) =>
  el("select", {}, ...choices.map(([value, text]) => el("option", { value }, text)));

// Announce a text to screen readers.
export function announce(text) {
  document.getElementById("announcement").textContent = text;
}

export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export const seconds = (ms) => `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;

export function clock(s) {
  const minutes = Math.floor(s / 60);
  return `${minutes}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
}

export function bytes(number) {
  if (number < 1000) return `${number} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let size = number / 1000;
  while (size >= 1000 && units.length > 1) {
    size /= 1000;
    units.shift();
  }
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[0]}`;
}

// Quote a text for the shell.
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
