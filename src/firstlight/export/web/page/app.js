// @ts-check
/** Puts the page together: three tabs, and the worker that answers them. */

import { ClassifyTab } from "./classify.js";
import { Engine } from "./engine.js";
import { makeFacts } from "./facts.js";
import { MistakesTab } from "./mistakes.js";
import { fetchJson } from "./model.js";
import { keepOffline } from "./offline.js";
import { Startup } from "./startup.js";
import { makeTabs } from "./tabs.js";

const LARGE = ["model.onnx", "runtime/ort-wasm-simd-threaded.wasm.gz"]; // what the worker downloads

const [model, content] = await Promise.all([fetchJson("model.json"), fetchJson("files.json")]);
const page = /** @type {HTMLElement} */ (document.getElementById("page"));
const cached = /** @type {HTMLElement} */ (document.getElementById("cached"));

document.title = `firstlight: ${model.title}`;
/** @type {HTMLElement} */ (document.getElementById("about")).textContent = model.about;

const startup = new Startup(LARGE.reduce((sum, name) => sum + content.files[name], 0));
const engine = new Engine((numBytes) => startup.add(numBytes), () => keepOffline(cached));
const mistakes = new MistakesTab(model, engine);
const facts = document.createElement("div");
page.replaceChildren(
  ...makeTabs([
    { name: "Classify", panel: new ClassifyTab(model, engine, startup.element).element },
    { name: "Mistakes", panel: mistakes.element, onShow: () => mistakes.open() },
    { name: "Model", panel: facts, onShow: () => facts.hasChildNodes() || facts.append(makeFacts(model)) },
  ]),
);
const list = { cache: `firstlight ${new URL("./", import.meta.url)} ${content.version}`, files: content.files };
engine.load({ list, sizePx: model.size_px, limits: model.limits }).then(() => startup.finish(), (error) => startup.fail(error));
