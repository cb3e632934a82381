// @ts-check
/** Reads small images from sheets, PNG files of many images in rows, and keeps the sheets that were read. */

/** @typedef {import("./overlay.js").Picture} Picture */

/** The images of some sheets, in order. */
export class SheetReader {
  /** @type {Map<string, Promise<CanvasRenderingContext2D>>} */
  #read = new Map();

  /**
   * @param {import("./model.js").Sheet[]} sheets
   * @param {number[]} sizePx height and width of an image
   */
  constructor(sheets, [height, width]) {
    this.sheets = sheets;
    this.height = height;
    this.width = width;
  }

  /** @param {number} index @returns {Promise<Picture>} */
  async image(index) {
    let sheet = 0;
    while (index >= this.sheets[sheet].count) index -= this.sheets[sheet++].count;
    const { file, columns } = this.sheets[sheet];
    if (!this.#read.has(file)) this.#read.set(file, readSheet(file));
    const context = await /** @type {Promise<CanvasRenderingContext2D>} */ (this.#read.get(file));
    const left = (index % columns) * this.width, top = Math.floor(index / columns) * this.height;
    const { data } = context.getImageData(left, top, this.width, this.height);
    return { pixels: Uint8Array.from(data.filter((_, position) => position % 4 !== 3)), height: this.height, width: this.width };
  }
}

/** @param {string} file */
async function readSheet(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} could not be loaded (status ${response.status})`);
  const bitmap = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("this browser gives no canvas for pictures");
  context.drawImage(bitmap, 0, 0);
  return context;
}
