"""Files that every Space of the Hugging Face hub has: the README's front matter, and the list of its large files."""

from __future__ import annotations

from typing import Any

import yaml

from firstlight.export.bundle import Bundle


def front_matter(bundle: Bundle, **fields: Any) -> str:
    """Return the YAML at the top of a Space's README.

    Args:
        bundle: Model that the Space shows.
        **fields: Fields of this kind of Space, for instance `sdk` and `app_file`.
    """
    content = {
        "title": f"firstlight: {type(bundle.network).__name__} on {bundle.data.name}",
        "emoji": "\N{SUNRISE}",
        "colorFrom": "indigo",
        "colorTo": "yellow",
        **fields,
        "pinned": False,
    }
    if "license" in bundle.measured:
        content["license"] = bundle.measured["license"]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def lfs_attributes(*suffixes: str) -> str:
    r"""Return a `.gitattributes` that stores files with these suffixes with Git LFS, as a Space requires.

    >>> lfs_attributes("png")
    '*.png filter=lfs diff=lfs merge=lfs -text\n'
    """
    return "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in suffixes)
