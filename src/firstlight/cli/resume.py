"""`firstlight fit --resume RUN`: go on with an interrupted run, with the options that it was begun with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from firstlight.cli.fit_options import build_parser
from firstlight.cli.network_options import network_from
from firstlight.cli.trainer_options import TrainerOptions
from firstlight.errors import UsageError
from firstlight.recipes.nested import flatten

NOT_COMPARED = ("data_dir", "logs_dir", "resume", "config", "network_module", "help_all")


def resume_run(folder: str, arguments: Sequence[str], extras: dict[str, Any]) -> None:
    """Resume the run, then say what came out.

    Options may be given again, so that the command which began the run only needs `--resume` added.

    Raises:
        UsageError: an option has another value than the run was begun with.
    """
    from firstlight.cli.output import print_run
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.runs.run import Run
    from firstlight.training.processes import is_first_process
    from firstlight.training.resume import resume

    quiet_lightning()
    run = Run(folder)
    if run.is_finished:
        if is_first_process():
            print(f"{folder} is finished: nothing is left to do")
    else:
        data_dir = _checked_data_dir(run, arguments, extras)
        run = resume(run, data_dir)
    if is_first_process():
        print_run(run)


def _checked_data_dir(run: Any, arguments: Sequence[str], extras: dict[str, Any]) -> str | None:
    """Return the `--data_dir` that is given, if one is, after comparing all other options with the run's."""
    from firstlight.runs.options import FitOptions

    begun = FitOptions.load(run.path)
    typed = {each.name: begun.trainer.get(each.name, each.default) for each in fields(TrainerOptions)}
    parser = build_parser(run.recipe)
    kept = {"logger": begun.logger, "histograms": begun.histograms, "steps": begun.steps}
    parser.set_defaults(kept | {"data_dir": None})
    parser.set_defaults({f"trainer.{name}": value for name, value in typed.items() if not isinstance(value, list)})
    given = vars(parser.parse(arguments))
    given["network"] = network_from(given["network"]).to_dict()
    before = kept | {"recipe": run.recipe.name, "fast_dev_run": False}
    before |= {name: value for name, value in run.recipe.flat().items() if name != "name"}
    before |= {f"trainer.{name}": value for name, value in (begun.trainer | typed).items()}
    now = flatten({name: given[name] for name in given if name not in NOT_COMPARED})
    now |= {f"trainer.{name}": value for name, value in extras.items()}
    for name, value in now.items():
        if value != before.get(name) and not isinstance(before.get(name), list):
            raise UsageError(
                f"--{name} {value}: {run.path} was begun with {before.get(name)}. Leave the option away to go on with "
                "the run, or begin a new one."
            )
    return given["data_dir"]
