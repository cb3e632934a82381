"""The fields of the JSON files of a run folder, with their types and ranges; `firstlight.typed_json` checks them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from firstlight.typed_json import Amount, Between, Count, PathText, Share

FoldNumber = Annotated[int, Between(0, 10_000)]


class DataFields(TypedDict):
    """`data` in `environment.json`."""

    name: PathText
    place: PathText
    num_images: NotRequired[dict[str, Count]]
    digests: NotRequired[dict[str, str]]
    decisions: NotRequired[str | None]


class InitFields(TypedDict):
    """`init` in `environment.json`: the model that the training started from."""

    model: PathText
    sha256: str
    has_new_head: bool


class HardwareFields(TypedDict):
    """`hardware` in `environment.json`."""

    cpu: NotRequired[str | None]
    cpu_cores: NotRequired[int | None]
    cpu_bfloat16: NotRequired[str | None]
    threads: NotRequired[int | None]
    compiler: NotRequired[str | None]
    disabled_kernels: NotRequired[list[str]]
    gpu: NotRequired[str | None]


class EnvironmentFields(TypedDict):
    """`environment.json`."""

    date: NotRequired[str]
    commit: NotRequired[str | None]
    hardware: NotRequired[HardwareFields]
    kernels: NotRequired[dict[Literal["loaded", "missing"], dict[str, str]]]
    versions: NotRequired[dict[str, str | None]]
    platform: NotRequired[str]
    precision: NotRequired[str]
    resumed: NotRequired[list[dict[str, Any]]]
    data: NotRequired[DataFields]
    init: NotRequired[InitFields]


class ClassFields(TypedDict):
    """A row of `classes` in `results.json`."""

    name: str
    precision: Share
    recall: Share
    f1: Share
    support: Count


class MeanFields(TypedDict):
    """`test_macro` and `test_weighted` in `results.json`."""

    precision: Share
    recall: Share
    f1: Share


class ResultsFields(TypedDict):
    """`results.json`; a run that was stopped early lacks some of them."""

    train_loss_epoch: NotRequired[float]
    train_acc_epoch: NotRequired[Share]
    val_loss: NotRequired[float]
    val_acc: NotRequired[Share]
    test_loss: NotRequired[float]
    test_acc: NotRequired[Share]
    test_acc_tta: NotRequired[Share]
    train_s: NotRequired[Amount]
    total_s: NotRequired[Amount]
    test_acc_interval: NotRequired[tuple[Share, Share]]
    test_top_k_acc: NotRequired[dict[str, Share]]
    test_ece: NotRequired[Share]
    test_brier: NotRequired[Annotated[float, Between(0, 2)]]
    test_macro: NotRequired[MeanFields]
    test_weighted: NotRequired[MeanFields]
    classes: NotRequired[list[ClassFields]]


class TrainerFields(TypedDict):
    """`trainer` in `options.json`; Lightning checks the other arguments."""

    num_nodes: NotRequired[Annotated[int, Between(1, 100_000)]]


class OptionsFields(TypedDict):
    """`options.json`."""

    logger: NotRequired[str]
    histograms: NotRequired[bool]
    steps: NotRequired[Literal["plain", "recorded", "compiled"]]
    trainer: NotRequired[TrainerFields]
    not_kept: NotRequired[list[str]]
    fold: NotRequired[tuple[FoldNumber, FoldNumber] | None]


class CalibrationFields(TypedDict):
    """`calibration` in the metadata of `model.safetensors`."""

    temperature: Annotated[float, Between(1e-6, 1e6)]
    novelty_threshold: float
    num_images: Count


ClassNames = list[str]
_SidePx = Annotated[int, Between(8, 1024)]  # a damaged file must not make us allocate gigabytes
SizePx = tuple[_SidePx, _SidePx]
Temperature = Annotated[float, Between(1e-6, 1e6)]
