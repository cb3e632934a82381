// @ts-check
/** What `model.json` holds: names, options, limits, texts and measurements, written by `firstlight export`. */

/**
 * @typedef {{name: string, label: string}} Option
 * @typedef {{file: string, columns: number, count: number}} Sheet
 * @typedef {{head: string[], rows: string[][]}} Table
 * @typedef {object} Model
 * @property {string} title
 * @property {string} about
 * @property {string[]} class_names in the order of the logits
 * @property {number[]} size_px height and width of the model's input
 * @property {Option[]} methods in the order of the model's input `method`
 * @property {Option[]} stages in the order of the model's input `stage`
 * @property {number} default_stage
 * @property {number} default_opacity
 * @property {number[][]} colours
 * @property {import("./picture.js").Limits} limits
 * @property {Record<string, string>} texts
 * @property {string[][]} tiles value, what it is, how it was measured
 * @property {number[][]} confusion a row for each true class
 * @property {Table} novelty
 * @property {Table} layers
 * @property {{sheets: Sheet[], labels: number[]} | null} examples
 * @property {boolean} has_mistakes
 */

/**
 * Fetch a JSON file of the page's own folder.
 * @param {string} name
 * @returns {Promise<any>}
 */
export async function fetchJson(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} could not be loaded (status ${response.status})`);
  return response.json();
}
