"use strict";
// Shows the images of the report as cards with maps, filtered and sorted. The address (#true=cat&predicted=dog) stores
// the filter and the order.
// All texts are set with textContent, so that class names stay text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { classes, entries, palette, opacity } = data;
  const [mapRows, mapColumns] = data.map_size;
  const PAGE = 24, SIDE = 96;
  const FIELDS = ["kind", "true", "predicted", "slice", "order", "text"];
  const DEFAULTS = { kind: "mistakes", true: "", predicted: "", slice: "", order: "confidence", text: "" };
  const ORDERS = {
    confidence: (a, b) => b.confidence - a.confidence,
    doubt: (a, b) => a.confidence - b.confidence,
    loss: (a, b) => b.loss - a.loss,
    margin: (a, b) => b.margin - a.margin,
    index: (a, b) => a.index - b.index,
  };
  const PREDICTED_COLOUR = [255, 145, 40], TRUE_COLOUR = [70, 150, 255];
  const trainingSprite = data.training && new Sprite(data.training.sprite);
  const form = document.getElementById("filter");
  const cards = document.getElementById("cards");
  const more = document.getElementById("more");
  const count = document.getElementById("count");
  let choice = { ...DEFAULTS }, matching = [], shown = 0;

  const percent = (value) => (value > 0.9995 ? ">99.9\u00a0%" : value < 0.0005 ? "<0.1\u00a0%" : `${(100 * value).toFixed(1)}\u00a0%`);

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // ---- the filter and the address ----

  function readAddress() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    if (location.hash && !FIELDS.some((name) => parameters.has(name))) return false; // a link to a section
    choice = { ...DEFAULTS };
    for (const name of FIELDS) if (parameters.has(name)) choice[name] = parameters.get(name);
    if (!(choice.order in ORDERS)) choice.order = DEFAULTS.order;
    if (!["mistakes", "right", "all"].includes(choice.kind)) choice.kind = DEFAULTS.kind;
    for (const name of ["true", "predicted"]) if (choice[name] && !classes.includes(choice[name])) choice[name] = "";
    if (form.elements.slice.type === "hidden" || ![...form.elements.slice.options].some((option) => option.value === choice.slice)) choice.slice = "";
    if (choice.true && choice.true === choice.predicted) choice.kind = "right";
    for (const name of FIELDS) form.elements[name].value = choice[name];
    return true;
  }

  function writeAddress(replace) {
    const parameters = new URLSearchParams();
    for (const name of FIELDS) if (choice[name] !== DEFAULTS[name]) parameters.set(name, choice[name]);
    const address = "#" + (parameters.toString() || "images");
    if (address !== location.hash) history[replace ? "replaceState" : "pushState"](null, "", address);
  }

  function takeForm(replace) {
    for (const name of FIELDS) choice[name] = form.elements[name].value;
    if (choice.true && choice.true === choice.predicted) choice.kind = "right";
    else if (choice.kind === "right" && choice.true && choice.predicted) choice.kind = "mistakes";
    form.elements.kind.value = choice.kind;
    writeAddress(replace);
    update();
  }

  // ---- filter and order ----

  function matches(entry) {
    const isRight = entry.true === entry.predicted;
    if (choice.kind === "mistakes" && isRight) return false;
    if (choice.kind === "right" && !isRight) return false;
    if (choice.true && classes[entry.true] !== choice.true) return false;
    if (choice.predicted && classes[entry.predicted] !== choice.predicted) return false;
    if (choice.slice && !entry.slices.includes(Number(choice.slice))) return false;
    const text = choice.text.trim().toLowerCase();
    return !text || String(entry.index) === text || (entry.file || "").toLowerCase().includes(text) ||
      [entry.true, entry.predicted].some((label) => classes[label].toLowerCase().includes(text));
  }

  function update() {
    matching = entries.filter(matches).sort(ORDERS[choice.order]);
    shown = 0;
    cards.replaceChildren();
    showMore();
    markCell();
  }

  function showMore() {
    for (const entry of matching.slice(shown, shown + PAGE)) cards.append(card(entry));
    shown = Math.min(shown + PAGE, matching.length);
    more.hidden = shown === matching.length;
    count.textContent = describe();
  }

  function describe() {
    const noun = { mistakes: "mistake", right: "correct image", all: "image" }[choice.kind] + (matching.length === 1 ? "" : "s");
    const slice = choice.slice && [...form.elements.slice.options].find((option) => option.value === choice.slice);
    const parts = [slice && slice.textContent, choice.true && `true class ${choice.true}`, choice.predicted && `predicted class ${choice.predicted}`,
      choice.text.trim() && `text “${choice.text.trim()}”`].filter(Boolean);
    let line = matching.length ? `${shown} of ${matching.length} ${noun}` : `No ${noun}`;
    if (parts.length) line += `: ${parts.join(", ")}`;
    if (choice.true && choice.predicted) {
      const total = data.confusion[[classes.indexOf(choice.true), classes.indexOf(choice.predicted)].join()] || 0;
      const held = matching.length;
      if (total > held && !choice.text.trim()) line += `. The cell counts ${total}; this file holds ${held} of them`;
    } else if (choice.kind !== "mistakes" && !choice.text.trim()) {
      line += `. This file holds up to ${data.right_images_of_class} correct images of each class, the most and the least confident`;
    }
    return line + ".";
  }

  // ---- cards ----

  function card(entry) {
    const item = element("li", "card");
    const isRight = entry.true === entry.predicted;
    const verdict = element("p", "verdict");
    verdict.append(element("span", isRight ? "right" : "wrong", "predicted "), name(entry.predicted), ` ${percent(entry.confidence)}`);
    if (!isRight) verdict.append(element("br"), element("span", "right", "true "), name(entry.true), ` ${percent(entry.true_probability)}`);
    const numbers = element("p", "numbers", `test image ${entry.index}, loss ${entry.loss.toFixed(3)}${isRight ? "" : `, margin ${percent(entry.margin)}`}`);
    item.append(verdict, numbers);
    if (entry.file) {
      const file = element("p", "numbers");
      file.append(element("bdi", "", entry.file));
      item.append(file);
    }
    item.append(views(entry, isRight));
    if (entry.nearest) item.append(training(entry));
    return item;
  }

  // ---- training images ----

  function training(entry) {
    const box = element("details", "training");
    box.open = true;
    const first = data.training.images[entry.nearest[0][0]].label;
    const votes = entry.nearest.filter(([position]) => data.training.images[position].label === entry.true).length;
    const summary = element("summary", "", "nearest training images: ");
    summary.append(`${votes} of ${entry.nearest.length} of the true class, the nearest is `, name(first));
    const row = element("ol", "nearest");
    for (const [position, distance] of entry.nearest) {
      row.append(thumbnail(position, entry, `${distance}`, `distance ${distance}`));
    }
    box.append(summary, row);
    if (entry.influential.length) {
      const influential = element("ol", "nearest");
      for (const [position, value] of entry.influential) {
        const effect = value < 0 ? "raises the loss" : "lowers the loss";
        influential.append(thumbnail(position, entry, effect, `${effect}, influence ${value}`));
      }
      box.append(element("p", "numbers", "most influential training images (TracIn)"), influential);
    }
    return box;
  }

  function thumbnail(position, entry, caption, description) {
    const image = data.training.images[position];
    const item = element("li");
    const text = `training image ${image.index}${image.file ? `, ${image.file}` : ""}: ${classes[image.label]}, ${description}`;
    const canvas = trainingSprite.picture(position, text);
    canvas.title = text;
    const label = name(image.label);
    label.className = image.label === entry.true ? "right" : image.label === entry.predicted ? "wrong" : "";
    item.append(canvas, label, element("span", "numbers", caption));
    return item;
  }

  function name(label) {
    return element("bdi", "", classes[label]);
  }

  function views(entry, isRight) {
    const row = element("div", "views");
    const image = new Image();
    image.alt = `test image ${entry.index}`;
    image.src = entry.image;
    row.append(figure(image, "image"));
    const maps = [["predicted", `evidence for ${classes[entry.predicted]}`]];
    if (!isRight) maps.push(["true", `evidence for ${classes[entry.true]}`], ["contrast", "contrast"]);
    const drawings = [];
    for (const [kind, caption] of maps) {
      if (entry.maps[kind] === null) {
        const none = element("div", "none", "no positive evidence");
        none.style.aspectRatio = "1";
        row.append(figure(none, caption));
        continue;
      }
      const canvas = element("canvas");
      const values = decode(entry.maps[kind]);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${kind === "contrast" ? `contrast of ${classes[entry.predicted]} and ${classes[entry.true]}` : caption}: ${strongest(values)}`);
      drawings.push([canvas, values, kind === "contrast"]);
      row.append(figure(canvas, caption));
    }
    image.decode().then(() => drawings.forEach((drawing) => draw(image, ...drawing))).catch(() => {});
    return row;
  }

  function figure(content, caption) {
    const made = element("figure");
    const text = element("figcaption", "", caption);
    text.dir = "auto";
    made.append(content, text);
    return made;
  }

  // ---- maps ----

  function decode(text) {
    return Int8Array.from(atob(text), (character) => (character.charCodeAt(0) << 24) >> 24);
  }

  function strongest(values) {
    let best = 0;
    for (let i = 1; i < values.length; i++) if (Math.abs(values[i]) > Math.abs(values[best])) best = i;
    const third = (position, size) => Math.min(2, Math.floor((3 * (position + 0.5)) / size));
    const row = ["upper", "middle", "lower"][third(Math.floor(best / mapColumns), mapRows)];
    const column = ["left", "centre", "right"][third(best % mapColumns, mapColumns)];
    return `strongest at ${row} ${column}`;
  }

  // Interpolates bilinearly; a cell's value lies at the centre of its pixels, as with align_corners=False in PyTorch.
  function sample(values, y, x) {
    const clamp = (value, size) => Math.min(Math.max(value, 0), size - 1);
    const top = clamp(y, mapRows), left = clamp(x, mapColumns);
    const y0 = Math.floor(top), x0 = Math.floor(left);
    const y1 = Math.min(y0 + 1, mapRows - 1), x1 = Math.min(x0 + 1, mapColumns - 1);
    const fy = top - y0, fx = left - x0, at = (row, column) => values[row * mapColumns + column];
    return (at(y0, x0) * (1 - fx) + at(y0, x1) * fx) * (1 - fy) + (at(y1, x0) * (1 - fx) + at(y1, x1) * fx) * fy;
  }

  function draw(image, canvas, values, isSigned) {
    const scale = Math.max(1, Math.round(SIDE / Math.max(image.naturalWidth, image.naturalHeight)));
    canvas.width = image.naturalWidth * scale;
    canvas.height = image.naturalHeight * scale;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const value = sample(values, ((y + 0.5) * mapRows) / canvas.height - 0.5, ((x + 0.5) * mapColumns) / canvas.width - 0.5) / 127;
        const offset = 4 * (y * canvas.width + x);
        const grey = 0.299 * pixels.data[offset] + 0.587 * pixels.data[offset + 1] + 0.114 * pixels.data[offset + 2];
        const colour = isSigned ? (value > 0 ? PREDICTED_COLOUR : TRUE_COLOUR) : palette[Math.round(Math.max(0, value) * (palette.length - 1))];
        const weight = isSigned ? 0.85 * Math.abs(value) : opacity;
        for (let channel = 0; channel < 3; channel++) {
          pixels.data[offset + channel] = (1 - weight) * grey + weight * colour[channel];
        }
      }
    }
    context.putImageData(pixels, 0, 0);
  }

  // ---- the confusion matrix ----

  const cellLinks = [...document.querySelectorAll(".matrix td a")];
  const cellAt = (row, column) => document.querySelector(`.matrix tbody tr:nth-child(${row + 1}) td:nth-child(${column + 2}) a`);
  const positionOf = (link) => [link.closest("tr").rowIndex - 1, link.closest("td").cellIndex - 1];

  function markCell() {
    document.querySelectorAll(".matrix td.chosen").forEach((cell) => cell.classList.remove("chosen"));
    cellLinks.forEach((link) => link.removeAttribute("aria-current"));
    if (!choice.true || !choice.predicted) return;
    const [row, column] = [choice.true, choice.predicted].map((text) => data.matrix_labels.indexOf(classes.indexOf(text)));
    const link = row >= 0 && column >= 0 && cellAt(row, column);
    if (!link) return;
    link.closest("td").classList.add("chosen");
    link.setAttribute("aria-current", "true");
    stopAt(link);
  }

  function stopAt(link) { // one stop of the tab key in the whole matrix
    cellLinks.forEach((other) => (other.tabIndex = other === link ? 0 : -1));
  }

  function moveInMatrix(event) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const link = event.target.closest(".matrix td a");
    if (!step || !link) return;
    event.preventDefault();
    let [row, column] = positionOf(link);
    for (;;) {
      row += step[0];
      column += step[1];
      if (row < 0 || column < 0 || row >= data.matrix_labels.length || column >= data.matrix_labels.length) return;
      const next = cellAt(row, column);
      if (next) {
        stopAt(next);
        next.focus();
        return;
      }
    }
  }

  // ---- examples of each class ----

  function fillExamples() {
    for (const row of document.querySelectorAll("tr[data-class]")) {
      const label = Number(row.dataset.class);
      for (const cell of row.querySelectorAll("[data-example]")) {
        const position = data.examples[label][cell.dataset.example];
        if (position === undefined) {
          cell.textContent = "none";
          continue;
        }
        const entry = entries[position];
        const link = element("a");
        const kind = entry.true === entry.predicted ? "right" : "mistakes";
        link.href = "#" + new URLSearchParams({ kind, text: entry.index });
        const image = new Image();
        image.className = "pixels";
        image.alt = `test image ${entry.index}`;
        image.src = entry.image;
        link.append(image, element("br"), name(entry.predicted), ` ${percent(entry.confidence)}`);
        cell.append(link);
      }
    }
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => takeForm(false));
  form.elements.text.addEventListener("input", () => takeForm(true));
  document.getElementById("clear").addEventListener("click", () => {
    choice = { ...DEFAULTS };
    for (const name of FIELDS) form.elements[name].value = choice[name];
    writeAddress(false);
    update();
  });
  more.addEventListener("click", () => {
    const before = shown;
    showMore();
    const first = cards.children[before];
    if (first) {
      first.tabIndex = -1;
      first.focus({ preventScroll: true });
    }
  });
  document.querySelector(".matrix").addEventListener("keydown", moveInMatrix);
  window.addEventListener("hashchange", () => {
    if (!readAddress()) return;
    update();
    const title = document.getElementById("images-title");
    title.scrollIntoView();
    title.focus({ preventScroll: true });
  });
  if (cellLinks.length) stopAt(cellLinks[0]);
  fillExamples();
  readAddress();
  update();
  if (location.hash.includes("=")) document.getElementById("images-title").scrollIntoView();
})();
