// @ts-check
/** The Mistakes tab: misclassified test images with filters, beside the evidence for both classes. */

import { colourScale, mapCanvas, pictureCanvas } from "./canvas.js";
import { MapControls, dropdown } from "./controls.js";
import { grouped, make, makeFigure, percent } from "./elements.js";
import { fetchJson } from "./model.js";
import { SheetReader } from "./sheets.js";

const PAGE_SIZE = 12, BATCH_SIZE = 4;

/**
 * @typedef {{name: string, true: number, predicted: number, true_probability: number, predicted_probability: number}} Mistake
 * @typedef {{sheets: import("./model.js").Sheet[], items: Mistake[], num_tested: number}} Mistakes the most confident first
 */

/** Widgets and events of the tab. */
export class MistakesTab {
  /** @type {Mistakes | null} */
  #mistakes = null;
  /** @type {SheetReader | null} */
  #reader = null;
  /** @type {((opacity: number) => void)[]} */
  #maps = [];
  #page = 0;
  #numUpdates = 0;

  /**
   * @param {import("./model.js").Model} model
   * @param {import("./engine.js").Engine} engine
   */
  constructor(model, engine) {
    this.model = model;
    this.engine = engine;
    this.panel = make("div", { id: "wrong" });
    this.element = make("div", {}, this.panel);
    if (!model.has_mistakes) this.#explainAbsence();
    else this.#build();
  }

  #explainAbsence() {
    const lines = ["This model was exported without images.", "The Model tab shows which classes it confuses."];
    this.panel.append(make("div", { class: "fl-empty" }, ...lines.map((line) => make("p", {}, line))));
  }

  #build() {
    const names = ["any class", ...this.model.class_names];
    this.truth = dropdown("true", "True class", names);
    this.said = dropdown("said", "Predicted class", names);
    this.controls = new MapControls(this.model, "mistakes", { onMap: () => this.#show(), onOpacity: () => this.#blend() });
    for (const each of [this.truth, this.said]) each.input.addEventListener("change", () => this.#turn(0));
    this.back = make("button", { type: "button", class: "fl-button", id: "back" }, "Previous");
    this.forward = make("button", { type: "button", class: "fl-button", id: "next" }, "Next");
    this.back.addEventListener("click", () => this.#turn(this.#page - 1, true));
    this.forward.addEventListener("click", () => this.#turn(this.#page + 1, true));
    this.pager = make("div", { class: "fl-pager", hidden: true }, this.back, this.forward);
    const controls = make("div", { class: "fl-controls" }, this.truth.element, this.said.element, ...this.controls.elements);
    this.element.replaceChildren(controls, this.panel, this.pager);
  }

  /** Load the mistakes when the tab is first shown. */
  async open() {
    if (!this.model.has_mistakes || this.#mistakes) return;
    this.panel.replaceChildren(make("p", { class: "fl-waiting" }, "Loading the misclassified images …"));
    try {
      this.#mistakes = /** @type {Mistakes} */ (await fetchJson("mistakes.json"));
      this.#reader = new SheetReader(this.#mistakes.sheets, this.model.size_px);
      await this.#show();
    } catch (error) {
      this.#complain(error);
    }
  }

  /** @param {number} page @param {boolean} scrolls whether to show the start of the page */
  async #turn(page, scrolls = false) {
    this.#page = page;
    await this.#show();
    if (scrolls) this.panel.scrollIntoView({ block: "start" });
  }

  /** The indices of the mistakes that match the filters. */
  #found() {
    const truth = Number(this.truth?.input.value) - 1, said = Number(this.said?.input.value) - 1;
    const items = this.#mistakes?.items ?? [];
    return [...items.keys()].filter((i) => (truth < 0 || items[i].true === truth) && (said < 0 || items[i].predicted === said));
  }

  /** Show the images of the page at once, and the maps as they arrive; only the newest update draws. */
  async #show() {
    if (!this.#mistakes || !this.controls) return;
    const update = ++this.#numUpdates, found = this.#found();
    const numPages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
    this.#page = Math.min(Math.max(this.#page, 0), numPages - 1);
    const shown = found.slice(this.#page * PAGE_SIZE, (this.#page + 1) * PAGE_SIZE);
    try {
      const pictures = await Promise.all(shown.map((index) => /** @type {SheetReader} */ (this.#reader).image(index)));
      if (update !== this.#numUpdates) return;
      this.#maps = [];
      const figures = shown.map((index, position) => this.#figure(this.#item(index), pictures[position]));
      this.#lay(figures, found.length, numPages);
      if (this.controls.isShown) await this.#explain(update, shown, pictures, figures);
    } catch (error) {
      this.#complain(error);
    }
  }

  /** @param {number} index @returns {Mistake} */
  #item(index) {
    return /** @type {Mistakes} */ (this.#mistakes).items[index];
  }

  /** @param {HTMLElement[]} figures @param {number} numFound @param {number} numPages */
  #lay(figures, numFound, numPages) {
    const { items, num_tested: numTested } = /** @type {Mistakes} */ (this.#mistakes);
    const isAll = numFound === items.length;
    const count = make("p", { class: "fl-count", role: "status" }, make("b", {}, grouped(numFound)));
    count.append(isAll ? ` of ${grouped(numTested)} test images are misclassified` : ` of ${grouped(items.length)} mistakes`);
    count.append(`, the most confident first. Page ${this.#page + 1} of ${numPages}.`);
    const none = make("div", { class: "fl-empty" }, make("p", {}, "No test image is misclassified in this way."));
    const kind = this.controls?.isShown ? "" : "fl-plain";
    this.panel.replaceChildren(count, figures.length ? make("div", { class: `fl-mistakes ${kind}`.trim() }, ...figures) : none);
    if (this.controls?.isShown && figures.length) this.panel.append(colourScale(this.model));
    this.pager.hidden = numPages < 2;
    this.back.disabled = this.#page === 0;
    this.forward.disabled = this.#page === numPages - 1;
  }

  /** @param {Mistake} item @param {import("./overlay.js").Picture} picture */
  #figure(item, picture) {
    const names = this.model.class_names;
    const says = ["says ", make("b", {}, names[item.predicted]), make("br"), percent(item.predicted_probability)];
    const truth = ["is ", make("b", {}, names[item.true]), make("br"), percent(item.true_probability)];
    const image = make("div", { class: "fl-stack" }, pictureCanvas(picture, `test image ${item.name}`));
    const name = make("small", { title: item.name }, item.name);
    if (!this.controls?.isShown) {
      const lines = [make("span", { class: "fl-wrong" }, ...says), make("span", { class: "fl-right" }, ...truth), name];
      return make("figure", { class: "fl-mistake" }, image, make("figcaption", {}, ...lines));
    }
    const hole = () => make("div", { class: "fl-stack fl-hole" }, pictureCanvas(picture, "the map is being computed"));
    const parts = [makeFigure(image, [name]), makeFigure(hole(), says, "fl-wrong"), makeFigure(hole(), truth, "fl-right")];
    return make("div", { class: "fl-mistake fl-three" }, ...parts);
  }

  /**
   * Compute the maps of a page, a few images at a time, and put them into the figures.
   * @param {number} update
   * @param {number[]} shown
   * @param {import("./overlay.js").Picture[]} pictures
   * @param {HTMLElement[]} figures
   */
  async #explain(update, shown, pictures, figures) {
    const controls = /** @type {MapControls} */ (this.controls);
    for (let start = 0; start < shown.length && update === this.#numUpdates; start += BATCH_SIZE) {
      const rows = [...shown.keys()].slice(start, start + BATCH_SIZE);
      const targets = rows.flatMap((row) => [this.#item(shown[row]).predicted, this.#item(shown[row]).true]);
      const answers = await this.engine.explain(rows.flatMap((row) => [pictures[row], pictures[row]]), targets, controls.settings());
      if (update !== this.#numUpdates) return;
      answers.forEach((answer, index) => {
        const row = rows[Math.floor(index / 2)], name = this.model.class_names[targets[index]];
        const map = mapCanvas(pictures[row], answer.map, `evidence for ${name}`, controls.opacity, this.model);
        figures[row].querySelector(".fl-hole")?.replaceWith(map.element);
        this.#maps.push(map.setOpacity);
      });
    }
  }

  #blend() {
    for (const setOpacity of this.#maps) setOpacity(this.controls?.opacity ?? 0);
  }

  /** @param {unknown} error */
  #complain(error) {
    const line = error instanceof Error ? error.message : String(error);
    this.panel.replaceChildren(make("p", { role: "alert", class: "fl-error" }, line));
  }
}
