"""The verbs of the command line, and the text of `firstlight --help`. The help of an option is in its verb's module."""

from __future__ import annotations

# Each verb is a module beside this one with `run(arguments) -> None`.
VERBS = {
    "demo": "train, test and explain on the embedded data, in a minute or two",
    "fit": "train and test by a recipe, and write a run folder",
    "test": "test a run again, or on other labelled images",
    "explain": "draw the mistakes of a run, with the evidence for their classes",
    "report": "write one HTML page about a run: metrics, mistakes, maps",
    "audit": "find wrong labels, copies and odd images in a data set",
    "compare": "say whether one run is better than another, and on which images",
    "predict": "classify your own images",
    "app": "serve the live demo: classify pictures, and see the evidence",
    "export": "write a folder to share: for a model hub, or a Hugging Face Space",
    "show": "draw the data: samples, classes, channels, augmentation",
    "summary": "print the layer table of a network, and draw its diagram",
    "download": "download and verify data sets",
    "sweep": "search the fields of a recipe for the highest validation accuracy",
    "bench": "measure this machine, and estimate how long each recipe takes",
    "recipes": "list the recipes: what each is for, and its test accuracy",
}

HELP = """usage: firstlight VERB [OPTION ...]

Trains a small-image classifier in seconds to minutes, and shows what it gets wrong and why.

{verbs}

Start with `firstlight demo`. `firstlight VERB --help` lists the options of a verb.
"""


def help_text() -> str:
    """Return the text of `firstlight --help`."""
    width = max(map(len, VERBS)) + 2
    return HELP.format(verbs="\n".join(f"  {verb:<{width}}{line}" for verb, line in VERBS.items()))
