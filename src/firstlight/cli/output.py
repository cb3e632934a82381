"""What the verbs print."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from firstlight.runs.run import Run
from firstlight.training.callbacks.pace import duration


def print_run(run: Run) -> None:
    """Print the final numbers of a run, and where to look next."""
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
            table.add_row(split, f"{results[accuracy]:.2%}", f"{results[loss]:.4f}" if loss else "")
    console = Console(soft_wrap=True, markup=False, emoji=False)  # names are the user's own
    console.print(table)
    console.print(f"trained in {duration(results['train_s'])}, {duration(results['total_s'])} in all", highlight=False)
    console.print(f"run folder: {run.path}", highlight=False)
    console.print(f"curves:     tensorboard --logdir {run.path.parent.parent}", highlight=False)


def print_demo(run: Run) -> None:
    """Print the demo's numbers and what to open next."""
    print_run(run)
    console = Console(soft_wrap=True, markup=False, emoji=False)  # names are the user's own
    for name, what in (
        ("misclassified", "what it gets wrong"),
        ("curves", "how it learned"),
        ("samples", "what it was shown"),
    ):
        console.print(f"{what + ':':<20}{run.path / (name + '.png')}", highlight=False)
    console.print("next: firstlight fit --recipe adam24 --data_dir DIR   (the exercise, on CIFAR-10)", highlight=False)
