// @ts-check
/** Downloads large files once: counts their bytes and keeps them in the cache that the service worker reads. */

/** @typedef {{cache: string, files: Record<string, number>}} FileList name of the cache, and the size of each file */

/**
 * Return the content of a file.
 * @param {string} name path below the page's folder
 * @param {FileList} list
 * @param {(numBytes: number) => void} onProgress is called with the number of bytes of each part that arrives
 * @returns {Promise<{bytes: Uint8Array<ArrayBuffer>, keep: () => Promise<void>}>} the content, and a function that puts it
 *   into the cache; call it only after the content has proved to be usable, or a damaged file would stay
 */
export async function download(name, list, onProgress) {
  const cache = await openCache(list.cache);
  const address = new URL(name, import.meta.url);
  const found = await cache?.match(address);
  const response = found ?? (await fetch(address));
  if (!response.ok || !response.body) throw new Error(`${name} could not be loaded (status ${response.status})`);
  const bytes = await readAll(response.body, list.files[name] ?? 0, onProgress);
  const keep = async () => {
    if (!found) await cache?.put(address, new Response(bytes)).catch(() => undefined); // storage may be full
  };
  return { bytes, keep };
}

/** Return the cache, or undefined where the browser offers none. @param {string} name */
async function openCache(name) {
  try {
    return await caches.open(name);
  } catch {
    return undefined; // not a secure context, or storage is blocked: the page works, but not offline
  }
}

/**
 * @param {ReadableStream<Uint8Array>} body
 * @param {number} expectedBytes
 * @param {(numBytes: number) => void} onProgress
 */
async function readAll(body, expectedBytes, onProgress) {
  let bytes = new Uint8Array(expectedBytes), length = 0;
  const reader = body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (length + part.value.length > bytes.length) {
      const larger = new Uint8Array(2 * (length + part.value.length));
      larger.set(bytes.subarray(0, length));
      bytes = larger;
    }
    bytes.set(part.value, length);
    length += part.value.length;
    onProgress(part.value.length);
  }
  return bytes.subarray(0, length);
}

/**
 * Decompress a gzip file. A host that announces the compression leaves nothing to do, since the browser decompresses.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<ArrayBuffer>}
 */
export async function gunzip(bytes) {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const stream = new Blob([bytes]).stream();
  return new Response(isGzip ? stream.pipeThrough(new DecompressionStream("gzip")) : stream).arrayBuffer();
}
