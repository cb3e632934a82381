"""Default folders, and the conversion between what the user types and a path."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

DEFAULT_DATA_DIR = "data"
DEFAULT_LOGS_DIR = "logs"
OFFLINE = "FIRSTLIGHT_OFFLINE"  # environment variable: any value but "", "0" or "no" forbids downloading
CACHE = "FIRSTLIGHT_CACHE"  # environment variable that names the cache folder
IMAGE_MEMORY = "FIRSTLIGHT_IMAGE_MEMORY_GB"  # environment variable: the largest split that is kept in memory


def user_path(path: Path | str) -> Path:
    """Return the path that a user typed, with a leading `~` or `~user` expanded to the home folder.

    Every path from the command line, a YAML file or a caller in Python passes through here, because the shell does not
    expand `--option=~/folder`. Environment variables are not expanded. The text "./~" stands for a folder named "~".

    >>> user_path("~/photos") == Path.home() / "photos", user_path("photos").as_posix()
    (True, 'photos')
    """
    return Path(os.path.expanduser(path))  # keeps the `~` of an unknown user, for which Path.expanduser raises an error


def is_offline(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment forbids downloading.

    >>> is_offline({"FIRSTLIGHT_OFFLINE": "1"}), is_offline({"FIRSTLIGHT_OFFLINE": "no"}), is_offline({})
    (True, False, False)
    """
    return environment.get(OFFLINE, "") not in ("", "0", "no")


def printable(path: Path | str) -> str:
    r"""Return a path as text for any screen: undecodable bytes, line breaks and terminal codes become U+FFFD.

    >>> printable("two" + chr(10) + "lines")
    'two\ufffdlines'
    """
    try:
        text = os.fsencode(path).decode("utf-8", "replace")
    except UnicodeEncodeError:  # the name cannot be on this disk, but it can be shown
        text = str(path)
    return _without(text, "Cc", "Cs")


def has_control_characters(text: str) -> bool:
    r"""Return whether a text has characters that a terminal takes for commands, or that cannot be written (surrogates).

    >>> has_control_characters("cat"), has_control_characters("cat" + chr(27) + "[2J")
    (False, True)
    """
    return any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def without_control_characters(text: str) -> str:
    r"""Return a text in which each control character is replaced by U+FFFD.

    >>> without_control_characters("red" + chr(27) + "[31m")
    'red\ufffd[31m'
    """
    return _without(text, "Cc")


def _without(text: str, *categories: str) -> str:
    """Return a text in which each character of these Unicode categories is replaced by U+FFFD."""
    return "".join("\ufffd" if unicodedata.category(letter) in categories else letter for letter in text)


def cache_dir() -> Path:
    """Return `$FIRSTLIGHT_CACHE`, else `firstlight` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`)."""
    named = os.environ.get(CACHE)
    if named:
        return user_path(named)
    home = os.environ.get("XDG_CACHE_HOME", "")  # its standard says to ignore a relative path
    return (Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()) / "firstlight"
