"use strict";
// The map of the features: points on a canvas. The pointer and the arrow keys choose a point, whose image is shown.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const canvas = document.getElementById("points");
  if (!data.feature_map || !canvas) return;
  const { classes } = data;
  const { points } = data.feature_map;
  const sprite = new Sprite(data.feature_map.sprite);
  const controls = document.getElementById("points-controls");
  const status = document.getElementById("point");
  const legend = document.getElementById("points-legend");
  const EXTENT = 1000, MARGIN_PX = 12, REACH_PX = 16, MAX_LEGEND = 20;
  const inGallery = new Set(data.entries.map((entry) => entry.index));
  const numPoints = points.x.length;
  let current = -1, side = 0;

  const isWrong = (point) => points.true[point] !== points.predicted[point];
  const palette = (label) => `hsl(${(label * (classes.length > 12 ? 137.508 : 360 / classes.length)) % 360} 70% ${label % 2 ? 42 : 56}%)`;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function colourOf(point) {
    if (controls.colour.value === "mistake") return style(isWrong(point) ? "--wrong" : "--dim");
    return palette(points[controls.colour.value][point]);
  }

  function isHighlighted(point) {
    const label = controls.label.value;
    return label === "" || points.true[point] === Number(label) || points.predicted[point] === Number(label);
  }

  function at(point) {
    const scale = (side - 2 * MARGIN_PX) / EXTENT;
    return [MARGIN_PX + points.x[point] * scale, MARGIN_PX + points.y[point] * scale];
  }

  function draw() {
    side = canvas.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(side * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, side, side);
    const order = [...Array(numPoints).keys()].sort((a, b) => isHighlighted(a) - isHighlighted(b) || isWrong(a) - isWrong(b));
    const radius = numPoints > 1000 ? 2.5 : 3.5;
    for (const point of order) {
      const [x, y] = at(point);
      context.globalAlpha = isHighlighted(point) ? 0.85 : 0.12;
      context.fillStyle = colourOf(point);
      context.beginPath();
      if (isWrong(point)) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
      else context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
    if (current < 0) return;
    const [x, y] = at(current);
    context.lineWidth = 2;
    context.strokeStyle = style("--text");
    context.strokeRect(x - 7, y - 7, 14, 14);
  }

  function nearestTo(x, y) {
    let best = -1, smallest = REACH_PX ** 2;
    for (let point = 0; point < numPoints; point++) {
      if (!isHighlighted(point)) continue;
      const [px, py] = at(point);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < smallest) [best, smallest] = [point, distance];
    }
    return best;
  }

  // The nearest point in the direction of an arrow key, within 45 degrees.
  function next(dx, dy) {
    if (current < 0) return numPoints ? 0 : -1;
    let best = current, smallest = Infinity;
    for (let point = 0; point < numPoints; point++) {
      if (point === current || !isHighlighted(point)) continue;
      const right = points.x[point] - points.x[current], down = points.y[point] - points.y[current];
      const along = right * dx + down * dy, across = Math.abs(right * dy) + Math.abs(down * dx);
      if (along <= 0 || across > along) continue;
      const distance = right ** 2 + down ** 2;
      if (distance < smallest) [best, smallest] = [point, distance];
    }
    return best;
  }

  function show(point) {
    if (point < 0 || point === current) return;
    current = point;
    status.replaceChildren();
    const index = points.index[point];
    const predicted = classes[points.predicted[point]], confidence = `${(100 * points.confidence[point]).toFixed(1)}\u00a0%`;
    const picture = sprite.picture(point, `test image ${index}`);
    const text = document.createElement("p");
    const label = (value) => Object.assign(document.createElement("bdi"), { textContent: value });
    text.append(`test image ${index}: predicted `, label(predicted), ` ${confidence}, true `, label(classes[points.true[point]]));
    status.append(picture, text);
    if (inGallery.has(index)) {
      const link = document.createElement("a");
      link.href = "#" + new URLSearchParams({ kind: isWrong(point) ? "mistakes" : "right", text: index });
      link.textContent = "show its maps";
      status.append(link);
    }
    draw();
  }

  function fillLegend() {
    legend.replaceChildren();
    const byMistake = controls.colour.value === "mistake";
    const keys = byMistake ? [["mistake", style("--wrong")], ["correct", style("--dim")]] : classes.map((name, label) => [name, palette(label)]);
    for (const [name, colour] of keys.slice(0, MAX_LEGEND)) {
      const item = document.createElement("li");
      const mark = document.createElement("span");
      mark.style.background = colour;
      item.append(mark, Object.assign(document.createElement("bdi"), { textContent: name }));
      legend.append(item);
    }
    if (keys.length > MAX_LEGEND) legend.append(Object.assign(document.createElement("li"), { textContent: `and ${keys.length - MAX_LEGEND} more` }));
  }

  canvas.addEventListener("pointermove", (event) => show(nearestTo(event.offsetX, event.offsetY)));
  canvas.addEventListener("pointerdown", (event) => show(nearestTo(event.offsetX, event.offsetY)));
  canvas.addEventListener("focus", () => current < 0 && show(next(0, 0)));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (step) {
      event.preventDefault();
      show(next(...step));
    } else if (event.key === "Enter") {
      status.querySelector("a")?.click();
    }
  });
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", () => { fillLegend(); draw(); });
  window.addEventListener("resize", draw);
  window.addEventListener("beforeprint", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { fillLegend(); draw(); });
  fillLegend();
  draw();
})();
