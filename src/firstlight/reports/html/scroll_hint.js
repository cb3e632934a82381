"use strict";
// Shows a hint above each table that is wider than the page.
(() => {
  for (const box of document.querySelectorAll(".scroll")) {
    const hint = document.createElement("p");
    hint.className = "hint";
    hint.textContent = "Scroll the table sideways to see the rest.";
    box.before(hint);
    const mark = () => { hint.hidden = box.scrollWidth <= box.clientWidth + 1; };
    new ResizeObserver(mark).observe(box);
    mark();
  }
})();
