// @ts-check
/** Colours of an evidence map, computed as `firstlight.plots.overlay.overlay` computes them. */

const NOISE = 1e-6; // positive values below this share of the largest absolute value are rounding errors

/**
 * @typedef {{values: Float32Array, height: number, width: number}} Grid a map, row by row
 * @typedef {{pixels: Uint8Array, height: number, width: number}} Picture RGB, row by row
 */

/**
 * Enlarge a map bilinearly; the value of a cell lies at the centre of the pixels that the cell covers.
 * @param {Grid} grid
 * @param {number} height
 * @param {number} width
 * @returns {Grid}
 */
export function upsample(grid, height, width) {
  const rows = positions(grid.height, height), columns = positions(grid.width, width);
  const values = new Float32Array(height * width);
  const at = (/** @type {number} */ row, /** @type {number} */ column) => grid.values[row * grid.width + column];
  rows.forEach(({ first: top, second: bottom, share: down }, row) => {
    columns.forEach(({ first: left, second: right, share: across }, column) => {
      const upper = at(top, left) * (1 - across) + at(top, right) * across;
      const lower = at(bottom, left) * (1 - across) + at(bottom, right) * across;
      values[row * width + column] = upper * (1 - down) + lower * down;
    });
  });
  return { values, height, width };
}

/**
 * The two cells between which the centre of each pixel lies, and the weight of the second.
 * @param {number} numCells
 * @param {number} numPixels
 */
function positions(numCells, numPixels) {
  return Array.from({ length: numPixels }, (_, pixel) => {
    const position = Math.max(0, ((pixel + 0.5) * numCells) / numPixels - 0.5);
    const first = Math.min(Math.floor(position), numCells - 1);
    return { first, second: Math.min(first + 1, numCells - 1), share: position - first };
  });
}

/**
 * Whether a map has positive evidence, apart from rounding errors.
 * @param {Grid} grid
 */
export function hasEvidence(grid) {
  return highest(grid) > NOISE * largest(grid);
}

const highest = (/** @type {Grid} */ grid) => grid.values.reduce((most, value) => Math.max(most, value), -Infinity);
const largest = (/** @type {Grid} */ grid) => grid.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/**
 * The picture in grey with the positive part of a map as colours, as a share of the map's largest absolute value.
 * @param {Picture} picture
 * @param {Grid} grid map at the size of the picture
 * @param {number} opacity of the colours, 0 to 1
 * @param {number[][]} colours 256 colours from the smallest share to the largest, 0 to 255
 * @returns {Picture}
 */
export function overlay(picture, grid, opacity, colours) {
  const pixels = new Uint8Array(picture.pixels.length);
  const shown = hasEvidence(grid) ? opacity : 0, scale = largest(grid);
  grid.values.forEach((value, index) => {
    const [red, green, blue] = picture.pixels.subarray(3 * index, 3 * index + 3);
    const grey = 0.299 * red + 0.587 * green + 0.114 * blue; // luma of ITU-R BT.601
    const share = scale > 0 ? Math.max(0, value) / scale : 0;
    const colour = colours[Math.min(colours.length - 1, Math.floor(share * colours.length))];
    for (let channel = 0; channel < 3; channel++) {
      pixels[3 * index + channel] = Math.round((1 - shown) * grey + shown * colour[channel]);
    }
  });
  return { pixels, height: picture.height, width: picture.width };
}
