"""A folder for a Hugging Face Space: the app, its model, this package, and pins that install on CPU hardware."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path

import yaml

import firstlight
from firstlight.errors import MissingPackageError
from firstlight.export.bundle import BUNDLED_PATH, Bundle

PACKAGE = Path(firstlight.__file__).parent
MODEL_FOLDER = "model"
# What the app imports; the versions are those that it is exported with. Gradio's own dependencies are left to
# Gradio: a Space adds extras of Gradio whose bounds pins of ours could contradict.
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

Upload a picture and see which of {num_classes} classes the model takes it for, how sure it is, and what spoke for it;
browse what it gets wrong in the test split. {accuracy} of {num_test} test images are right, one view each.
[model/README.md]({model}/README.md) is the model's card.

Nothing that is uploaded is kept: files are deleted after about a minute, and there are no analytics.

Start it on your own machine with `pip install -r requirements.txt` and `python app.py`.

| file | what it is |
|---|---|
| `app.py` | starts the app |
| `model/` | weights, configuration, card, example images, misclassified test images |
| `firstlight/` | the package, version {version} |
| `requirements.txt` | exact versions; PyTorch's CPU build where its index can be reached |
"""

# Files that git keeps out of line, as a Space requires of large and binary ones.
ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in ("safetensors", "png"))


def write_space(bundle: Bundle, folder: Path) -> None:
    """Write all that a Space needs into a folder; it starts from that folder alone.

    Args:
        bundle: the model.
        folder: empty, or made.

    Raises:
        MissingPackageError: a package to pin is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "requirements.txt").write_text(requirements())
    (folder / "README.md").write_text(f"---\n{_front_matter(bundle)}---\n\n{_readme(bundle)}")
    (folder / "app.py").write_text(APP.format(model=MODEL_FOLDER))
    (folder / ".gitattributes").write_text(ATTRIBUTES)
    shutil.copytree(bundle.path, folder / MODEL_FOLDER)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", BUNDLED_PATH.name)
    shutil.copytree(PACKAGE, folder / "firstlight", ignore=ignored)


def requirements() -> str:
    """Return `requirements.txt`: the installed version of everything that the app imports.

    The CPU index offers the same version of PyTorch with a local suffix, which pip prefers.
    """
    pins = [f"{name}=={version_of(name)}" for name in REQUIREMENTS]
    return "\n".join([f"--extra-index-url {CPU_BUILDS}", *pins]) + "\n"


def version_of(package: str) -> str:
    """Return an installed package's public version, without a suffix such as "+cpu"."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise MissingPackageError(
            f"a Space pins {package}, which is not installed here: pip install 'firstlight[app]'"
        ) from error


def _front_matter(bundle: Bundle) -> str:
    content = {
        "title": f"firstlight: {type(bundle.network).__name__} on {bundle.data_name}",
        "emoji": "\N{SUNRISE}",
        "colorFrom": "indigo",
        "colorTo": "yellow",
        "sdk": "gradio",
        "sdk_version": version_of("gradio"),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "license": "mit",
        "short_description": "Classify a picture, and see what the model looked at",
        "pinned": False,
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _readme(bundle: Bundle) -> str:
    test = bundle.measured["test"]
    return README.format(
        title=bundle.title,
        num_classes=len(bundle.class_names),
        accuracy=f"{test['single_view']:.2%}",
        num_test=f"{test['num_images']:,}",
        model=MODEL_FOLDER,
        version=firstlight.__version__,
    )
