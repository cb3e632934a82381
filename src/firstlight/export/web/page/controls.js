// @ts-check
/** The widgets that the Classify and the Mistakes tab share. */

import { make } from "./elements.js";

/** @typedef {import("./model.js").Model} Model */

/**
 * Make a labelled dropdown; the value of an option is its index.
 * @param {string} id
 * @param {string} label
 * @param {string[]} options
 * @param {number} chosen
 */
export function dropdown(id, label, options, chosen = 0) {
  const items = options.map((text, index) => make("option", { value: index, selected: index === chosen }, text));
  const select = make("select", { id: `${id}-select` }, ...items);
  return { element: make("label", { class: "fl-control", id }, make("span", {}, label), select), input: select };
}

/**
 * Make a labelled slider that shows its value.
 * @param {string} id
 * @param {string} label
 * @param {{min: number, max: number, step: number, value: number}} range
 */
export function slider(id, label, range) {
  const input = make("input", { type: "range", ...range });
  const value = make("output", {}, String(range.value));
  input.addEventListener("input", () => (value.textContent = input.value));
  return { element: make("label", { class: "fl-control", id }, make("span", {}, `${label} `, value), input), input };
}

/** Method, stage and opacity of the maps, and whether they are shown. */
export class MapControls {
  /**
   * @param {Model} model
   * @param {string} tab name of the tab, the start of the ids
   * @param {{onMap: () => void, onOpacity: () => void}} listeners
   */
  constructor(model, tab, { onMap, onOpacity }) {
    this.shown = make("input", { type: "checkbox", checked: true });
    this.method = dropdown(`${tab}-method`, "Method", model.methods.map((each) => each.label));
    this.stage = dropdown(`${tab}-stage`, "Stage", model.stages.map((each) => each.label), model.default_stage);
    this.opacitySlider = slider(`${tab}-opacity`, "Opacity", { min: 0, max: 1, step: 0.05, value: model.default_opacity });
    const toggle = make("label", { class: "fl-control fl-toggle", id: `${tab}-map` }, this.shown, make("span", {}, "Show the map"));
    /** @type {HTMLElement[]} */
    this.elements = [toggle, this.method.element, this.stage.element, this.opacitySlider.element];
    this.shown.addEventListener("change", onMap);
    this.method.input.addEventListener("change", onMap);
    this.stage.input.addEventListener("change", onMap);
    this.opacitySlider.input.addEventListener("input", onOpacity);
  }

  get isShown() {
    return this.shown.checked;
  }

  get opacity() {
    return Number(this.opacitySlider.input.value);
  }

  /** @param {number} target @returns {import("./worker.js").Settings} */
  settings(target = -1) {
    return { method: Number(this.method.input.value), stage: Number(this.stage.input.value), target };
  }
}
