// @ts-check
/** Makes elements of the page. Text becomes text nodes and attributes, never markup, because names are strangers' text. */

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | undefined>} [attributes] "class" and others; false and undefined are left out
 * @param {...(Node | string | undefined)} children strings become text nodes
 * @returns {any} an element of this tag
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/**
 * Make a table; columns from `numTextColumns` on hold numbers and are aligned right.
 * @param {string[]} head
 * @param {string[][]} rows
 * @param {string} name further class of the table
 * @param {number} numTextColumns
 */
export function makeTable(head, rows, name = "", numTextColumns = 1) {
  const side = (/** @type {number} */ column) => (column < numTextColumns ? undefined : "fl-number");
  const top = head.map((cell, column) => make("th", { scope: "col", class: side(column) }, cell));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell, column) => make("td", { class: side(column) }, cell))));
  return make("table", { class: `fl-table ${name}`.trim() }, make("thead", {}, make("tr", {}, ...top)), make("tbody", {}, ...body));
}

/**
 * Put content into a box that scrolls sideways by mouse, finger and keyboard, with a hint where it does.
 * @param {Element} content
 * @param {string} label name of the box for screen readers
 * @param {string} name further class of the box
 */
export function makeScrolling(content, label, name = "") {
  const box = make("div", { class: `fl-scroll ${name}`.trim(), role: "region", "aria-label": label, tabindex: 0 }, content);
  const wide = make("div", { class: "fl-wide" }, box, make("p", { class: "fl-hint" }, "Scroll sideways to see the rest."));
  const mark = () => wide.classList.toggle("fl-overflows", box.scrollWidth > box.clientWidth + 1);
  new ResizeObserver(mark).observe(box);
  return wide;
}

/**
 * Make a figure with a caption.
 * @param {Node} content
 * @param {(Node | string)[]} caption
 * @param {string} [name] class of the caption
 */
export function makeFigure(content, caption, name) {
  return make("figure", {}, content, make("figcaption", { class: name }, ...caption));
}

/**
 * Format a probability; values that would round to 0 % or 100 % become `<1%` or `>99%`.
 * @param {number} share in [0, 1]
 */
export function percent(share) {
  if (share > 0.995) return ">99%";
  return share < 0.005 ? "<1%" : `${Math.round(share * 100)}%`;
}

/** @param {number} count */
export function grouped(count) {
  return count.toLocaleString("en");
}
