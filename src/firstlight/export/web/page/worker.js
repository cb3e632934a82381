// @ts-check
/** The worker: reads pictures and runs the model, one task at a time, so that the page stays responsive. */

import { download, gunzip } from "./download.js";
import { Refusal, readPicture } from "./picture.js";
// @ts-expect-error: the export puts the runtime beside the page
import * as ort from "./runtime/ort.wasm.bundle.min.js";

/**
 * @typedef {import("./overlay.js").Grid} Grid
 * @typedef {import("./overlay.js").Picture} Picture
 * @typedef {{method: number, stage: number, target: number}} Settings target: -1 for the predicted class
 * @typedef {{probabilities: Float32Array, isNovel: boolean, map: Grid, prepared: Picture}} Answer
 * @typedef {{answer: Answer, preview: ImageBitmap, notes: string[]}} ReadAnswer
 * @typedef {{list: import("./download.js").FileList, sizePx: number[], limits: import("./picture.js").Limits}} Start
 */

const MODEL = "model.onnx", RUNTIME = "runtime/ort-wasm-simd-threaded.wasm.gz";

/** @type {Start} */
let start;
/** @type {any} */
let session;

const tasks = {
  /** Download the runtime and the model, and start a session. @param {Start} input */
  async load(input) {
    start = input;
    const onProgress = (/** @type {number} */ numBytes) => self.postMessage({ event: "progress", numBytes });
    const [runtime, model] = [RUNTIME, MODEL].map((name) => download(name, start.list, onProgress));
    ort.env.wasm.numThreads = 1; // more need headers that a static host does not send
    ort.env.wasm.wasmBinary = await runtime.then(({ bytes }) => gunzip(bytes));
    // Optimizing the graph would delay the first answer by more than it saves later.
    const options = { executionProviders: ["wasm"], graphOptimizationLevel: "disabled" };
    session = await ort.InferenceSession.create((await model).bytes, options);
    Promise.all([runtime, model].map(async (each) => (await each).keep())).then(() => self.postMessage({ event: "kept" }));
  },

  /** Read and classify a picture. @param {{file: Blob, name: string, settings: Settings}} input @returns {Promise<ReadAnswer>} */
  async read({ file, name, settings }) {
    const { picture, preview, notes } = await readPicture(file, name, start.sizePx, start.limits);
    const [answer] = await run([picture], [settings.target], settings);
    return { answer, preview, notes };
  },

  /**
   * Classify and explain pictures of one size.
   * @param {{pictures: Picture[], targets: number[], settings: Settings}} input
   * @returns {Promise<Answer[]>}
   */
  explain: ({ pictures, targets, settings }) => run(pictures, targets, settings),
};

/**
 * Run the model.
 * @param {Picture[]} pictures of one size
 * @param {number[]} targets
 * @param {Settings} settings
 * @returns {Promise<Answer[]>}
 */
async function run(pictures, targets, { method, stage }) {
  if (!session) throw new Error("the model is not loaded");
  const { height, width } = pictures[0], count = pictures.length;
  const pixels = new Uint8Array(count * height * width * 3);
  pictures.forEach((picture, index) => pixels.set(picture.pixels, index * height * width * 3));
  const integers = (/** @type {number[]} */ values, /** @type {number[]} */ shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
  const found = await session.run({
    image: new ort.Tensor("uint8", pixels, [count, height, width, 3]),
    target: integers(targets, [count]),
    method: integers([method], []),
    stage: integers([stage], []),
  });
  const part = (/** @type {string} */ name, /** @type {number} */ index) => {
    const { data } = found[name], length = data.length / count;
    return data.slice(index * length, (index + 1) * length);
  };
  return pictures.map((_, index) => ({
    probabilities: part("probabilities", index),
    isNovel: "is_novel" in found && Boolean(part("is_novel", index)[0]), // absent if the model has no threshold
    map: { values: part("map", index), height: found.map.dims[1], width: found.map.dims[2] },
    prepared: { pixels: part("prepared", index), height: found.prepared.dims[1], width: found.prepared.dims[2] },
  }));
}

/** @param {{id: number, task: keyof typeof tasks, input: any}} message */
async function answer({ id, task, input }) {
  try {
    const output = await tasks[task](input);
    self.postMessage({ id, output }, { transfer: output && "preview" in output ? [output.preview] : [] });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    self.postMessage({ id, error: { message, isRefusal: error instanceof Refusal } });
  }
}

let last = Promise.resolve();
self.addEventListener("message", ({ data }) => {
  last = last.then(() => answer(data)); // a session runs one batch at a time
});
