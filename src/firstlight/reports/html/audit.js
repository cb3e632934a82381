"use strict";
// Decisions about the images of an audit: each is keep, drop or relabel:NAME. They are saved as a CSV file.
(() => {
  const { classes, decisions, file } = JSON.parse(document.getElementById("data").textContent);
  const selects = [...document.querySelectorAll("select[data-split]")];
  const count = document.getElementById("decided");
  const save = document.getElementById("save");
  const MAX_OPTIONS = 100; // with more classes, only those that a finding names can be chosen
  const keyOf = (row) => `${row.split}\n${row.file ? "file" : "id"}\n${row.file || row.id}`; // a file keeps its name; its id may change
  const key = (select) => keyOf(select.dataset);
  const chosen = new Map(decisions.map((row) => [keyOf(row), row]));

  function option(value, text) {
    return Object.assign(document.createElement("option"), { value, textContent: text });
  }

  function fill(select) {
    const likely = select.dataset.likely ? select.dataset.likely.split(",").map(Number) : [];
    const others = classes.length <= MAX_OPTIONS ? [...classes.keys()].filter((label) => !likely.includes(label)) : [];
    select.append(option("", "undecided"), option("keep", "keep as it is"), option("drop", "drop the image"));
    for (const label of [...likely, ...others]) {
      if (label !== Number(select.dataset.given)) select.append(option(`relabel:${classes[label]}`, `relabel: ${classes[label]}`));
    }
    const before = chosen.get(key(select));
    if (before && ![...select.options].some((each) => each.value === before.decision)) select.append(option(before.decision, before.decision));
    if (before) select.value = before.decision;
    select.addEventListener("change", () => take(select));
  }

  function take(select) {
    const { split, id, file } = select.dataset;
    if (select.value) chosen.set(key(select), { split, id, file: file || "", decision: select.value });
    else chosen.delete(key(select));
    for (const other of selects) if (key(other) === key(select)) other.value = select.value; // an image may be shown twice
    update();
  }

  function update() {
    for (const select of selects) select.closest(".card").classList.toggle("decided", [...select.closest(".card").querySelectorAll("select")].some((each) => each.value));
    count.textContent = `${chosen.size} decided`;
    save.disabled = !chosen.size;
  }

  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  function download() {
    const rows = [...chosen.values()].map((row) => [row.split, row.id, row.file, row.decision].map((value) => quoted(String(value))).join(","));
    const content = new Blob([["split,id,file,decision", ...rows, ""].join("\n")], { type: "text/csv" });
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(content), download: file });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  selects.forEach(fill);
  save.addEventListener("click", download);
  update();
})();
