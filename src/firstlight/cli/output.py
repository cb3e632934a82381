"""Print the results of runs."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from firstlight.durations import duration
from firstlight.native.libraries import kernel_report, report_line
from firstlight.reports.class_report import class_summary, class_table
from firstlight.runs.run import Run


def print_run(run: Run) -> None:
    """Print the results of a run, and where to find its files."""
    results = run.results
    table = Table(title=f"{run.recipe.name} on {run.data['name']}", title_justify="left")
    for column in ("split", "accuracy", "loss"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, accuracy, loss in (
        ("train, last epoch, augmented", "train_acc_epoch", "train_loss_epoch"),
        ("val", "val_acc", "val_loss"),
        ("test, single view", "test_acc", "test_loss"),
        (f"test, tta ({run.recipe.views})", "test_acc_tta", None),
    ):
        if accuracy in results:
            table.add_row(split, f"{results[accuracy]:.2%}", f"{results[loss]:.4f}" if loss in results else "")
    console = Console(soft_wrap=True, markup=False, emoji=False)  # names are the user's own
    console.print(table)
    print_classes(results)
    if "train_s" in results and "total_s" in results:
        times = f"trained in {duration(results['train_s'])}, {duration(results['total_s'])} in all"
        console.print(times, highlight=False)
    kernels = report_line(kernel_report())
    if kernels is not None:
        console.print(kernels, highlight=False)
    console.print(f"run folder: {run.path}", highlight=False)
    tensorboard = f"{shell_command('tensorboard')} --logdir {run.path.parent.parent}"
    console.print(f"curves:     {tensorboard}", highlight=False)


def print_next(run: Run) -> None:
    """Print the commands that show what a run gets wrong."""
    firstlight, console = shell_command("firstlight"), Console(soft_wrap=True, markup=False, emoji=False)
    mistakes, path = run.path / "misclassified.png", shlex.quote(str(run.path))
    if mistakes.is_file():
        console.print(f"mistakes:   {mistakes}", highlight=False)
    console.print(f"next:       {firstlight} report {path}    # all mistakes, and why", highlight=False)
    console.print(f"            {firstlight} app {path}    # classify pictures in a browser", highlight=False)


def print_classes(results: Mapping[str, Any]) -> None:
    """Print the metrics of each class, if the results of the run have them."""
    if "classes" in results:
        console = Console(soft_wrap=True, markup=False, emoji=False)  # names are the user's own
        console.print(class_table(results))
        console.print(class_summary(results), highlight=False)


def print_demo(run: Run) -> None:
    """Print the results of the demo, the paths of its figures, and commands to try next."""
    print_run(run)
    console = Console(soft_wrap=True, markup=False, emoji=False)  # names are the user's own
    for name, what in (
        ("misclassified", "mistakes"),
        ("curves", "learning curves"),
        ("samples", "training images"),
    ):
        console.print(f"{what + ':':<20}{run.path / (name + '.png')}", highlight=False)
    console.print("next:", highlight=False)
    for command, purpose in _next_commands(run):
        console.print(f"  {command:<50}  # {purpose}", highlight=False)


def _next_commands(run: Run) -> list[tuple[str, str]]:
    firstlight = shell_command("firstlight")
    activate = Path(sys.executable).with_name("activate")
    commands = []
    if firstlight != "firstlight" and activate.is_file():
        commands.append((f"source {_shown(activate)}", "makes the firstlight command available in this shell"))
        firstlight = "firstlight"
    path = shlex.quote(str(run.path))
    return [
        *commands,
        (f"{firstlight} report {path}", "all mistakes, and why, in one page"),
        (f"{firstlight} app {path}", "classify pictures in a browser"),
        (f"{firstlight} predict photo.jpg --run {path}", "classify a picture of yours"),
        (f"{firstlight} explain {path} --evaluate", "slow: measure how faithful its attribution maps are"),
        (f"{firstlight} fit --recipe adam24 --data_dir data", "the exercise, on CIFAR-10: hours on a CPU"),
    ]


def shell_command(name: str) -> str:
    """Return a command of this Python environment for the shell: its name if the shell finds it, else its path."""
    own = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not own.is_file() or (found is not None and Path(found).parent.resolve() == own.parent.resolve()):
        return name
    return shlex.quote(str(_shown(own)))


def _shown(path: Path) -> Path:
    """Return a path relative to the current folder if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
