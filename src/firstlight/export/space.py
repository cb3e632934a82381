"""Write a folder for a Hugging Face Space: the app, its model, this package, and pinned requirements for a CPU."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path

import firstlight
from firstlight.errors import MissingPackageError
from firstlight.export.bundle import BUNDLED_PATH, Bundle
from firstlight.export.copy_bundle import copy_bundle
from firstlight.export.space_files import front_matter, lfs_attributes
from firstlight.extras import install_command

PACKAGE = Path(firstlight.__file__).parent
MODEL_FOLDER = "model"
BROWSER_DEMO = "web"  # the part of the package that a Space with Python does not need
# Packages that the app imports, pinned to the installed versions. Gradio's own dependencies are not pinned, because a
# Space installs extras of Gradio whose version bounds might contradict ours.
REQUIREMENTS = ("gradio", "jaxtyping", "matplotlib", "numpy", "pillow", "rich", "safetensors", "torch")
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"

APP = '''\
"""The live demo of firstlight: `python app.py` serves it here, a Space serves it to everyone."""

from contextlib import suppress
from pathlib import Path

from firstlight.app.serving import serve
from firstlight.export.bundle import Bundle

if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        serve(Bundle(Path(__file__).parent / "{model}"))
'''

README = """\
# {title}

Upload a picture and see which of {num_classes} classes the model predicts, with which probability, and which pixels
are the evidence for it. The model classifies {accuracy} of {num_test} test images correctly, with one view each.
[model/README.md]({model}/README.md) is the card of the model.

Uploads are not kept: files are deleted after about a minute, and there are no analytics.

Start it on your own machine with `pip install -r requirements.txt` and `python app.py`.

| file | what it is |
|---|---|
| `app.py` | starts the app |
| `model/` | {contents} |
| `firstlight/` | the package, version {version} |
| `requirements.txt` | exact versions; PyTorch's CPU build where its index can be reached |
"""

IMAGES = ", example images, misclassified test images"

ATTRIBUTES = lfs_attributes("safetensors", "png")


def write_space(bundle: Bundle, folder: Path, licence: str | None = None, with_images: bool = True) -> None:
    """Write a folder that holds everything that a Space needs.

    Args:
        bundle: Model to serve.
        folder: Folder to write to; created if it does not exist.
        licence: Identifier of the licence that the user gives the weights; None keeps the bundle's.
        with_images: Whether to include the examples and the misclassified test images.

    Raises:
        MissingPackageError: A package whose version must be pinned is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "requirements.txt").write_text(requirements(), encoding="utf-8")
    bundle = copy_bundle(bundle, folder / MODEL_FOLDER, licence, with_images)
    (folder / "README.md").write_text(f"---\n{_front_matter(bundle)}---\n\n{_readme(bundle)}", encoding="utf-8")
    (folder / "app.py").write_text(APP.format(model=MODEL_FOLDER), encoding="utf-8")
    (folder / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", BUNDLED_PATH.name, BROWSER_DEMO)
    shutil.copytree(PACKAGE, folder / "firstlight", ignore=ignored)


def requirements() -> str:
    """Return the content of `requirements.txt`: the installed version of every package that the app imports.

    The extra index has PyTorch's build for CPUs. Its version has the local suffix "+cpu", so pip prefers it.

    Raises:
        MissingPackageError: One of the packages is not installed.
    """
    pins = [f"{name}=={version_of(name)}" for name in REQUIREMENTS]
    return "\n".join([f"--extra-index-url {CPU_BUILDS}", *pins]) + "\n"


def version_of(package: str) -> str:
    """Return the version of an installed package without a local suffix such as "+cpu".

    Raises:
        MissingPackageError: The package is not installed.
    """
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise MissingPackageError(
            f"a Space pins {package}, which is not installed here: {install_command('app')}"
        ) from error


def _front_matter(bundle: Bundle) -> str:
    return front_matter(
        bundle,
        sdk="gradio",
        sdk_version=version_of("gradio"),
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        app_file="app.py",
        short_description="Classify a picture, and see what the model looked at",
    )


def _readme(bundle: Bundle) -> str:
    test = bundle.measured["test"]
    return README.format(
        title=bundle.title,
        num_classes=len(bundle.class_names),
        accuracy=f"{test['single_view']:.2%}",
        num_test=f"{test['num_images']:,}",
        model=MODEL_FOLDER,
        contents="weights, configuration, card" + (IMAGES if bundle.has_images else ""),
        version=firstlight.__version__,
    )
