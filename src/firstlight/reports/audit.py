"""The audit of a data set: wrong labels, copies, odd images and spurious signs, as findings in one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from firstlight.data.decisions import Decisions
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.odd_images import OddImage
from firstlight.evaluation.slices import image_attributes
from firstlight.evaluation.spurious_signs import SpuriousSign
from firstlight.reports.copy_audit import CopyGroup, Leak, Member, find_copies, find_leak
from firstlight.reports.image_audit import Attributes, find_odd, find_spurious_signs
from firstlight.reports.label_audit import HeldOut, LabelAudit, audit_labels

Kind = Literal["label", "duplicate", "odd", "sign"]


@dataclass(frozen=True)
class Finding:
    """One row of `audit.csv`.

    Args:
        kind: What was found.
        split: Name of the image's split.
        id: Index of the image in its split; None if the finding is about several images.
        file: Path of its file below the folder of the data set; None if it has none.
        score: How certain or severe the finding is. By kind: the suspicion of the label (`LabelNoise.suspicion`), the
            similarity of the copy, the distance from the median in robust standard deviations, the AUROC of the sign.
        given: Name of the label.
        likely: Name of the class that it probably is.
        partner_split: Split of the copy.
        partner_id: Index of the copy.
        remark: Explanation in words.
    """

    kind: Kind
    split: str
    id: int | None
    file: str | None
    score: float
    given: str | None = None
    likely: str | None = None
    partner_split: str | None = None
    partner_id: int | None = None
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Audit:
    """The findings about a data set.

    Args:
        name: Name of the data set.
        splits: Images of each split by its name.
        labels: Suspect labels of each split whose labels were checked.
        groups: Groups of copies: contradictions first, then leaks.
        leak: Test images with a copy in train or val; None without a test split.
        odd: Odd images of each split, the most severe first.
        signs: Properties that alone predict a class, in the first split.
        remarks: Sentences about what was not checked, and why.
        finds_near: Whether near copies were searched in addition to exact ones.
        decided: Decisions of the user; findings about these images are left out.
    """

    name: str
    splits: Mapping[str, ImageSet]
    labels: Mapping[str, LabelAudit]
    groups: Sequence[CopyGroup]
    leak: Leak | None
    odd: Mapping[str, Sequence[OddImage]]
    signs: Sequence[SpuriousSign]
    remarks: tuple[str, ...] = ()
    finds_near: bool = False
    decided: Decisions | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class."""
        return next(iter(self.splits.values())).class_names

    def findings(self) -> list[Finding]:
        """Return all findings, the most severe of each kind first."""
        return [*self._label_findings(), *self._copy_findings(), *self._odd_findings(), *self._sign_findings()]

    def _label_findings(self) -> list[Finding]:
        found = []
        for split, audit in self.labels.items():
            images, likely = self.splits[split], audit.noise.likely.tolist()
            suspicion, labels = audit.suspicion.tolist(), images.labels.tolist()
            for row in audit.rows.tolist():
                given, other = self.class_names[labels[row]], self.class_names[likely[row]]
                found.append(Finding("label", split, *_identity(images, row), round(suspicion[row], 4), given, other))
        return sorted(found, key=lambda finding: -finding.score)

    def _copy_findings(self) -> list[Finding]:
        found = []
        for group in self.groups:
            first = group.members[0]
            partner = {"partner_split": first.split, "partner_id": int(self.splits[first.split].ids[first.row])}
            found += [self._copy_finding(group, member, partner) for member in group.members[1:]]
        return found

    def _copy_finding(self, group: CopyGroup, member: Member, partner: dict[str, Any]) -> Finding:
        identity = _identity(self.splits[member.split], member.row)
        given = self.class_names[member.label]
        return Finding(
            "duplicate", member.split, *identity, round(member.similarity, 4), given, **partner, remark=describe(group)
        )

    def _odd_findings(self) -> list[Finding]:
        found = []
        for split, odd in self.odd.items():
            images = self.splits[split]
            for image in odd:
                given = self.class_names[int(images.labels[image.row])]
                identity = _identity(images, image.row)
                severity = round(image.severity, 4)
                found.append(Finding("odd", split, *identity, severity, given, remark=describe_odd(image)))
        return sorted(found, key=lambda finding: -finding.score)

    def _sign_findings(self) -> list[Finding]:
        split = next(iter(self.splits))
        return [
            Finding("sign", split, None, None, round(sign.auroc, 4), self.class_names[sign.label], remark=sign.property)
            for sign in self.signs
        ]

    def numbers(self) -> dict[str, Any]:
        """Return the audit as JSON: counts, estimates and all findings."""
        return {
            "data": self.name,
            "num_images": {name: len(images) for name, images in self.splits.items()},
            "class_names": list(self.class_names),
            "labels": {split: label_numbers(audit) for split, audit in self.labels.items()},
            "duplicates": {
                "finds_near": self.finds_near,
                "groups": len(self.groups),
                "contradicting": sum(group.contradicts for group in self.groups),
                "leaks": None if self.leak is None else leak_numbers(self.leak),
            },
            "odd": {split: len(odd) for split, odd in self.odd.items()},
            "signs": [asdict(sign) | {"class": self.class_names[sign.label]} for sign in self.signs],
            "remarks": list(self.remarks),
            "findings": [asdict(finding) for finding in self.findings()],
        }


def audit(
    name: str,
    splits: Mapping[str, ImageSet],
    held_out: Mapping[str, HeldOut],
    files: Mapping[str, Attributes] | None = None,
    remarks: Sequence[str] = (),
    *,
    finds_near: bool = True,
    decided: Decisions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit a data set: wrong labels, copies, odd images and spurious signs.

    Args:
        name: Name of the data set.
        splits: Images of each split by its name ("train", "val", "test"), all of one size; train first.
        held_out: Predictions of the splits whose labels are to be checked, by networks that were not trained on them.
        files: Attributes of the image files of each split, from `Source.file_attributes`; None without files.
        remarks: Sentences about what cannot be checked.
        finds_near: Whether to look for near copies in addition to exact ones.
        decided: Decisions of the user; findings about these images are left out.
        progress: Called while near copies are searched; see `find_copies`.

    Raises:
        UsageError: There is no image.
    """
    splits = {split: images for split, images in splits.items() if len(images)}
    if not splits:
        raise UsageError(f"{name}: holds no image to audit")
    labels, notes = {}, list(remarks)
    for split, predicted in held_out.items():
        found = audit_labels(predicted)
        if found is None:
            notes.append(f"The labels of {split} were not checked: there are too few images, or a single class.")
            continue
        labels[split] = found
        if found.is_weak:
            notes.append(
                f"The network agrees with only {found.accuracy:.0%} of the labels of {split}: what it says about wrong "
                "labels is unreliable. Another recipe or more epochs may help."
            )
    groups, is_complete = find_copies(splits, finds_near=finds_near, progress=progress)
    if not is_complete:
        notes.append("So many images resemble one another that only the most similar ones were compared.")
    leak = None
    if "test" in splits and len(splits) > 1:
        predicted_test = held_out["test"].predictions.predicted if "test" in held_out else None
        leak = find_leak(groups, splits["test"], predicted_test)
    files = files or {}
    pixels = {split: image_attributes(images.pixels) for split, images in splits.items()}
    odd = {
        split: find_odd(images, pixels[split], files.get(split, {}), held_out.get(split))
        for split, images in splits.items()
    }
    first = next(iter(splits))
    signs = find_spurious_signs(splits[first], pixels[first], files.get(first, {}))
    whole = Audit(name, splits, labels, groups, leak, odd, signs, tuple(notes), finds_near)
    return whole if decided is None else without_decided(whole, decided)


def without_decided(found: Audit, decided: Decisions) -> Audit:
    """Return an audit without the findings about images on which the user has decided.

    A group of copies stays while two or more of its images are undecided.

    Args:
        found: The audit.
        decided: The decisions.
    """
    rows = {split: decided.decided_rows(images, split) for split, images in found.splits.items()}
    labels = {
        split: replace(audit, rows=audit.rows[[row not in rows[split] for row in audit.rows.tolist()]])
        for split, audit in found.labels.items()
    }
    odd = {split: [each for each in images if each.row not in rows[split]] for split, images in found.odd.items()}
    groups = [
        group for group in found.groups if sum(member.row not in rows[member.split] for member in group.members) > 1
    ]
    remark = f"Findings about decided images are left out ({decided.summary()})."
    return replace(found, labels=labels, odd=odd, groups=groups, remarks=(*found.remarks, remark), decided=decided)


def describe(group: CopyGroup) -> str:
    """Return a short description of a group of copies.

    >>> describe(CopyGroup((Member("train", 0, 1), Member("test", 4, 2))))
    'exact copies with different labels, in train and test'
    """
    kind = "exact copies" if group.is_exact else "near copies"
    labels = " with different labels" if group.contradicts else ""
    names = list(dict.fromkeys(member.split for member in group.members))
    return f"{kind}{labels}, in {' and '.join(names)}"


def describe_odd(image: OddImage) -> str:
    """Return why an image is odd: its value, the threshold and the median of its split.

    >>> describe_odd(OddImage(3, "dark", "brightness", 0.01234, 0.07, 0.47, 3.9))
    'dark: brightness 0.0123, threshold 0.07, median 0.47'
    """
    values = f"{image.value:.3g}, threshold {image.threshold:.3g}, median {image.median:.3g}"
    return f"{image.name}: {image.attribute} {values}"


def as_csv(findings: Sequence[Finding]) -> str:
    """Return findings as the text of `audit.csv`.

    >>> print(as_csv([Finding("label", "train", 7, None, 0.9, "cat", "dog")]).splitlines()[1])
    label,train,7,,0.9,cat,dog,,,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Finding)])
    for finding in findings:
        writer.writerow(["" if value is None else value for value in asdict(finding).values()])
    return text.getvalue()


def label_numbers(found: LabelAudit) -> dict[str, Any]:
    """Return the numbers of a split's labels, for programs."""
    return {
        "num_images": found.num_images,
        "predicted_by": found.source,
        "accuracy": found.accuracy,
        "wrong_share": found.noise.share,
        "wrong_share_interval": list(found.interval),
        "num_suspects": len(found.rows),
    }


def leak_numbers(leak: Leak) -> dict[str, Any]:
    """Return the numbers of a leak, for programs."""
    return {
        "num_test_images": len(leak.rows),
        "accuracy": leak.accuracy,
        "accuracy_without": leak.accuracy_without,
        "accuracy_without_interval": None if leak.interval_without is None else list(leak.interval_without),
    }


def _identity(images: ImageSet, row: int) -> tuple[int, str | None]:
    return int(images.ids[row]), None if images.file_names is None else images.file_names[row]
