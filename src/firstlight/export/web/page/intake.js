// @ts-check
/** The ways to give pictures: choosing files, dropping, pasting, the webcam. */

import { Camera } from "./camera.js";
import { make } from "./elements.js";

/**
 * Make the field for pictures. Dropping and pasting work on the whole page.
 * @param {string} accepted names of the file formats
 * @param {(files: File[]) => void} onFiles
 */
export function makeIntake(accepted, onFiles) {
  const input = make("input", { type: "file", multiple: true, accept: "image/*", "aria-describedby": "accepted" });
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  const camera = new Camera((file) => onFiles([file]));
  const field = make(
    "div",
    { id: "picture", class: "fl-intake" },
    make("label", { class: "fl-button fl-primary" }, "Choose pictures", input),
    camera.button,
    make("p", { id: "accepted" }, `or drop or paste them: ${accepted}`),
    make("p", {}, "They never leave your browser."),
    camera.element,
  );
  dropTarget(field, onFiles);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) onFiles(files);
  });
  return field;
}

/** @param {HTMLElement} field is marked while files are above the page @param {(files: File[]) => void} onFiles */
function dropTarget(field, onFiles) {
  const holdsFiles = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    field.classList.add("fl-over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) field.classList.remove("fl-over");
  });
  document.addEventListener("drop", (event) => {
    field.classList.remove("fl-over");
    if (!holdsFiles(event)) return;
    event.preventDefault();
    onFiles([...(event.dataTransfer?.files ?? [])]);
  });
}
