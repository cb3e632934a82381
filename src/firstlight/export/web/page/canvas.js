// @ts-check
/** Draws pictures and maps on canvases; the style sheet enlarges them without interpolation. */

import { make } from "./elements.js";
import { hasEvidence, overlay, upsample } from "./overlay.js";

/** @typedef {import("./overlay.js").Picture} Picture */
/** @typedef {import("./overlay.js").Grid} Grid */

/**
 * Make a canvas that shows a picture, one pixel for each of its pixels.
 * @param {Picture} picture
 * @param {string} label text for screen readers
 */
export function pictureCanvas(picture, label) {
  const canvas = make("canvas", { class: "fl-pixels", width: picture.width, height: picture.height, role: "img", "aria-label": label });
  draw(canvas, picture);
  return canvas;
}

/**
 * Make a picture in grey with its map in colours; `setOpacity` draws it again. A map without evidence has a label.
 * @param {Picture} picture
 * @param {Grid} grid raw map, at any resolution
 * @param {string} label text for screen readers
 * @param {number} opacity
 * @param {import("./model.js").Model} model
 * @returns {{element: HTMLElement, setOpacity: (opacity: number) => void}}
 */
export function mapCanvas(picture, grid, label, opacity, model) {
  const enlarged = upsample(grid, picture.height, picture.width);
  const canvas = pictureCanvas(picture, label);
  const setOpacity = (/** @type {number} */ value) => draw(canvas, overlay(picture, enlarged, value, model.colours));
  setOpacity(opacity);
  const none = hasEvidence(enlarged) ? undefined : make("span", { class: "fl-none" }, model.texts.no_evidence);
  return { element: make("div", { class: "fl-stack fl-map" }, canvas, none), setOpacity };
}

/**
 * Make the colour scale of all maps.
 * @param {import("./model.js").Model} model
 */
export function colourScale(model) {
  const picture = { pixels: Uint8Array.from(model.colours.flat().map(Math.round)), height: 1, width: model.colours.length };
  const row = make("div", { class: "fl-scale-row" }, make("span", {}, "0"), pictureCanvas(picture, model.texts.scale_alt), make("span", {}, "1"));
  return make("div", { class: "fl-scale" }, row, make("p", {}, model.texts.scale));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Picture} picture
 */
function draw(canvas, { pixels, height, width }) {
  const image = new ImageData(width, height);
  for (let index = 0; index < height * width; index++) {
    image.data.set(pixels.subarray(3 * index, 3 * index + 3), 4 * index);
    image.data[4 * index + 3] = 255;
  }
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}
