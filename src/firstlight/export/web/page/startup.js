// @ts-check
/** What the page shows while the model loads: a progress bar, or why it cannot be loaded. */

import { make } from "./elements.js";

/** The progress of a download. */
export class Startup {
  #numLoaded = 0;

  /** @param {number} totalBytes */
  constructor(totalBytes) {
    this.totalBytes = totalBytes;
    this.bar = make("progress", { max: totalBytes, value: 0, id: "loading-bar", "aria-labelledby": "loading" });
    this.text = make("p", { id: "loading" }, "Loading the model …");
    this.element = make("div", { class: "fl-loading", id: "startup" }, this.text, this.bar);
  }

  /** @param {number} numBytes bytes that have arrived since the last call */
  add(numBytes) {
    this.#numLoaded += numBytes;
    this.bar.value = this.#numLoaded;
    const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(1);
    const isWhole = this.#numLoaded >= this.totalBytes;
    this.text.textContent = isWhole ? "Starting the model …" : `Loading the model: ${megabytes(this.#numLoaded)} of ${megabytes(this.totalBytes)} MB`;
  }

  finish() {
    this.element.remove();
  }

  /** @param {unknown} error */
  fail(error) {
    const reason = error instanceof Error ? error.message : String(error);
    const again = make("button", { type: "button", class: "fl-button" }, "Try again");
    again.addEventListener("click", () => location.reload());
    this.element.setAttribute("role", "alert");
    this.element.replaceChildren(make("p", {}, "The model could not be loaded."), make("p", { class: "fl-error" }, reason), again);
  }
}
