// @ts-check
/** Reads format and size of a picture from its first bytes, so that a huge one is refused before it is decoded. */

/**
 * @typedef {{type: string, width: number, height: number, isAnimated: boolean}} Header
 *
 * Return what the file says of itself; null if it is no JPEG, PNG, WebP, GIF or BMP file or ends within its header.
 * The name and the announced type of a file play no part.
 * @param {Uint8Array} bytes
 * @returns {Header | null}
 */
export function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    for (const read of [readPng, readJpeg, readGif, readWebp, readBmp]) {
      const header = read(view);
      if (header) return header.width > 0 && header.height > 0 ? header : null;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the file ends too early
  }
  return null;
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {string} text
 */
function says(view, start, text) {
  return view.byteLength >= start + text.length && [...text].every((letter, i) => view.getUint8(start + i) === letter.charCodeAt(0));
}

/** @param {DataView} view @returns {Header | null} */
function readPng(view) {
  if (!says(view, 0, "\x89PNG\r\n\x1a\n") || !says(view, 12, "IHDR")) return null;
  let isAnimated = false;
  for (let start = 8; start + 8 <= view.byteLength && !says(view, start + 4, "IDAT"); start += 12 + view.getUint32(start)) {
    isAnimated ||= says(view, start + 4, "acTL");
  }
  return { type: "image/png", width: view.getUint32(16), height: view.getUint32(20), isAnimated };
}

/** @param {DataView} view @returns {Header | null} */
function readJpeg(view) {
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return null;
  for (let start = 2; ; start += 2 + view.getUint16(start + 2)) {
    while (view.getUint8(start) === 0xff && view.getUint8(start + 1) === 0xff) start++; // fill bytes
    if (view.getUint8(start) !== 0xff) return null;
    const marker = view.getUint8(start + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { type: "image/jpeg", height: view.getUint16(start + 5), width: view.getUint16(start + 7), isAnimated: false };
    if (marker === 0xd9 || marker === 0xda) return null; // the image data without a frame
  }
}

/** @param {DataView} view @returns {Header | null} */
function readGif(view) {
  if (!says(view, 0, "GIF87a") && !says(view, 0, "GIF89a")) return null;
  return { type: "image/gif", width: view.getUint16(6, true), height: view.getUint16(8, true), isAnimated: numGifFrames(view) > 1 };
}

/** Count the frames of a GIF, two at most. @param {DataView} view */
function numGifFrames(view) {
  const tableBytes = (/** @type {number} */ flags) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  const skipBlocks = (/** @type {number} */ start) => {
    while (start < view.byteLength && view.getUint8(start)) start += 1 + view.getUint8(start);
    return start + 1;
  };
  let count = 0;
  for (let start = 13 + tableBytes(view.getUint8(10)); start + 10 < view.byteLength && count < 2; ) {
    const kind = view.getUint8(start);
    if (kind === 0x21) start = skipBlocks(start + 2);
    else if (kind === 0x2c) {
      count++;
      start = skipBlocks(start + 11 + tableBytes(view.getUint8(start + 9)));
    } else break;
  }
  return count;
}

/** @param {DataView} view @returns {Header | null} */
function readWebp(view) {
  if (!says(view, 0, "RIFF") || !says(view, 8, "WEBP")) return null;
  const uint24 = (/** @type {number} */ start) => view.getUint16(start, true) | (view.getUint8(start + 2) << 16);
  const header = { type: "image/webp", isAnimated: false };
  if (says(view, 12, "VP8X")) {
    return { ...header, width: uint24(24) + 1, height: uint24(27) + 1, isAnimated: (view.getUint8(20) & 2) !== 0 };
  }
  if (says(view, 12, "VP8L")) {
    const bits = view.getUint32(21, true);
    return { ...header, width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  return { ...header, width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

/** @param {DataView} view @returns {Header | null} */
function readBmp(view) {
  if (!says(view, 0, "BM")) return null;
  const isOld = view.getUint32(14, true) === 12; // the header of OS/2, with sides of 16 bits
  const width = isOld ? view.getUint16(18, true) : view.getInt32(18, true);
  const height = isOld ? view.getUint16(20, true) : Math.abs(view.getInt32(22, true));
  return { type: "image/bmp", width, height, isAnimated: false };
}
