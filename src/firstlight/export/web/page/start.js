// @ts-check
// Checks what the browser offers, then loads the page. This is no module, because a browser loads no module from a file.
"use strict";

{
  // A module whose only function uses a 128-bit value: valid where WebAssembly has SIMD instructions.
  const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

  /** Why the page cannot run here, as lines of text; empty if it can. */
  const obstacles = () => {
    if (location.protocol === "file:") {
      return [
        "This page needs a web server.",
        "Run python -m http.server in its folder, then open http://localhost:8000.",
      ];
    }
    const advice = "Use a current version of Firefox, Chrome, Edge or Safari.";
    if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(SIMD))) {
      return ["This browser does not offer WebAssembly with SIMD, which the model needs.", advice];
    }
    const needed = ["Worker", "OffscreenCanvas", "DecompressionStream", "createImageBitmap"];
    const missing = needed.filter((name) => !(name in window));
    return missing.length ? [`This browser does not offer ${missing.join(", ")}, which the page needs.`, advice] : [];
  };

  /** @param {string[]} lines */
  const show = (lines) => {
    const box = document.getElementById("startup");
    box?.replaceChildren(...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
    box?.classList.add("fl-shown");
    box?.setAttribute("role", "alert");
  };

  const found = obstacles();
  if (found.length) show(found);
  else import("./app.js").catch((error) => show(["The page could not be loaded.", `Reload it. (${error.message})`]));
}
