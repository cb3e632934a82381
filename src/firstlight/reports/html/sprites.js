"use strict";
// A sprite: many small images in one picture, of which parts are drawn on canvases as soon as it is decoded.
class Sprite {
  constructor({ uri, columns, height, width }) {
    Object.assign(this, { columns, height, width });
    this.image = new Image();
    this.ready = uri ? ((this.image.src = uri), this.image.decode()) : Promise.reject(new Error("no image"));
    this.ready.catch(() => {});
  }

  draw(canvas, position) {
    canvas.width = this.width;
    canvas.height = this.height;
    const left = (position % this.columns) * this.width, top = Math.floor(position / this.columns) * this.height;
    const paint = () => canvas.getContext("2d").drawImage(this.image, left, top, this.width, this.height, 0, 0, this.width, this.height);
    this.ready.then(paint).catch(() => {});
  }

  picture(position, text) {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", text);
    this.draw(canvas, position);
    return canvas;
  }
}
