// @ts-check
/** The Model tab: accuracy, calibration, confusion matrix, layer table, drawing of the network. */

import { grouped, make, makeScrolling, makeTable } from "./elements.js";

/**
 * @param {import("./model.js").Model} model
 * @returns {HTMLElement}
 */
export function makeFacts(model) {
  const { texts } = model;
  const diagram = make("img", { src: "network.svg", alt: texts.diagram_alt });
  return make(
    "section",
    { class: "fl-model" },
    make("h2", {}, model.title),
    makeTiles(model),
    make("p", {}, texts.calibration),
    make("h3", {}, "Confusion matrix"),
    makeScrolling(confusionTable(model), "confusion matrix"),
    make("h3", {}, "Pictures unlike the training data"),
    make("p", {}, texts.novelty),
    makeTable(model.novelty.head, model.novelty.rows, "fl-narrow"),
    make("h3", {}, "Layers"),
    makeScrolling(makeTable(model.layers.head, model.layers.rows, "fl-layers", 2), "layers of the network"),
    make("h3", {}, "Drawing of the network"),
    makeScrolling(diagram, "drawing of the network", "fl-diagram"),
    make("p", {}, "More in the ", make("a", { href: "model-card.md" }, "model card"), " and the ", make("a", { href: "README.md" }, "README"), " of this page."),
  );
}

/** @param {import("./model.js").Model} model */
function makeTiles({ tiles }) {
  const cells = tiles.map(([value, what, how]) => make("div", {}, make("b", {}, value), make("span", {}, what), make("small", {}, how)));
  return make("div", { class: "fl-tiles" }, ...cells);
}

/**
 * One row for each true class, cells shaded by their share of the row.
 * @param {import("./model.js").Model} model
 */
function confusionTable({ class_names: names, confusion }) {
  const heading = (/** @type {string} */ name) => make("th", { scope: "col" }, make("span", {}, name));
  const rows = confusion.map((counts, label) => {
    const total = Math.max(counts.reduce((sum, count) => sum + count, 0), 1);
    const cells = counts.map((count, column) => {
      const title = `${names[label]} classified as ${names[column]}: ${count} of ${total}`;
      const cell = make("td", { class: column === label ? "fl-hit" : "fl-miss", title }, count ? grouped(count) : "");
      cell.style.setProperty("--share", (count / total).toFixed(4));
      return cell;
    });
    const share = make("td", { class: "fl-sum" }, `${((100 * counts[label]) / total).toFixed(1)}%`);
    return make("tr", {}, make("th", { scope: "row" }, names[label]), ...cells, share);
  });
  const head = make("tr", {}, make("td"), ...names.map(heading), heading("correct"));
  const caption = make("caption", {}, "Rows: true class. Columns: predicted class.");
  return make("table", { class: "fl-confusion" }, caption, make("thead", {}, head), make("tbody", {}, ...rows));
}
