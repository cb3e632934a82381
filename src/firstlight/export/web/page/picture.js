// @ts-check
/** Decodes a picture as `firstlight.data.preprocess.to_pixels` does: EXIF rotation, white behind transparency, no colour profile. */

import { readHeader } from "./header.js";

/** @typedef {import("./overlay.js").Picture} Picture */
/** @typedef {{max_bytes: number, max_pixels: number, accepted: string}} Limits */

const PREVIEW_PX = 448, MAX_NAME_LENGTH = 60;
const REACH = 3; // of the model's resize filter (Lanczos), in pixels of its result

/** An error that the user can mend; its message is one line. */
export class Refusal extends Error {}

/**
 * Read a picture.
 * @param {Blob} file
 * @param {string} name name of the file for messages
 * @param {number[]} sizePx height and width of the model's input
 * @param {Limits} limits
 * @returns {Promise<{picture: Picture, preview: ImageBitmap, notes: string[]}>}
 */
export async function readPicture(file, name, sizePx, limits) {
  name = printable(name);
  if (!file.size) throw new Refusal(`${name} is empty`);
  if (file.size > limits.max_bytes) throw new Refusal(`${name} is larger than ${limits.max_bytes / 1e6} MB: shrink it`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const header = readHeader(bytes);
  if (!header) throw new Refusal(`${name} is not a picture that can be read here: give a ${limits.accepted} file`);
  if (header.width * header.height > limits.max_pixels) {
    const size = `${header.width}x${header.height}`;
    throw new Refusal(`${name}: ${size} is more than ${limits.max_pixels / 1e6} million pixels: shrink it`);
  }
  const bitmap = await decode(new Blob([bytes], { type: header.type }), name);
  try {
    return { picture: centre(bitmap, sizePx), preview: shrunk(bitmap), notes: notesOn(header) };
  } finally {
    bitmap.close();
  }
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
async function decode(blob, name) {
  try {
    return await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" });
  } catch {
    throw new Refusal(`${name} is damaged or cut short: give a file that other programs can open`);
  }
}

/**
 * Return the centred part that the model's crop and its resize filter read, on white. The parts that are cut off are as
 * large on the left as on the right, so that the model finds the same centre.
 * @param {ImageBitmap} bitmap
 * @param {number[]} sizePx
 * @returns {Picture}
 */
function centre(bitmap, [height, width]) {
  const scale = Math.min(bitmap.height / height, bitmap.width / width); // pixels of the picture for one of the result
  const margin = Math.ceil(REACH * Math.max(scale, 1)) + 2;
  const cut = (/** @type {number} */ side, /** @type {number} */ kept) => Math.max(0, Math.floor((side - kept) / 2 - margin));
  const left = cut(bitmap.width, scale * width), top = cut(bitmap.height, scale * height);
  const canvas = new OffscreenCanvas(bitmap.width - 2 * left, bitmap.height - 2 * top);
  const context = painter(canvas);
  context.drawImage(bitmap, -left, -top);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { pixels: withoutAlpha(data), height: canvas.height, width: canvas.width };
}

/** @param {ImageBitmap} bitmap */
function shrunk(bitmap) {
  const factor = Math.min(1, PREVIEW_PX / Math.max(bitmap.width, bitmap.height));
  const side = (/** @type {number} */ length) => Math.max(1, Math.round(length * factor));
  const canvas = new OffscreenCanvas(side(bitmap.width), side(bitmap.height));
  const context = painter(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.transferToImageBitmap();
}

/** Return the context of a canvas that is white. @param {OffscreenCanvas} canvas */
function painter(canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("this browser gives no canvas for pictures");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return context;
}

/** @param {Uint8ClampedArray} data RGBA */
function withoutAlpha(data) {
  const pixels = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  return pixels;
}

/** @param {import("./header.js").Header} header */
function notesOn({ isAnimated, width, height }) {
  const notes = [];
  if (isAnimated) notes.push("Only the first frame of this animation is used.");
  if (Math.max(width, height) > 2 * Math.min(width, height)) {
    notes.push("Only the centre of this picture is used: one side is more than twice as long as the other.");
  }
  return notes;
}

/** @param {string} name */
function printable(name) {
  const kept = name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "").trim() || "the file";
  return kept.length <= MAX_NAME_LENGTH ? kept : `${kept.slice(0, MAX_NAME_LENGTH - 1)}…`;
}
