"""`firstlight fit --resume RUN`: resume an interrupted run with the options that it was started with."""

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
    """Resume the run, then print its results.

    An option may be given again with the value that the run was started with. So `--resume RUN` can simply be added to
    the command that started the run.

    Raises:
        UsageError: An option has a value other than the one that the run was started with.
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
            print(f"{folder} is finished: there is nothing to resume")
    else:
        data_dir = _checked_data_dir(run, arguments, extras)
        run = resume(run, data_dir)
    if is_first_process():
        print_run(run)


def _checked_data_dir(run: Any, arguments: Sequence[str], extras: dict[str, Any]) -> str | None:
    """Compare all options with those of the run; return `--data_dir`, or None if it is not given."""
    from firstlight.runs.options import FitOptions

    begun = FitOptions.load(run.path)
    typed = {each.name: begun.trainer.get(each.name, each.default) for each in fields(TrainerOptions)}
    parser = build_parser(run.recipe)
    kept = {"logger": begun.logger, "histograms": begun.histograms, "steps": begun.steps}
    parser.set_defaults(kept | {"data_dir": None})
    parser.set_defaults({f"trainer.{name}": value for name, value in typed.items() if not isinstance(value, list)})
    given = vars(parser.parse(arguments))
    given["network"] = network_from(given["network"]).to_dict()
    before = kept | {"recipe": run.recipe.name, "engine": "local"}
    before |= dict.fromkeys(("fast_dev_run", "find_lr", "dry_run"), False)
    before |= {name: value for name, value in run.recipe.flat().items() if name != "name"}
    before |= {f"trainer.{name}": value for name, value in (begun.trainer | typed).items()}
    now = flatten({name: given[name] for name in given if name not in NOT_COMPARED})
    now |= {f"trainer.{name}": value for name, value in extras.items()}
    for name, value in now.items():
        if value != before.get(name) and not isinstance(before.get(name), list):
            raise UsageError(
                f"--{name} {value}: {run.path} was started with {before.get(name)}. Leave the option out to resume the "
                "run, or start a new one."
            )
    return given["data_dir"]
