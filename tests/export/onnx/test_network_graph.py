"""All outputs of the graph agree with PyTorch, for every kind of network, stage and method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.attribution import ALL_STAGES, explain
from firstlight.data.batches import to_unit
from firstlight.errors import UsageError
from firstlight.export.onnx import translation
from firstlight.export.onnx.graph import Graph
from firstlight.export.onnx.maps_graph import METHODS
from firstlight.export.onnx.model_file import assemble
from firstlight.export.onnx.network_graph import build_graph
from firstlight.export.onnx.session import OnnxModel
from firstlight.export.onnx.translation import Maps, Translated
from firstlight.export.onnx.weight_formats import WeightFormat
from firstlight.layers.normalize import Normalize
from firstlight.layers.residual import Residual
from firstlight.networks import ResNet9, ResNet9Config, SpeedNet, SpeedNetConfig, StagedNetwork
from reference.made_predictor import MadePredictor

NUM_CLASSES = 5


class Various(StagedNetwork):
    """A network of one's own, with every layer that has a translation."""

    stages = ("strided", "pooled", "grouped")

    def __init__(self, pool: nn.Module, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.normalize = Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
        self.strided = nn.Sequential(
            nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(3, 8, 3, stride=2, padding=1), norm(8), nn.SiLU(), nn.Dropout()
        )
        self.pooled = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.MaxPool2d(3, 2, 1), nn.GELU())
        branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.ReLU(), nn.Identity())
        self.grouped = nn.Sequential(Residual(branch), nn.Conv2d(8, 12, 1))
        self.pool, self.head = pool, nn.Linear(12, NUM_CLASSES)


def whitened(config: SpeedNetConfig) -> SpeedNet:
    network = SpeedNet(NUM_CLASSES, config)
    network.init_from_data(torch.randint(256, (16, 3, 16, 16), dtype=torch.uint8))
    return network


def average_pooled() -> ResNet9:
    network = ResNet9(NUM_CLASSES, ResNet9Config(width=2))
    network.pool = nn.AdaptiveAvgPool2d(1)
    return network


NETWORKS = {
    "resnet9": lambda: ResNet9(NUM_CLASSES, ResNet9Config(width=3)),
    "resnet9 with mean pooling": average_pooled,
    "speednet": lambda: whitened(SpeedNetConfig(width=4)),
    "deep speednet": lambda: whitened(SpeedNetConfig(width=4, pad_patches=True, deep_groups=2, patch_directions=9)),
    "own": lambda: Various(nn.AdaptiveMaxPool2d(1)),
    "own with mean pooling": lambda: Various(nn.AdaptiveAvgPool2d((1, 1))),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def made(request: pytest.FixtureRequest) -> tuple[MadePredictor, OnnxModel, tuple[str, ...]]:
    torch.manual_seed(0)
    return exported(NETWORKS[request.param]())


def exported(network: StagedNetwork, **options: object) -> tuple[MadePredictor, OnnxModel, tuple[str, ...]]:
    model = MadePredictor(network, **options)  # type: ignore[arg-type]
    graph, stages = build_graph(model, WeightFormat())
    return model, OnnxModel(assemble(graph, model).SerializeToString()), stages


def pixels(count: int, size_px: tuple[int, int] = (16, 16)) -> Tensor:
    return torch.randint(256, (count, 3, *size_px), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_logits_probabilities_and_features_are_pytorchs(
    made: tuple[MadePredictor, OnnxModel, tuple[str, ...]],
) -> None:
    model, onnx_model, _ = made
    images = pixels(5)
    found = onnx_model.run(images, torch.full((5,), -1))
    with torch.no_grad():
        features = model.network.features(to_unit(images))
        logits = F.linear(features, model.network.head.weight, model.network.head.bias)
    torch.testing.assert_close(found["features"], features, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["logits"], logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["probabilities"], (logits / 0.7).softmax(dim=1), atol=1e-5, rtol=1e-4)
    assert torch.equal(found["prepared"].permute(0, 3, 1, 2), images)
    assert "is_novel" not in found


@pytest.mark.parametrize("given", [True, False])
def test_maps_of_every_stage_and_method_are_those_of_explain(
    given: bool, made: tuple[MadePredictor, OnnxModel, tuple[str, ...]]
) -> None:
    model, onnx_model, stages = made
    assert stages == model.network.stages
    images, classes = pixels(4), torch.tensor([3, 0, 4, 3])
    for stage_index, stage in enumerate(stages):
        for method_index, method in enumerate(METHODS):
            target = classes if given else "predicted"
            expected = explain(model.network, to_unit(images), method=method, stage=stage, target=target).maps
            asked = classes if given else torch.full((4,), -1)
            found = onnx_model.run(images, asked, method_index, stage_index)["map"]
            scale = float(expected.abs().max())
            torch.testing.assert_close(found, expected, atol=1e-5 * scale + 1e-7, rtol=1e-4, msg=f"{stage}, {method}")


def test_constant_images_and_a_single_one(made: tuple[MadePredictor, OnnxModel, tuple[str, ...]]) -> None:
    """Many cells of a constant image tie for the maximum up to rounding, so HiResCAM may mark another one of them."""
    model, onnx_model, _ = made
    for level in (0, 255):
        image = torch.full((1, 3, 16, 16), level, dtype=torch.uint8)
        for index, method in enumerate(METHODS):
            expected = explain(model.network, to_unit(image), method=method)
            found = onnx_model.run(image, torch.tensor([-1]), index)
            torch.testing.assert_close(found["logits"], expected.logits, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(found["map"].sum(), expected.maps.sum(), atol=1e-5, rtol=1e-4)
            if method == "grad_cam":
                torch.testing.assert_close(found["map"], expected.maps, atol=1e-5, rtol=1e-4)


def test_pictures_of_another_size_are_prepared_first(made: tuple[MadePredictor, OnnxModel, tuple[str, ...]]) -> None:
    model, onnx_model, _ = made
    picture = pixels(1, (45, 70))[0].permute(1, 2, 0).numpy()
    found = onnx_model.run_pictures(picture[None], np.array([-1]))["probabilities"][0]
    expected = model.predict(picture).probabilities
    for name, probability in zip(model.class_names, found, strict=True):
        assert probability == pytest.approx(expected[name], abs=1e-5)


def test_the_fused_map_is_that_of_explain(made: tuple[MadePredictor, OnnxModel, tuple[str, ...]]) -> None:
    model, onnx_model, stages = made
    images = pixels(4)
    for index, method in enumerate(METHODS):
        expected = explain(model.network, to_unit(images), method=method, stage=ALL_STAGES)
        found = onnx_model.run(images, expected.classes, index, len(stages))["map"]
        torch.testing.assert_close(found, expected.maps, atol=2e-5, rtol=1e-4, msg=method)


def test_a_negative_stage_counts_from_the_end() -> None:
    _, onnx_model, stages = exported(NETWORKS["speednet"]())
    images, classes = pixels(2), torch.tensor([1, 2])
    for stage in range(len(stages)):
        found = onnx_model.run(images, classes, 1, stage - len(stages))["map"]
        assert torch.equal(found, onnx_model.run(images, classes, 1, stage)["map"])


@pytest.mark.parametrize(("method", "stage"), [(len(METHODS), 0), (0, 9)])
def test_an_index_that_does_not_exist_is_an_error(method: int, stage: int) -> None:
    _, onnx_model, stages = exported(NETWORKS["resnet9"]())
    assert len(stages) + 1 < 9
    with pytest.raises(Exception, match="out of data bounds"):
        onnx_model.run(pixels(1), torch.tensor([-1]), method, stage)


def test_novelty_is_the_energy_above_the_threshold() -> None:
    images = pixels(8)
    network = NETWORKS["resnet9"]()
    energies = MadePredictor(network).network.eval()(to_unit(images)).detach().exp().sum(dim=1).log().neg()
    threshold = float(energies.sort().values[3:5].mean())
    _, onnx_model, _ = exported(network, novelty_threshold=threshold)
    found = onnx_model.run(images, torch.full((8,), -1))["is_novel"]
    assert found.tolist() == (energies > threshold).tolist()
    assert found.sum() == 4


def test_stages_before_a_layer_without_a_written_gradient_are_left_out() -> None:
    network = Various(nn.AdaptiveMaxPool2d(1))
    network.pooled[1] = nn.AvgPool2d(2)
    _, onnx_model, stages = exported(network)
    assert stages == ("pooled", "grouped")
    images = pixels(3)
    expected = explain(network, to_unit(images), stage="pooled", method="hires_cam").maps
    found = onnx_model.run(images, torch.full((3,), -1), list(METHODS).index("hires_cam"), 0)["map"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_an_unknown_layer_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"cannot translate the layer torch\.nn\.modules\.normalization:.*GroupNorm"):
        build_graph(MadePredictor(Various(nn.AdaptiveMaxPool2d(1), norm=lambda c: nn.GroupNorm(2, c))), WeightFormat())


class Doubled(nn.Module):
    """A layer of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_a_registered_translation_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "TRANSLATIONS", dict(translation.TRANSLATIONS))

    @translation.translates(Doubled)
    def _(graph: Graph, layer: nn.Module, maps: Maps, weights: WeightFormat) -> Translated:
        two = np.float32(2)
        return Translated(graph.add("Mul", maps.name, two), lambda graph, gradient: graph.add("Mul", gradient, two))

    network = Various(nn.AdaptiveMaxPool2d(1))
    network.pooled.append(Doubled())
    _, onnx_model, stages = exported(network)
    images = pixels(3)
    expected = explain(network, to_unit(images), stage="strided", method="hires_cam")
    found = onnx_model.run(images, expected.classes, list(METHODS).index("hires_cam"), stages.index("strided"))
    torch.testing.assert_close(found["logits"], expected.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["map"], expected.maps, atol=1e-5, rtol=1e-3)


def test_a_network_that_overrides_forward_is_refused() -> None:
    class Other(ResNet9):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * 2

    with pytest.raises(UsageError, match="Other, which overrides forward"):
        build_graph(MadePredictor(Other(NUM_CLASSES, ResNet9Config(width=2))), WeightFormat())
