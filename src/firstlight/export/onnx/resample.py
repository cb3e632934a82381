"""Centre crop and antialiased resizing as ONNX operations, equal to Pillow's to the last bit.

`firstlight.data.preprocess.to_pixels` calls `PIL.ImageOps.fit` with the Lanczos filter. Pillow resizes along the rows,
rounds to uint8, then resizes along the columns. It computes with integers: its coefficients have 22 fractional bits.
ONNX's own Resize operator has no Lanczos filter, and its antialiased bicubic filter does not round between the passes.

Here each pass is a product of the pixels and a matrix of coefficients, which the graph computes from the size of the
picture (Pillow: src/libImaging/Resample.c, `precompute_coeffs` and `ImagingResampleHorizontal_8bpc`). The product is
exact: each coefficient is split into three digits of eight bits, and MatMulInteger multiplies bytes into sums of 32
bits.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from firstlight.export.onnx.graph import Graph

LANCZOS_SUPPORT = 3.0  # pixels of the result on each side of its centre that the filter covers
FRACTION_BITS = 22  # Pillow's PRECISION_BITS
NUM_DIGITS, DIGIT = 3, 256  # digits of a coefficient, from -128 to 127, and their base
MAX_SIDE_PX = (2**31 - 1) // (255 * 128)  # longest side of a picture for which the sums fit into 32 bits


def fit(graph: Graph, picture: str, size_px: tuple[int, int]) -> str:
    """Crop the largest centred part with the proportions of `size_px`, and resize it.

    Args:
        graph: Graph to add to.
        picture: Name of the pictures, uint8 [n h w 3], RGB.
        size_px: Height and width of the result.

    Returns:
        Name of the resized pictures, uint8 [n 3 height width].
    """
    height, width = size_px
    sides = graph.add("Cast", graph.add("Shape", picture, start=1, end=3), to=TensorProto.DOUBLE)
    rows, columns = (graph.add("Gather", sides, np.int64(axis)) for axis in (0, 1))
    ratio = np.float64(width / height)
    used_rows = graph.add("Min", rows, graph.add("Div", columns, ratio))
    used_columns = graph.add("Min", columns, graph.add("Mul", ratio, rows))
    row_weights = _coefficients(graph, rows, used_rows, height)
    column_weights = _coefficients(graph, columns, used_columns, width)
    columns_last = graph.add("Transpose", picture, perm=[0, 1, 3, 2])  # [n h 3 w]
    resized = _resampled(graph, columns_last, column_weights)
    rows_last = graph.add("Transpose", resized, perm=[0, 3, 2, 1])  # [n width 3 h]
    return graph.add("Transpose", _resampled(graph, rows_last, row_weights), perm=[0, 2, 3, 1])


def _coefficients(graph: Graph, side: str, used: str, num_outputs: int) -> str:
    """Return the coefficients of one axis with 22 fractional bits, int64 [side num_outputs].

        c[x, y] = lanczos(d) / sum_x lanczos(d),    d = (x + 0.5 - centre[y]) / max(scale, 1)

    Args:
        graph: Graph to add to.
        side: Number of pixels along the axis, float64.
        used: Length of the centred part that is kept, float64.
        num_outputs: Number of pixels of the result.
    """
    start = graph.add("Mul", graph.add("Sub", side, used), np.float64(0.5))
    stop = graph.add("Add", start, used)
    # Pillow rounds the borders of the part to float32
    start, stop = (graph.add("Cast", each, to=TensorProto.FLOAT) for each in (start, stop))
    length = graph.add("Cast", graph.add("Sub", stop, start), to=TensorProto.DOUBLE)
    scale = graph.add("Div", length, np.float64(num_outputs))
    offsets = graph.add("Mul", np.arange(num_outputs) + 0.5, scale)
    centres = graph.add("Add", graph.add("Cast", start, to=TensorProto.DOUBLE), offsets)
    pixels = graph.add("Range", np.float64(0.5), graph.add("Add", side, np.float64(0.5)), np.float64(1))
    distances = graph.add("Sub", graph.add("Unsqueeze", pixels, np.array([1])), centres)
    weights = _lanczos(graph, graph.add("Div", distances, graph.add("Max", scale, np.float64(1))))
    shares = graph.add("Div", weights, graph.add("ReduceSum", weights, np.array([0]), keepdims=1))
    scaled = graph.add("Round", graph.add("Mul", shares, np.float64(2**FRACTION_BITS)))
    return graph.add("Cast", scaled, to=TensorProto.INT64)


def _lanczos(graph: Graph, x: str) -> str:
    """Return sinc(x) sinc(x / 3) within the support and 0 outside, float64; sinc(x) = sin(pi x) / (pi x)."""
    product = graph.add("Mul", _sinc(graph, x), _sinc(graph, graph.add("Div", x, np.float64(LANCZOS_SUPPORT))))
    is_inside = graph.add("Less", graph.add("Abs", x), np.float64(LANCZOS_SUPPORT))
    return graph.add("Where", is_inside, product, np.float64(0))


def _sinc(graph: Graph, x: str) -> str:
    angles = graph.add("Mul", x, np.float64(np.pi))
    is_centre = graph.add("Equal", x, np.float64(0))
    safe = graph.add("Where", is_centre, np.float64(1), angles)
    return graph.add("Where", is_centre, np.float64(1), graph.add("Div", graph.add("Sin", safe), safe))


def _resampled(graph: Graph, pixels: str, coefficients: str) -> str:
    """Resample the last axis of pixels, uint8 [a b c side], to uint8 [a b c num_outputs]."""
    digits = graph.add("Concat", *_digits(graph, coefficients), axis=1)
    # With uint8 digits and a zero point, no kernel of ONNX Runtime saturates at 16 bits, as those for int8 may.
    product = graph.add("MatMulInteger", pixels, digits, np.uint8(0), np.uint8(DIGIT // 2))
    parts = graph.add_node("Split", [product], NUM_DIGITS, axis=3, num_outputs=NUM_DIGITS)
    total = graph.add("Cast", parts[0], to=TensorProto.INT64)
    for part in parts[1:]:
        shifted = graph.add("Mul", total, np.int64(DIGIT))
        total = graph.add("Add", shifted, graph.add("Cast", part, to=TensorProto.INT64))
    rounded = graph.add("Max", graph.add("Add", total, np.int64(2 ** (FRACTION_BITS - 1))), np.int64(0))
    levels = graph.add("Min", graph.add("Div", rounded, np.int64(2**FRACTION_BITS)), np.int64(255))
    return graph.add("Cast", levels, to=TensorProto.UINT8)


def _digits(graph: Graph, numbers: str) -> list[str]:
    """Return the digits (-128 to 127) of int64 numbers in base 256, the highest first, each plus 128, as uint8."""
    digits, half = [], np.int64(DIGIT // 2)
    for _ in range(NUM_DIGITS):
        offset_digit = graph.add("Mod", graph.add("Add", numbers, half), np.int64(DIGIT))  # the digit plus 128
        digits.append(graph.add("Cast", offset_digit, to=TensorProto.UINT8))
        rest = graph.add("Sub", numbers, graph.add("Sub", offset_digit, half))
        numbers = graph.add("Div", rest, np.int64(DIGIT))
    return digits[::-1]
