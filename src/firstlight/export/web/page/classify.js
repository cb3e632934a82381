// @ts-check
/** The Classify tab: takes pictures, and shows a card for each. */

import { AnswerCard } from "./answer.js";
import { ranked } from "./bars.js";
import { colourScale, pictureCanvas } from "./canvas.js";
import { MapControls, dropdown, slider } from "./controls.js";
import { make, percent } from "./elements.js";
import { makeIntake } from "./intake.js";
import { Refusal } from "./picture.js";
import { SheetReader } from "./sheets.js";

const MAX_CARDS = 50, MAX_TOP = 10, DEFAULT_TOP = 5, BATCH_SIZE = 8, EXAMPLE_NAME = "example";

/** Widgets and events of the tab. */
export class ClassifyTab {
  /** @type {AnswerCard[]} */
  cards = [];
  /** @type {AnswerCard | undefined} the card to which the page scrolls when its answer arrives */
  newest;
  #numUpdates = 0;

  /**
   * @param {import("./model.js").Model} model
   * @param {import("./engine.js").Engine} engine
   * @param {HTMLElement} startup what is shown while the model loads
   */
  constructor(model, engine, startup) {
    this.model = model;
    this.engine = engine;
    this.startup = startup;
    const most = Math.min(MAX_TOP, model.class_names.length);
    this.explained = dropdown("explained", "Class to explain", ["predicted class", ...model.class_names]);
    this.top = slider("top", "Classes listed", { min: 1, max: most, step: 1, value: Math.min(DEFAULT_TOP, most) });
    this.controls = new MapControls(model, "classify", { onMap: () => this.#update(), onOpacity: () => this.#blend() });
    this.explained.input.addEventListener("change", () => this.#update());
    this.top.input.addEventListener("input", () => this.cards.forEach((card) => card.setCount(this.#view.count)));
    this.clear = make("button", { type: "button", class: "fl-button", id: "clear", disabled: true }, "Clear");
    this.clear.addEventListener("click", () => this.#clear());
    this.message = make("p", { role: "alert", class: "fl-error" });
    this.live = make("p", { class: "fl-hidden", role: "status" });
    this.empty = make("div", { class: "fl-empty" }, make("p", {}, "Nothing to explain yet."), make("p", {}, "Choose pictures, paste or drop them, or try an example."));
    this.list = make("div", { class: "fl-cards", id: "answer" }, this.empty);
    this.scale = colourScale(model);
    this.scale.hidden = true;
    this.element = make("div", { class: "fl-classify" }, this.#inputs(), this.#outputs());
  }

  #inputs() {
    const intake = makeIntake(this.model.limits.accepted, (files) => this.#addFiles(files));
    return make("div", { class: "fl-inputs" }, intake, this.message, this.#examples(), this.clear);
  }

  #outputs() {
    const controls = make("div", { class: "fl-controls" }, this.explained.element, this.top.element, ...this.controls.elements);
    return make("div", { class: "fl-outputs" }, controls, this.startup, this.live, this.list, this.scale);
  }

  #examples() {
    const { examples, class_names: names, size_px: sizePx } = this.model;
    if (!examples) return undefined;
    const reader = new SheetReader(examples.sheets, sizePx);
    const buttons = examples.labels.map((label, index) => {
      const button = make("button", { type: "button", class: "fl-example", title: names[label], disabled: true });
      reader.image(index).then((picture) => {
        button.append(pictureCanvas(picture, ""), make("span", {}, names[label]));
        button.firstChild.setAttribute("aria-hidden", "true");
        button.disabled = false;
        button.addEventListener("click", () => this.#addExample(picture, `${EXAMPLE_NAME} ${index + 1}`));
      }, (error) => this.#complain(error));
      return button;
    });
    const heading = make("h2", { class: "fl-label", id: "fl-examples" }, "Or try an example");
    return make("div", {}, heading, make("div", { class: "fl-examples", role: "group", "aria-labelledby": "fl-examples" }, ...buttons));
  }

  /** @returns {import("./answer.js").View} */
  get #view() {
    const { stage } = this.controls.settings();
    return {
      count: Number(this.top.input.value),
      isMapShown: this.controls.isShown,
      opacity: this.controls.opacity,
      stage: this.model.stages[stage].name,
      target: Number(this.explained.input.value) - 1,
    };
  }

  get #settings() {
    return this.controls.settings(this.#view.target);
  }

  /** Classify files, which may be anything. @param {File[]} files */
  #addFiles(files) {
    const taken = files.slice(0, MAX_CARDS);
    if (!taken.length) return;
    this.message.textContent = taken.length < files.length ? `Only the first ${MAX_CARDS} of ${files.length} files are read.` : "";
    const cards = taken.map((file) => this.#newCard(file.name || "pasted picture"));
    this.#place(cards);
    taken.forEach((file, index) => this.#fill(cards[index], async (card) => {
      const { answer, preview, notes } = await this.engine.read(file, card.name, this.#settings);
      card.setPreview(preview);
      card.setNotes(notes);
      return answer;
    }));
  }

  /** @param {import("./overlay.js").Picture} picture @param {string} name */
  #addExample(picture, name) {
    const card = this.#newCard(name);
    this.#place([card]);
    this.#fill(card, async () => {
      card.preview.replaceChildren(pictureCanvas(picture, `preview of ${name}`));
      return (await this.engine.explain([picture], [this.#view.target], this.#settings))[0];
    });
  }

  /** @param {string} name */
  #newCard(name) {
    return new AnswerCard(name, this.model, (card) => this.#remove(card));
  }

  /** Put new cards before the others, drop the oldest of too many, and show the first. @param {AnswerCard[]} cards */
  #place(cards) {
    this.cards.slice(MAX_CARDS - cards.length).forEach((card) => card.element.remove());
    this.cards = [...cards, ...this.cards].slice(0, MAX_CARDS);
    this.newest = cards[0];
    this.list.prepend(...cards.map((card) => card.element));
    this.#countCards();
    this.#reveal(cards[0]);
  }

  /** Scroll to a card, which on a phone is below the controls; while the model loads, to the progress above the cards. @param {AnswerCard} card */
  #reveal(card) {
    const first = this.startup.isConnected ? this.startup : card.element;
    const { top } = first.getBoundingClientRect();
    if (top < 0 || top > 0.6 * window.innerHeight) first.scrollIntoView({ block: "start" });
  }

  /** @param {AnswerCard} card @param {(card: AnswerCard) => Promise<import("./worker.js").Answer>} ask */
  async #fill(card, ask) {
    const asked = JSON.stringify(this.#settings);
    try {
      const answer = await ask(card);
      card.show(answer, this.#view);
      if (card === this.newest) this.#reveal(card);
      const [label] = ranked(answer.probabilities);
      this.live.textContent = `${card.name}: ${this.model.class_names[label]}, ${percent(answer.probabilities[label])}`;
      if (asked !== JSON.stringify(this.#settings)) this.#update(); // the controls have moved in the meantime
    } catch (error) {
      const line = error instanceof Error ? error.message : String(error);
      card.refuse(error instanceof Refusal ? `${line}.` : `${card.name} could not be classified: ${line}`);
    }
    this.#countCards();
  }

  /** Explain all pictures again after a control has changed; only the newest update draws. */
  async #update() {
    const update = ++this.#numUpdates, cards = this.cards.filter((card) => card.answer);
    for (let start = 0; start < cards.length; start += BATCH_SIZE) {
      const batch = cards.slice(start, start + BATCH_SIZE);
      const pictures = batch.map((card) => /** @type {any} */ (card.answer).prepared);
      try {
        const answers = await this.engine.explain(pictures, batch.map(() => this.#view.target), this.#settings);
        if (update !== this.#numUpdates) return;
        batch.forEach((card, index) => card.show(answers[index], this.#view));
      } catch (error) {
        this.#complain(error);
      }
    }
    this.#countCards();
  }

  #blend() {
    for (const card of this.cards) card.setOpacity?.(this.controls.opacity);
  }

  /** @param {AnswerCard} card */
  #remove(card) {
    const index = this.cards.indexOf(card);
    card.element.remove();
    this.cards.splice(index, 1);
    (this.cards[Math.min(index, this.cards.length - 1)]?.remove ?? this.clear).focus();
    this.#countCards();
  }

  #clear() {
    this.cards.forEach((card) => card.element.remove());
    this.cards = [];
    this.message.textContent = "";
    this.#countCards();
  }

  #countCards() {
    this.empty.hidden = this.cards.length > 0;
    this.clear.disabled = !this.cards.length;
    this.scale.hidden = !this.controls.isShown || !this.cards.some((card) => card.answer);
  }

  /** @param {unknown} error */
  #complain(error) {
    this.message.textContent = error instanceof Error ? error.message : String(error);
  }
}
