// @ts-check
/** The card of one picture: its classes with probabilities, the picture as the model sees it, and the evidence for a class. */

import { bars, ranked } from "./bars.js";
import { mapCanvas, pictureCanvas } from "./canvas.js";
import { make, makeFigure, percent } from "./elements.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {{count: number, isMapShown: boolean, opacity: number, stage: string, target: number}} View what the controls say
 */

/** One picture on the page. */
export class AnswerCard {
  /** @type {import("./worker.js").Answer | null} */
  answer = null;
  /** @type {((opacity: number) => void) | null} */
  setOpacity = null;

  /**
   * @param {string} name
   * @param {Model} model
   * @param {(card: AnswerCard) => void} onRemove
   */
  constructor(name, model, onRemove) {
    this.name = name;
    this.model = model;
    this.preview = make("div", { class: "fl-preview" });
    this.remove = make("button", { type: "button", class: "fl-remove", "aria-label": `Remove ${name}`, title: "Remove" }, "×");
    this.remove.addEventListener("click", () => onRemove(this));
    this.body = make("div", { class: "fl-card-body" }, make("p", { class: "fl-waiting" }, `Reading ${name} …`));
    this.element = make("article", { class: "fl-answer", "aria-label": name }, this.body, this.remove);
  }

  /** Show why the picture is refused. @param {string} line */
  refuse(line) {
    this.element.classList.add("fl-refused");
    this.body.replaceChildren(make("p", { role: "alert" }, line));
  }

  /** @param {ImageBitmap} bitmap */
  setPreview(bitmap) {
    const canvas = make("canvas", { width: bitmap.width, height: bitmap.height, role: "img", "aria-label": `preview of ${this.name}` });
    canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
    this.preview.replaceChildren(canvas);
  }

  /** @param {string[]} notes */
  setNotes(notes) {
    this.notes = notes.map((note) => make("p", { class: "fl-note" }, note));
  }

  /** @param {import("./worker.js").Answer} answer @param {View} view */
  show(answer, view) {
    this.answer = answer;
    const names = this.model.class_names, [label] = ranked(answer.probabilities);
    const verdict = make("h2", {}, names[label], " ", make("span", {}, percent(answer.probabilities[label])));
    const warning = answer.isNovel ? make("p", { class: "fl-warning", role: "status" }, make("b", {}, this.model.texts.novel_title), " ", this.model.texts.novel) : undefined;
    const head = make("div", { class: "fl-verdict" }, this.preview, make("div", {}, verdict, make("p", { class: "fl-file" }, this.name)));
    this.list = bars(answer.probabilities, names, view.count);
    this.figures = make("div", { class: "fl-figures" }, this.#seen(answer), ...this.#map(answer, view, label));
    this.body.replaceChildren(...[warning, ...(this.notes ?? [])].filter((each) => each !== undefined));
    this.body.append(make("div", { class: "fl-columns" }, make("div", {}, head, this.list), this.figures));
  }

  /** Change the number of classes. @param {number} count */
  setCount(count) {
    if (!this.answer || !this.list) return;
    const list = bars(this.answer.probabilities, this.model.class_names, count);
    this.list.replaceWith(list);
    this.list = list;
  }

  /** @param {import("./worker.js").Answer} answer */
  #seen({ prepared }) {
    const size = `${prepared.width} × ${prepared.height} pixels`;
    const canvas = pictureCanvas(prepared, `${this.name} at ${size}`);
    return makeFigure(make("div", { class: "fl-stack" }, canvas), ["As the model sees it", make("small", {}, size)]);
  }

  /** @param {import("./worker.js").Answer} answer @param {View} view @param {number} label */
  #map({ prepared, map }, view, label) {
    this.setOpacity = null;
    if (!view.isMapShown) return [];
    const name = this.model.class_names[view.target < 0 ? label : view.target];
    const drawn = mapCanvas(prepared, map, `evidence for ${name}: brighter where it is stronger`, view.opacity, this.model);
    this.setOpacity = drawn.setOpacity;
    return [makeFigure(drawn.element, ["Evidence for ", make("b", {}, name), make("small", {}, `stage ${view.stage}`)])];
  }
}
