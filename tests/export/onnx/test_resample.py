"""The prepared picture equals Pillow's, to the last bit."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from firstlight.data.preprocess import to_pixels
from firstlight.export.onnx.graph import IR_VERSION, OPSET, Graph
from firstlight.export.onnx.resample import fit

SIZES_PX = [
    (32, 32),
    (1, 1),
    (1, 500),
    (500, 1),
    (31, 33),
    (7, 300),
    (240, 320),
    (641, 97),
    (64, 64),
    (999, 1000),
    (20, 2000),
]


def make_session(size_px: tuple[int, int]) -> onnxruntime.InferenceSession:
    graph = Graph()
    graph.name(fit(graph, "picture", size_px), "fitted")
    given = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["n", "h", "w", 3])
    made = helper.make_tensor_value_info("fitted", TensorProto.UINT8, ["n", 3, *size_px])
    content = helper.make_graph(graph.nodes, "fit", [given], [made], list(graph.constants.values()))
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size_px", [(32, 32), (8, 8), (24, 40), (33, 7)])
def test_pictures_of_any_size_are_fitted_as_pillow_does_it(size_px: tuple[int, int]) -> None:
    session, rng = make_session(size_px), np.random.default_rng(0)
    for height, width in SIZES_PX:
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        black_and_white = 255 * rng.integers(0, 2, (height, width, 3), dtype=np.uint8)  # the filter overshoots most
        pictures = np.stack([noise, black_and_white])
        (found,) = session.run(None, {"picture": pictures})
        expected = np.stack([to_pixels(picture, size_px).numpy() for picture in pictures])
        np.testing.assert_array_equal(found, expected, err_msg=f"{height}x{width}")


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_picture_of_one_colour_keeps_it(level: int) -> None:
    (found,) = make_session((32, 32)).run(None, {"picture": np.full((1, 77, 130, 3), level, np.uint8)})
    assert (found == level).all()


def test_long_rows_do_not_overflow() -> None:
    """65,000 pixels: the sums of products stay within 32 bits."""
    picture = np.full((1, 3, 65_000, 3), 255, np.uint8)
    (found,) = make_session((3, 65)).run(None, {"picture": picture})
    np.testing.assert_array_equal(found[0], to_pixels(picture[0], (3, 65)).numpy())
