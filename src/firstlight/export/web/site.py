"""Write the folder of the browser demo: a static page with the model, which any static host can serve."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import onnx

import firstlight
from firstlight.export.bundle import Bundle
from firstlight.export.card import CARD_NAME
from firstlight.export.copy_bundle import copy_bundle
from firstlight.export.onnx.model_file import write_onnx_model
from firstlight.export.page_texts import accuracy_text
from firstlight.export.space_files import front_matter, lfs_attributes
from firstlight.export.web.image_sheets import write_examples, write_mistakes
from firstlight.export.web.model_json import write_model_json
from firstlight.export.web.runtime import DIGESTS_NAME, LICENCES, NAMES, RUNTIME_PATH, check_runtime
from firstlight.files import write_atomic

PAGE_PATH = Path(__file__).parent / "page"  # sources of the page
MODEL_NAME, CARD_COPY, FILES_NAME, WORKER_NAME = "model.onnx", "model-card.md", "files.json", "sw.js"
NOT_STORED = (*LICENCES, DIGESTS_NAME, "README.md")  # files without which the page works offline
VERSION_LENGTH = 16  # digits of the digest that names a version of the page
ATTRIBUTES = lfs_attributes("onnx", "gz", "png")

README = """\
# {title}

A page that classifies pictures and shows the evidence for each class. The model runs in the visitor's browser: pictures
never leave it, and there is no server to keep running. {accuracy}
[{card}]({card}) is the card of the model.

Any static host serves this folder as it is, also from a sub-path: a Hugging Face static Space, GitHub Pages, or on your
own machine `python -m http.server`. The page stores itself in the browser and then works offline.

| file | what it is |
|---|---|
| `index.html`, `style.css`, `*.js` | the page, modules that need no build step |
| `model.onnx` | the model, including preprocessing, calibration and evidence maps |
| `model.json`, `network.svg` | facts about the model, and a drawing of its network |
| `runtime/` | ONNX Runtime Web, which runs the model (its licence is beside it) |
{images}
Written by firstlight {version}.
"""
IMAGES = "| `examples-*.png`, `mistakes-*.png`, `mistakes.json` | example images, misclassified test images |\n"


def write_web(bundle: Bundle, folder: Path, licence: str | None = None, with_images: bool = True) -> None:
    """Write a folder that a static host serves.

    Args:
        bundle: Model to show.
        folder: Folder to write to; created if it does not exist.
        licence: Identifier of the licence that the user gives the weights; None keeps the bundle's.
        with_images: Whether to include the examples and the misclassified test images.
    """
    check_runtime()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = copy_bundle(bundle, Path(temporary) / "bundle", licence, with_images)
        metadata = _write_onnx(bundle, folder / MODEL_NAME)
        has_images = bundle.has_images
        examples = write_examples(bundle, folder) if has_images else None
        if has_images:
            write_mistakes(bundle, folder)
        write_model_json(bundle, folder, metadata, examples, has_images)
        shutil.copyfile(bundle.path / CARD_NAME, folder / CARD_COPY)
        write_atomic(folder / "README.md", f"---\n{_front_matter(bundle)}---\n\n{_readme(bundle)}")
    write_atomic(folder / ".gitattributes", ATTRIBUTES)
    write_atomic(folder / ".nojekyll", "")  # GitHub Pages then serves all files as they are
    _copy_page(folder)
    _list_files(folder)


def _write_onnx(bundle: Bundle, path: Path) -> dict[str, str]:
    """Write the ONNX file, with weights in half precision as the bundle has them; return its metadata."""
    write_onnx_model(bundle, path, weights="float16")
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def _copy_page(folder: Path) -> None:
    for source in sorted(PAGE_PATH.iterdir()):
        if source.is_file():
            shutil.copyfile(source, folder / source.name)
    (folder / RUNTIME_PATH.name).mkdir()
    for name in NAMES:
        shutil.copyfile(RUNTIME_PATH / name, folder / RUNTIME_PATH.name / name)


def _list_files(folder: Path) -> None:
    """Write `files.json` with the size of each file, and write the list and its version into the service worker."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    version = digest.hexdigest()[:VERSION_LENGTH]
    sizes = {name: len(content) for name, content in files.items() if name != WORKER_NAME}
    write_atomic(folder / FILES_NAME, json.dumps({"version": version, "files": sizes}, indent=2) + "\n")
    stored = [name for name in (*sizes, FILES_NAME) if Path(name).name not in NOT_STORED]
    content_line = f"self.CONTENT = {json.dumps({'version': version, 'files': stored})};\n"
    write_atomic(folder / WORKER_NAME, content_line + (PAGE_PATH / WORKER_NAME).read_text(encoding="utf-8"))


def _front_matter(bundle: Bundle) -> str:
    description = "Classify a picture in your own browser"
    return front_matter(bundle, sdk="static", app_file="index.html", short_description=description)


def _readme(bundle: Bundle) -> str:
    return README.format(
        title=bundle.title,
        accuracy=accuracy_text(bundle),
        card=CARD_COPY,
        images=IMAGES if bundle.has_images else "",
        version=firstlight.__version__,
    )
