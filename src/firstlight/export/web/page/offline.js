// @ts-check
/** Registers the service worker, which lets the page work offline, and offers a newer version of the page. */

import { make } from "./elements.js";

/**
 * Keep the page for later visits; without a service worker the page only works online.
 * @param {HTMLElement} status where to say so
 */
export async function keepOffline(status) {
  if (!navigator.serviceWorker) return;
  try {
    const registration = await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    const offer = () => registration.waiting && navigator.serviceWorker.controller && offerUpdate(status, registration.waiting);
    registration.addEventListener("updatefound", () => registration.installing?.addEventListener("statechange", offer));
    offer();
    await navigator.serviceWorker.ready;
    if (!registration.waiting) status.textContent = "This page is stored in your browser and works offline.";
  } catch {
    status.textContent = ""; // storage is full or blocked
  }
}

/** @param {HTMLElement} status @param {ServiceWorker} waiting */
function offerUpdate(status, waiting) {
  const button = make("button", { type: "button", class: "fl-button" }, "Load it");
  button.addEventListener("click", () => {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
    waiting.postMessage("activate");
  });
  status.replaceChildren("A newer version of this page is ready. ", button);
}
