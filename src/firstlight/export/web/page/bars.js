// @ts-check
/** The most probable classes as bars. */

import { make, percent } from "./elements.js";

/**
 * The indices of all classes, the most probable first.
 * @param {Float32Array} probabilities
 */
export function ranked(probabilities) {
  return Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
}

/**
 * @param {Float32Array} probabilities
 * @param {string[]} classNames
 * @param {number} count number of classes to list
 */
export function bars(probabilities, classNames, count) {
  const rows = ranked(probabilities).slice(0, count).map((label) => {
    const fill = make("span");
    fill.style.width = `${100 * probabilities[label]}%`;
    return make(
      "li",
      {},
      make("span", { class: "fl-name", title: classNames[label] }, classNames[label]),
      make("span", { class: "fl-track" }, fill),
      make("span", { class: "fl-share" }, percent(probabilities[label])),
    );
  });
  return make("ol", { class: "fl-bars", "aria-label": "Most probable classes" }, ...rows);
}
