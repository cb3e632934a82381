// @ts-check
// The service worker: stores the files of the page, and answers from the store. The export writes CONTENT above.
"use strict";

const worker = /** @type {any} */ (self);
const { version, files } = worker.CONTENT;
const prefix = `firstlight ${worker.registration.scope} `; // the scope keeps the caches of other pages of the host
const cacheName = prefix + version;
const address = (/** @type {string} */ file) => new URL(file, worker.registration.scope).href;

worker.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(fill()));
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(removeOld()));
worker.addEventListener("message", (/** @type {any} */ event) => event.data === "activate" && worker.skipWaiting());
worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const isOurs = event.request.method === "GET" && event.request.url.startsWith(worker.registration.scope);
  if (isOurs) event.respondWith(answer(event.request));
});

/** Store every file that the page has not stored itself. */
async function fill() {
  const cache = await caches.open(cacheName);
  for (const file of files) {
    if (!(await cache.match(address(file)))) {
      const response = await fetch(address(file), { cache: "no-cache" });
      if (!response.ok) throw new Error(`${file}: status ${response.status}`);
      await cache.put(address(file), response);
    }
  }
}

/** Remove the files of earlier versions. */
async function removeOld() {
  const old = (await caches.keys()).filter((each) => each.startsWith(prefix) && each !== cacheName);
  await Promise.all(old.map((each) => caches.delete(each)));
}

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(cacheName);
  const isPage = request.url.split(/[?#]/)[0] === worker.registration.scope;
  const found = await cache.match(isPage ? address("index.html") : request, { ignoreSearch: true });
  return found ?? fetch(request);
}
