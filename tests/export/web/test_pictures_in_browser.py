"""The page predicts what `firstlight predict` predicts for the same file, within the stated differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firstlight.export.bundle import Bundle
from made_pictures import made_pictures
from reference.browser import Page
from reference.hostile import BAD, GOOD

pytestmark = pytest.mark.slow

# Reads files of the host with the page's own modules: for each name the probabilities, or the reason of the refusal.
READ_ALL = """
const [names, done] = arguments;
(async () => {
  const { Engine } = await import("./engine.js");
  const { fetchJson } = await import("./model.js");
  const [model, content] = await Promise.all([fetchJson("model.json"), fetchJson("files.json")]);
  const engine = new Engine(() => {}, () => {});
  await engine.load({ list: { cache: "test", files: content.files }, sizePx: model.size_px, limits: model.limits });
  const found = {};
  for (const name of names) {
    const file = await (await fetch(`/pictures/${encodeURIComponent(name)}`)).blob();
    try {
      const { answer, notes } = await engine.read(file, name, { method: 0, stage: 0, target: -1 });
      found[name] = { probabilities: [...answer.probabilities], isNovel: answer.isNovel, notes };
    } catch (error) {
      found[name] = { refusal: error.message, kind: error.constructor.name };
    }
  }
  done(JSON.stringify(found));
})().catch((error) => done(JSON.stringify({ error: String(error) })));
"""
# Largest differences of a probability for the tiny network, whose head is steep; `benchmarks/browser.py` has others.
SAME_PIXELS = 1e-4
DEEP = 0.1  # 16 bits: the browser rounds to 8 bits, `predict` truncates
LARGE_JPEG = 0.15  # `predict` decodes a JPEG at a lower resolution if that is enough, the browser does not
# The app refuses them for the work or the memory that they take; the page leaves that to the browser.
ACCEPTED = ("too long.png", "small bomb.png", "comment.gif")
LARGE_JPEGS = ("photo-4", "photo-7", "photo-8", "turned", "progressive", "cmyk")


def read_all(page: Page, host: Path, files: dict[str, bytes]) -> dict[str, Any]:
    folder = host / "pictures"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    page.driver.set_script_timeout(120)
    found = json.loads(page.driver.execute_async_script(READ_ALL, list(files)))
    assert "error" not in found, found["error"]
    return dict(found)


def allowed(name: str) -> float:
    if name.endswith(".jpg") and name.startswith(LARGE_JPEGS):
        return LARGE_JPEG
    return DEEP if name.startswith("deep") else SAME_PIXELS


def test_a_hundred_made_pictures_get_the_probabilities_of_predict(page: Page, host: Path, bundle: Bundle) -> None:
    files = dict(made_pictures())
    assert len(files) == 100
    found = read_all(page, host, files)
    differences = {}
    for name in files:
        expected = bundle.predict(host / "pictures" / name)
        pairs = zip(bundle.class_names, found[name]["probabilities"], strict=True)
        differences[name] = max(abs(expected.probabilities[label] - share) for label, share in pairs)
    worst = sorted(differences.items(), key=lambda pair: -pair[1])[:12]
    assert {name: found for name, found in differences.items() if found > allowed(name)} == {}, worst


def test_unusual_pictures_are_read_with_their_notes(page: Page, host: Path, bundle: Bundle) -> None:
    found = read_all(page, host, {name: make() for name, make in GOOD.items()})
    for name in GOOD:
        expected = bundle.predict(host / "pictures" / name)
        assert bundle.class_names[max(range(4), key=found[name]["probabilities"].__getitem__)] == expected.label, name
        assert found[name]["isNovel"] == expected.is_novel
    first_frame = "Only the first frame of this animation is used."
    assert {name for name in GOOD if first_frame in found[name]["notes"]} == {
        "animated.gif",
        "animated.png",
        "animated.webp",
    }
    assert {name for name in GOOD if any("Only the centre" in note for note in found[name]["notes"])} == {
        "long.png",
        "high.png",
    }


def test_hostile_files_are_refused_in_one_line(page: Page, host: Path) -> None:
    names = [name for name in BAD if name not in ACCEPTED]
    found = read_all(page, host, {name: BAD[name][0]() for name in names})
    assert [name for name in names if found[name].get("kind") != "Refusal"] == []
    for name in names:
        assert found[name].get("kind") == "Refusal", (name, found[name])
        assert found[name]["refusal"].startswith(name)
        assert "\n" not in found[name]["refusal"]
