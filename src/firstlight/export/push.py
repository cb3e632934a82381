"""Push an exported folder to the Hugging Face hub, as a model or as a Space."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firstlight.errors import FirstlightError, MissingPackageError, UsageError
from firstlight.extras import install_command

NAME = re.compile(r"[\w.-]+/[\w.-]+")
MESSAGE = "Export with firstlight"


@dataclass(frozen=True)
class Repository:
    """The kind of repository that a kind of export becomes on the hub.

    Args:
        kind: Kind of the repository.
        sdk: Software of a Space; None for a model.
    """

    kind: Literal["model", "space"]
    sdk: str | None = None


REPOSITORIES = {
    "hub": Repository("model"),
    "onnx": Repository("model"),
    "space": Repository("space", "gradio"),
    "web": Repository("space", "static"),
}


def check_push(kind: str, name: str) -> None:
    """Check everything that can be checked before a folder is made.

    Args:
        kind: Kind of the export.
        name: Name of the repository, USER/NAME.

    Raises:
        UsageError: The name has another form, this kind of export has no place on the hub, or nobody is logged in.
        MissingPackageError: The package huggingface_hub is not installed.
    """
    if kind not in REPOSITORIES:
        raise UsageError(f"--push does nothing for {kind}: choose one of {', '.join(REPOSITORIES)}")
    if not NAME.fullmatch(name):
        raise UsageError(f"--push {name}: name the repository as USER/NAME")
    try:
        from huggingface_hub import get_token
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"--push needs huggingface_hub, which is not installed here: {install_command('hub')}"
        ) from error
    if not get_token():
        raise UsageError("--push needs a login: run `hf auth login`, or set HF_TOKEN to a token with write access")


def push(folder: Path, kind: str, name: str) -> str:
    """Upload a folder into a repository, which is created if it does not exist; other files in it stay.

    Args:
        folder: Folder that `firstlight export` wrote.
        kind: Kind of the export.
        name: Name of the repository, USER/NAME.

    Returns:
        Address of the repository.

    Raises:
        FirstlightError: The hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    api, repository = HfApi(), REPOSITORIES[kind]
    try:
        made = api.create_repo(name, repo_type=repository.kind, space_sdk=repository.sdk, exist_ok=True)
        api.upload_folder(repo_id=name, repo_type=repository.kind, folder_path=folder, commit_message=MESSAGE)
    except Exception as error:  # the versions of huggingface_hub use several HTTP libraries, each with its own errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FirstlightError(f"{folder} is written, but could not be pushed to {name}: {reason}") from error
    return str(made)
