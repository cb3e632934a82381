"""Exported ONNX files: size, accuracy, differences from PyTorch, and speed."""

from __future__ import annotations

from rendering.cells import Row, hardware_with_threads, load, load_lines, markdown

LAST_MAPS = "grad_cam at residual3"  # the default method, at the last stage of the bundled network


def onnx() -> str:
    """A row for PyTorch, and one for each format of the weights."""
    speed = load("onnx_speed")
    rates = {name: f"{found['median']:.0f}" for name, found in speed["results"]["images_per_s"].items()}
    latest = {line["weights"]: line for line in load_lines("onnx_accuracy")}
    first = next(iter(latest.values()))
    rows = [["PyTorch, `explain`", "", f"{first['accuracy_pytorch']:.2%}", "", "", rates["explain"]]]
    rows += [[*_cells(weights, line), rates[weights]] for weights, line in latest.items()]
    header = "| MB | test accuracy, one view | logits differ by at most | maps differ by at most | images/s with maps"
    table = markdown(header, "lrrrrr", rows)
    compared, turns = first["logits"]["num_images"], speed["results"]["images_per_s"]["explain"]["n"]
    return (
        f"{table}\n\nThe differences are the largest of {compared:,} test images; maps are Grad-CAM at the last stage. "
        f"The speeds are medians of {turns} turns, measured alternately, on "
        f"{hardware_with_threads(speed)}."
    )


def _cells(weights: str, line: Row) -> list[str]:
    largest = [line["logits"]["largest"], line["maps"][LAST_MAPS]["largest"]]
    size = f"{line['num_bytes'] / 1e6:.1f}"
    return [f"ONNX Runtime, `{weights}`", size, f"{line['accuracy']:.2%}", *(f"{each:.1e}" for each in largest)]
