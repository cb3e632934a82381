// @ts-check
/** Takes pictures with the webcam. */

import { make } from "./elements.js";

/** A button that opens the webcam, and the panel with its picture. */
export class Camera {
  /** @type {MediaStream | null} */
  #stream = null;

  /** @param {(file: File) => void} onPicture */
  constructor(onPicture) {
    this.button = make("button", { type: "button", class: "fl-button", id: "camera" }, "Use the webcam");
    this.video = make("video", { autoplay: true, playsinline: true, muted: true, "aria-label": "picture of the webcam" });
    const take = make("button", { type: "button", class: "fl-button fl-primary", id: "take" }, "Take a picture");
    const close = make("button", { type: "button", class: "fl-button" }, "Close the webcam");
    this.message = make("p", { role: "alert", class: "fl-error" });
    this.panel = make("div", { class: "fl-camera", hidden: true }, this.video, make("div", {}, take, close));
    this.element = make("div", {}, this.message, this.panel);
    this.button.addEventListener("click", () => (this.#stream ? this.#close() : this.#open()));
    close.addEventListener("click", () => this.#close());
    take.addEventListener("click", async () => {
      const file = await this.#take();
      if (file) onPicture(file);
    });
  }

  async #open() {
    this.message.textContent = "";
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      this.video.srcObject = this.#stream;
      this.panel.hidden = false;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.message.textContent = `The webcam cannot be used: allow it for this page, or choose a file. (${reason})`;
    }
  }

  #close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.video.srcObject = null;
    this.panel.hidden = true;
    this.button.focus();
  }

  /** @returns {Promise<File | null>} null while the webcam has no picture yet */
  async #take() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || !height) return null;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d")?.drawImage(this.video, 0, 0);
    return new File([await canvas.convertToBlob({ type: "image/png" })], "webcam.png", { type: "image/png" });
  }
}
