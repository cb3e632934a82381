// @ts-check
/** The page's side of the worker: each task is a promise. */

import { Refusal } from "./picture.js";

/** @typedef {import("./worker.js").Settings} Settings */

/** Runs tasks in the worker. */
export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  /** @type {Map<number, {resolve: (output: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  #numTasks = 0;

  /**
   * @param {(numBytes: number) => void} onProgress is called with the number of bytes of each part of a download
   * @param {() => void} onKept is called when the large files are in the cache
   */
  constructor(onProgress, onKept) {
    this.#worker.addEventListener("message", ({ data }) => {
      if (data.event === "progress") onProgress(data.numBytes);
      else if (data.event === "kept") onKept();
      else this.#settle(data);
    });
    this.#worker.addEventListener("error", (event) => {
      const error = new Error(event.message || "the worker could not be started");
      for (const each of this.#waiting.values()) each.reject(error);
      this.#waiting.clear();
    });
  }

  /** @param {import("./worker.js").Start} start @returns {Promise<void>} */
  load(start) {
    return this.#run("load", start);
  }

  /** @param {File | Blob} file @param {string} name @param {Settings} settings @returns {Promise<import("./worker.js").ReadAnswer>} */
  read(file, name, settings) {
    return this.#run("read", { file, name, settings });
  }

  /**
   * @param {import("./overlay.js").Picture[]} pictures of one size
   * @param {number[]} targets a class for each, or -1 for the predicted class
   * @param {Settings} settings
   * @returns {Promise<import("./worker.js").Answer[]>}
   */
  explain(pictures, targets, settings) {
    return this.#run("explain", { pictures, targets, settings });
  }

  /** @param {string} task @param {unknown} input @returns {Promise<any>} */
  #run(task, input) {
    const id = this.#numTasks++;
    this.#worker.postMessage({ id, task, input });
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** @param {{id: number, output?: unknown, error?: {message: string, isRefusal: boolean}}} answer */
  #settle({ id, output, error }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(error.isRefusal ? new Refusal(error.message) : new Error(error.message));
    else waiting?.resolve(output);
  }
}
