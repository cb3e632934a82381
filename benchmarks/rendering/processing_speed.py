"""Throughput, overheads and start times, from one JSON each."""

from __future__ import annotations

from rendering.cells import hardware, load, markdown

IMAGES = "{:.0f} images/s"
MEASURED = [  # results file, what was measured, its name in the file, format
    ("throughput", "training ResNet9 through Lightning", "firstlight", IMAGES),
    ("throughput", "a plain implementation: float32, NCHW, per-image transforms", "plain", IMAGES),
    ("throughput", "ratio of the first to the second", "ratio", "{:.2f}"),
    ("overhead", "time that Lightning adds to a step of a bare loop", "added_by_lightning", "{:.1f} ms"),
    ("amx_bf16", "training ResNet9 in bfloat16, bare loop, our AMX convolutions", "ours", IMAGES),
    ("amx_bf16", "the same with PyTorch's convolutions", "direct", IMAGES),
    ("amx_bf16", "ratio of the first to the second", "ratio", "{:.2f}"),
    ("batches", "making a batch, as a share of a step", "share", "{:.1%}"),
    ("startup", "`firstlight --help`", "help_s", "{:.2f} s"),
    ("startup", "`import firstlight`", "import_s", "{:.3f} s"),
    ("reading", "reading and verifying 60,000 images, binary version", "cifar-10-batches-bin", "{:.2f} s"),
    ("reading", "the same, Python version", "cifar-10-batches-py", "{:.2f} s"),
]


def speed() -> str:
    """Return the medians of all speed measurements."""
    rows = []
    for file, what, name, form in MEASURED:
        entry = load(file)
        found = entry["results"][name]
        rows.append([what, form.format(found["median"]), str(found["n"]), hardware(entry)])
    return markdown("what | median | n | hardware", "lrrl", rows)


def checkpoints() -> str:
    """Return the cost of a checkpoint."""
    entry = load("checkpoint")
    found = entry["results"]
    cost, share = found["one_checkpoint_s"], found["share_of_training_time"]
    rows = [
        ["size of one", f"{found['size_mb']:.0f} MB", "1"],
        ["writing one, median", f"{cost['median']:.2f} s", str(cost["n"])],
        [
            f"their share of {found['train_s'] / 60:.0f} minutes of training",
            f"{share:.2%}",
            str(found["num_checkpoints"]),
        ],
    ]
    table = markdown("checkpoints of ResNet9 with Adam's state | | n", "lrr", rows)
    return f"{table}\n\nOn {hardware(entry)}. {found['note']}"


def devices() -> str:
    """Return the seconds per epoch with one and with two processes."""
    entry = load("ddp")
    found = entry["results"]
    rows = []
    for name, what in (("one_process", "one process"), ("two_processes", "two processes")):
        numbers = found[f"{name}_s"]
        times = [f"{min(numbers['values']):.1f}", f"{numbers['median']:.1f}", str(numbers["n"])]
        rows.append([f"{what}, threads: {found['threads'][name]}", *times])
    ratios = [f"{found['two_over_one_fastest']:.2f}", f"{found['two_over_one']:.2f}"]
    rows.append(["ratio of the second to the first", *ratios, ""])
    table = markdown("seconds for an epoch of 2,048 images, ResNet9 | fastest | median | n", "lrrr", rows)
    return f"{table}\n\nOn {hardware(entry)}. {found['note']}"
