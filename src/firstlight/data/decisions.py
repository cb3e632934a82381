"""Decisions about images, made by a person after an audit: keep an image, drop it, or change its label."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from firstlight.data.images import ImageSet
from firstlight.errors import DataError
from firstlight.files import read_text
from firstlight.paths import printable, user_path

COLUMNS = ("split", "id", "file", "decision")
SPLITS = ("train", "val", "test")
KEEP, DROP, RELABEL = "keep", "drop", "relabel:"


@dataclass(frozen=True)
class Decision:
    """What to do with an image.

    Args:
        split: Split of the image.
        id: Index in the split; None if the file is named instead.
        file: Path of its file below the folder of the data set; None for images without files.
        decision: "keep", "drop", or "relabel:NAME" with the name of a class.
        line: Line of the CSV file, for messages.
    """

    split: str
    id: int | None
    file: str | None
    decision: str
    line: int

    def key(self, images: ImageSet) -> int | str | None:
        """What identifies the image in its split: the name of its file if the images have files, else its id."""
        return self.id if self.file is None or images.file_names is None else self.file

    @property
    def label(self) -> str | None:
        """Name of the new class; None if the label stays."""
        return self.decision.removeprefix(RELABEL) if self.decision.startswith(RELABEL) else None


@dataclass(frozen=True)
class Decisions:
    """The decisions of one file.

    Args:
        text: The file's content.
        name: Name of the file, for messages.
    """

    text: str
    name: str = "decisions"

    @staticmethod
    def read(path: Path) -> Decisions:
        """Read a CSV file of decisions, as the page of an audit saves it.

        Args:
            path: CSV file with a column `decision`, and with `split` and `id` or `file`; other columns are ignored, so
                that `audit.csv` with one more column will do.

        Raises:
            DataError: The file cannot be read, or a line is malformed.
        """
        try:
            text = read_text(path, encoding="utf-8-sig")  # spreadsheets write a byte order mark
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise DataError(f"{path}: cannot be read as decisions ({reason})") from error
        found = Decisions(text, printable(path))
        _ = found.rows  # malformed lines are refused at once
        return found

    def summary(self) -> str:
        """Return how many images are dropped, relabelled and kept, as one line.

        >>> Decisions("split,id,decision" + chr(10) + "train,0,drop", "d.csv").summary()
        'd.csv: 1 image dropped, 0 relabelled, 0 kept as they are'
        """
        dropped = sum(row.decision == DROP for row in self.rows)
        kept = sum(row.decision == KEEP for row in self.rows)
        relabelled = len(self.rows) - dropped - kept
        images = "image" if dropped == 1 else "images"
        return f"{self.name}: {dropped:,} {images} dropped, {relabelled:,} relabelled, {kept:,} kept as they are"

    @property
    def digest(self) -> str:
        """SHA-256 digest of the content."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def rows(self) -> tuple[Decision, ...]:
        """The decisions in the order of the file; lines without a decision are left out.

        Raises:
            DataError: A line is malformed, or two lines disagree about an image.
        """
        reader = csv.DictReader(self.text.splitlines())
        missing = [name for name in ("split", "decision") if name not in (reader.fieldnames or ())]
        if missing or not {"id", "file"} & set(reader.fieldnames or ()):
            raise DataError(f"{self.name}: the first line must name the columns {', '.join(COLUMNS)}")
        known: dict[tuple[str, int | str | None], Decision] = {}
        for row in reader:
            decision = self._decision(row, reader.line_num)
            if decision is None:
                continue
            key = decision.split, decision.file or decision.id
            before = known.setdefault(key, decision)
            if before.decision != decision.decision:
                raise DataError(
                    f"{self.name}: lines {before.line} and {decision.line} disagree about the same image; keep one"
                )
        return tuple(known.values())

    def _decision(self, row: dict[str, str | None], line: int) -> Decision | None:
        text = (row.get("decision") or "").strip()
        if not text:
            return None
        if text not in (KEEP, DROP) and not (text.startswith(RELABEL) and text != RELABEL):
            raise DataError(f"{self.name}, line {line}: {text!r} is none of keep, drop and relabel:NAME")
        if row.get("split") not in SPLITS:
            raise DataError(f"{self.name}, line {line}: the split must be one of {', '.join(SPLITS)}")
        file, number = row.get("file") or None, (row.get("id") or "").strip()
        if file is None and not number.isdecimal():
            raise DataError(f"{self.name}, line {line}: names neither a file nor an id")
        return Decision(str(row["split"]), int(number) if number.isdecimal() else None, file, text, line)

    def apply(self, images: ImageSet, split: str) -> ImageSet:
        """Return a split without the dropped images and with the new labels; ids stay.

        An image with a file is found by its file name, because its id changes with every file that is added.

        Args:
            images: Images of the split.
            split: Name of the split.

        Raises:
            DataError: The split has no such image, or the data set no such class.

        >>> images = ImageSet(torch.zeros(3, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 1]), ("cat", "dog"))
        >>> decisions = Decisions("split,id,decision" + chr(10) + "train,0,drop" + chr(10) + "train,1,relabel:dog")
        >>> changed = decisions.apply(images, "train")
        >>> changed.ids.tolist(), changed.labels.tolist()
        ([1, 2], [1, 1])
        """
        labels, kept = images.labels.clone(), torch.ones(len(images), dtype=torch.bool)
        for decision, row in self.of(images, split).items():
            if decision.decision == DROP:
                kept[row] = False
            elif decision.label is not None:
                if decision.label not in images.class_names:
                    raise DataError(f"{self.name}, line {decision.line}: no class is called {decision.label!r}")
                labels[row] = images.class_names.index(decision.label)
        return images.changed(labels=labels)[kept.nonzero().flatten()]

    def of(self, images: ImageSet, split: str) -> dict[Decision, int]:
        """Return the decisions about a split, each with the row of its image.

        Raises:
            DataError: The split has no such image.
        """
        rows, found = _rows_by_key(images), {}
        for decision in self.rows:
            if decision.split == split:
                key = decision.key(images)
                if key is None or key not in rows:
                    raise DataError(
                        f"{self.name}, line {decision.line}: {split} has no image {decision.file or decision.id}; are "
                        "these decisions about this data set?"
                    )
                found[decision] = rows[key]
        return found

    def decided_rows(self, images: ImageSet, split: str) -> set[int]:
        """Return the rows of the images that are decided on; those that were dropped before are left out."""
        rows = _rows_by_key(images)
        return {rows[each.key(images)] for each in self.rows if each.split == split and each.key(images) in rows}


def _rows_by_key(images: ImageSet) -> dict[int | str | None, int]:
    rows: dict[int | str | None, int] = {index: row for row, index in enumerate(images.ids.tolist())}
    return rows | {name: row for row, name in enumerate(images.file_names or ())}


def decisions_from(value: Decisions | Path | str | None) -> Decisions | None:
    """Return decisions that are given as such or by their file; None if there are none.

    Raises:
        DataError: The file cannot be read, or a line is malformed.
    """
    return value if value is None or isinstance(value, Decisions) else Decisions.read(user_path(value))
