// @ts-check
/** Tabs that the mouse and the arrow keys choose. */

import { make } from "./elements.js";

/**
 * @param {{name: string, panel: HTMLElement, onShow?: () => void}[]} tabs
 * @returns {HTMLElement[]} the row of tabs and the panels
 */
export function makeTabs(tabs) {
  const buttons = tabs.map(({ name }, index) =>
    make("button", { type: "button", role: "tab", id: `tab-${index}`, "aria-controls": `panel-${index}` }, name),
  );
  const panels = tabs.map(({ panel }, index) =>
    make("div", { role: "tabpanel", id: `panel-${index}`, "aria-labelledby": `tab-${index}` }, panel),
  );
  const show = (/** @type {number} */ chosen) => {
    buttons.forEach((button, index) => {
      button.setAttribute("aria-selected", String(index === chosen));
      button.tabIndex = index === chosen ? 0 : -1;
      panels[index].hidden = index !== chosen;
    });
    tabs[chosen].onShow?.();
  };
  buttons.forEach((button, index) => button.addEventListener("click", () => show(index)));
  const row = make("div", { role: "tablist", class: "fl-tabs", "aria-label": "Parts of the page" }, ...buttons);
  row.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const last = buttons.length - 1, now = buttons.indexOf(/** @type {any} */ (document.activeElement));
    const next = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now === 0 ? last : now - 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(next);
    buttons[next].focus();
  });
  show(0);
  return [row, ...panels];
}
