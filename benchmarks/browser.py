"""Measure the browser demo in headless Chromium: first visit, time of a picture with its map, and equality.

    python benchmarks/browser.py

The demo is that of the bundled model, or of `--place BUNDLE`, on a host on loopback that does not compress files. The
model runs in one thread. A first visit is a new browser; its time ends when the answer to an example is on the page.
The last part is how much the probabilities differ from those of `firstlight predict` for the same files.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from browser_client import StaticHost, chromium
from firstlight.export.bundle import BUNDLED_PATH, Bundle
from firstlight.export.web.site import write_web
from made_pictures import made_pictures, saved, scene
from record import command_line, record, spread

SIZES_PX = {"0.001 megapixels": (32, 32), "1.2 megapixels": (1280, 960), "12 megapixels": (4000, 3000)}
NUM_WARM_UP = 5
SIDE_PX = 32  # of the input of the network
FIRST_VISIT = """
const done = arguments[0];
const look = () => {
  const example = document.querySelector(".fl-example:enabled");
  if (document.querySelector("#answer .fl-map")) done(performance.now());
  else {
    if (example && !document.querySelector("#answer article")) example.click();
    setTimeout(look, 5);
  }
};
look();
"""
# An engine of the page's own modules, apart from the one of the page.
ENGINE = """
const { Engine } = await import("./engine.js");
const read = async (name) => (await fetch(name)).json();
const [model, content] = [await read("model.json"), await read("files.json")];
const engine = new Engine(() => {}, () => {});
await engine.load({ list: { cache: "measured", files: content.files }, sizePx: model.size_px, limits: model.limits });
const settings = (stage) => ({ method: 0, stage: stage < 0 ? model.stages.length - 1 : stage, target: -1 });
const fileOf = async (name) => (await fetch(`/pictures/${encodeURIComponent(name)}`)).blob();
"""
TIMES = """
const [name, stage, numTurns, done] = arguments;
(async () => {%s
  const file = await fileOf(name), milliseconds = [];
  for (let turn = 0; turn < numTurns; turn++) {
    const start = performance.now();
    await engine.read(file, name, settings(stage));
    milliseconds.push(performance.now() - start);
  }
  done(milliseconds);
})();
"""
PROBABILITIES = """
const [names, done] = arguments;
(async () => {%s
  const found = {};
  for (const name of names) {
    const { answer } = await engine.read(await fileOf(name), name, settings(-1));
    found[name] = [...answer.probabilities];
  }
  done(JSON.stringify(found));
})();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, default=BUNDLED_PATH, help="a bundle")
    parser.add_argument("--num_visits", type=int, default=5)
    parser.add_argument("--num_turns", type=int, default=30)
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    options = parser.parse_args()
    bundle, load = Bundle(options.place), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary, StaticHost(Path(temporary)) as host:
        write_web(bundle, Path(temporary) / "demo")
        results: dict[str, Any] = {"what": "the browser demo in headless Chromium, one thread", "load_average": load}
        results |= measure_visits(host, options.num_visits)
        pictures = Path(temporary) / "pictures"
        pictures.mkdir()
        results["milliseconds"] = measure_times(host, pictures, options.num_turns)
        results["differences"] = measure_differences(host, pictures, bundle)
    print(json.dumps({name: value for name, value in results.items() if name != "milliseconds"}, indent=2))
    for name, numbers in results["milliseconds"].items():
        print(f"{name:40} {numbers['median']:7.1f} ms median, {max(numbers['values']):7.1f} ms longest")
    if not options.dry_run:
        print(record("browser", command_line(), results))


def measure_visits(host: StaticHost, num_visits: int) -> dict[str, Any]:
    """Return the seconds to the first answer of new browsers, and the bytes that a first visit downloads."""
    seconds, num_bytes = [], 0
    for _ in range(num_visits):
        with chromium() as driver:
            host.num_bytes = 0
            driver.get(f"{host.address}/demo/")
            seconds.append(driver.execute_async_script(FIRST_VISIT) / 1000)
            num_bytes = host.num_bytes
            version = driver.capabilities["browserVersion"]
    return {"chromium": version, "first_answer_s": spread(seconds), "first_answer_bytes": num_bytes}


def measure_times(host: StaticHost, pictures: Path, num_turns: int) -> dict[str, Any]:
    """Return the milliseconds to read, classify and explain a JPEG, by its size and by the stage of the map."""
    found = {}
    for size, (width, height) in SIZES_PX.items():
        (pictures / "photo.jpg").write_bytes(saved(photo(width, height), "JPEG", quality=90))
        for stage, index in (("last stage", -1), ("first stage", 0)):
            with chromium() as driver:
                driver.get(f"{host.address}/demo/")
                values = driver.execute_async_script(TIMES % ENGINE, "photo.jpg", index, num_turns + NUM_WARM_UP)
            found[f"{size}, {stage}"] = spread(values[NUM_WARM_UP:])
    return found


def photo(width: int, height: int) -> Image.Image:
    """Return a smooth picture with some noise, as large photographs are."""
    return Image.fromarray(scene(320, 240, 0)).resize((width, height), Image.Resampling.BICUBIC)


def measure_differences(host: StaticHost, pictures: Path, bundle: Bundle) -> dict[str, Any]:
    """Return the largest difference of a probability between the page and `predict`, by kind of picture."""
    files = dict(made_pictures())
    for name, content in files.items():
        (pictures / name).write_bytes(content)
    with chromium() as driver:
        driver.get(f"{host.address}/demo/")
        found = json.loads(driver.execute_async_script(PROBABILITIES % ENGINE, list(files)))
    kinds: dict[str, list[float]] = {}
    for name, content in files.items():
        expected = bundle.predict(pictures / name).probabilities
        ours = np.array([expected[label] for label in bundle.class_names])
        kinds.setdefault(kind_of(name, content), []).append(float(np.abs(ours - np.array(found[name])).max()))
    return {kind: {"n": len(values), "largest": max(values)} for kind, values in kinds.items()}


def kind_of(name: str, content: bytes) -> str:
    """Return the kind of a made picture; `predict` decodes a large JPEG at a lower resolution."""
    if name.endswith(".jpg"):
        with Image.open(io.BytesIO(content)) as image:
            return "large JPEG" if min(image.size) >= 8 * SIDE_PX else "JPEG"
    if name.startswith("deep"):
        return "PNG of 16 bits"
    return {".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WebP"}[Path(name).suffix]


if __name__ == "__main__":
    main()
