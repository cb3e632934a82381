"""The service alone, against plain passes of the same network."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from firstlight.app.service import ANY_CLASS, PAGE_SIZE, ExplainedPrediction, MapOptions, Service
from firstlight.attribution import METHODS, explain
from firstlight.errors import UsageError
from firstlight.export.bundle import Bundle
from reference.hostile import GOOD
from reference.tiny import CLASS_NAMES, tiny_split


@pytest.fixture(scope="module")
def service(bundle: Bundle) -> Service:
    return Service(bundle)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return tiny_split("test").images


def plain_logits(bundle: Bundle, image: Tensor) -> Tensor:
    with torch.no_grad():
        return bundle.network(image[None] / 255)[0]


def test_probabilities_are_the_softmax_of_the_logits_at_the_temperature(
    service: Service, bundle: Bundle, images: Tensor
) -> None:
    assert bundle.temperature != pytest.approx(1, abs=0.1)
    for image in images[:3]:
        expected = (plain_logits(bundle, image) / bundle.temperature).softmax(0).tolist()
        for options in (
            MapOptions(),
            MapOptions(method=None),
            MapOptions("layer_cam", "layer1"),
            MapOptions(stage="all"),
        ):
            found = service.predict(image, options).prediction.probabilities
            assert [found[name] for name in CLASS_NAMES] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stage", ["layer1", "residual3", "all"])
def test_the_map_equals_that_of_explain(
    service: Service, bundle: Bundle, images: Tensor, method: str, stage: str
) -> None:
    answer = service.predict(images[0], MapOptions(method, stage), "blue")
    found = explain(bundle.network, images[:1] / 255, method=method, stage=stage, target=torch.tensor([2]))
    assert answer.explained == "blue"
    assert answer.stage == stage
    assert answer.evidence is not None
    np.testing.assert_allclose(answer.evidence, found.upsampled()[0].numpy(), atol=1e-6)


def test_without_a_map_there_is_none_and_the_predicted_class_is_explained_by_default(
    service: Service, images: Tensor
) -> None:
    assert service.predict(images[0], MapOptions(method=None)).evidence is None
    answer = service.predict(images[0])
    assert answer.explained == answer.prediction.label
    assert answer.stage == "residual3"
    assert answer.evidence is not None
    assert answer.evidence.shape == (16, 16)


def test_pictures_above_the_bundles_threshold_are_novel(service: Service, bundle: Bundle, images: Tensor) -> None:
    said = [bool(service.predict(image, MapOptions(method=None)).is_novel) for image in images]
    energies = [-plain_logits(bundle, image).exp().sum().log().item() for image in images]
    threshold = bundle.config.novelty_threshold
    assert said == [energy > threshold for energy in energies]
    assert 0 < sum(said) < len(said)


@pytest.mark.parametrize(
    ("options", "explained", "says"),
    [
        (MapOptions("magic"), "predicted", "no method is called 'magic'"),
        (MapOptions(stage="attic"), "predicted", "no stage is called 'attic'"),
        (MapOptions(stage="layer1.conv"), "predicted", "no stage is called"),
        (MapOptions(), "pink", "no class is called 'pink'"),
    ],
)
def test_unknown_names_are_refused(
    service: Service, images: Tensor, options: MapOptions, explained: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        service.predict(images[0], options, explained)


def test_results_from_many_threads_equal_those_of_one(service: Service, images: Tensor) -> None:
    """Explanations register hooks on the network, so concurrent ones would record each other's activations."""
    views = [
        MapOptions("grad_cam", "layer1"),
        MapOptions("hires_cam", "residual3"),
        MapOptions(method=None),
        MapOptions("layer_cam", "all"),
    ]
    jobs = [(images[i % 8], views[i % 4]) for i in range(32)]
    expected = [service.predict(*job) for job in jobs]
    found: list[ExplainedPrediction | None] = [None] * len(jobs)

    def work(start: int) -> None:
        for place in range(start, len(jobs), 8):
            found[place] = service.predict(*jobs[place])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(expected, found, strict=True):
        assert other is not None
        assert other.prediction == one.prediction
        if one.evidence is None:
            assert other.evidence is None
        else:
            np.testing.assert_array_equal(other.evidence, one.evidence)


def test_an_upload_is_read_at_the_size_of_the_network(service: Service) -> None:
    assert service.read(GOOD["photo.jpg"](), "photo.jpg").pixels.shape == (3, 16, 16)


def wrong_rows(bundle: Bundle) -> list[int]:
    """Return the misclassified rows of the plain network, most confident first."""
    test = tiny_split("test")
    with torch.no_grad():
        shares = (bundle.network(test.images / 255) / bundle.temperature).softmax(1)
    rows = (shares.argmax(1) != test.labels).nonzero().flatten().tolist()
    return sorted(rows, key=lambda row: -shares[row].max().item())


def test_the_pages_hold_every_mistake_once_the_most_confident_first(service: Service, bundle: Bundle) -> None:
    expected = wrong_rows(bundle)
    num_pages = -(-len(expected) // PAGE_SIZE)
    assert num_pages >= 3
    found = []
    for number in range(1, num_pages + 1):
        page = service.mistakes(page=number, options=MapOptions(method=None))
        assert (page.number, page.num_pages) == (number, num_pages)
        assert (page.num_found, page.num_wrong) == (len(expected), len(expected))
        found += [item.mistake.index for item in page.items]
    assert found == expected


def test_a_mistake_shows_both_classes_with_their_calibrated_probabilities(service: Service, bundle: Bundle) -> None:
    test = tiny_split("test")
    for item in service.mistakes().items[:4]:
        logits = plain_logits(bundle, test.images[item.mistake.index])
        shares = dict(zip(CLASS_NAMES, (logits / bundle.temperature).softmax(0).tolist(), strict=True))
        assert item.true_name == CLASS_NAMES[int(test.labels[item.mistake.index])]
        assert item.predicted_name == max(shares, key=shares.__getitem__)
        assert item.mistake.predicted_probability == pytest.approx(shares[item.predicted_name], abs=1e-4)
        assert item.mistake.true_probability == pytest.approx(shares[item.true_name], abs=1e-4)
        np.testing.assert_array_equal(item.pixels, test.images[item.mistake.index].numpy())
        assert item.maps is not None
        for evidence, name in zip(item.upsampled(), (item.predicted_name, item.true_name), strict=True):
            alone = service.predict(test.images[item.mistake.index], explained=name).evidence
            assert alone is not None
            np.testing.assert_allclose(evidence, alone, atol=1e-4 * np.abs(alone).max())


def test_filters_choose_by_true_and_by_predicted_class(service: Service) -> None:
    everything = [
        item for number in (1, 2, 3) for item in service.mistakes(page=number, options=MapOptions(None)).items
    ]
    some = everything[0]
    for true, predicted in (
        (some.true_name, ANY_CLASS),
        (ANY_CLASS, some.predicted_name),
        (some.true_name, some.predicted_name),
    ):
        wanted = [
            item.mistake.index
            for item in everything
            if true in (ANY_CLASS, item.true_name) and predicted in (ANY_CLASS, item.predicted_name)
        ]
        page = service.mistakes(true, predicted, options=MapOptions(None))
        assert page.num_found == len(wanted)
        assert [item.mistake.index for item in page.items] == wanted[:PAGE_SIZE]
    none = service.mistakes(some.true_name, some.true_name)
    assert (list(none.items), none.num_found, none.number, none.num_pages) == ([], 0, 1, 1)


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-5, 1), (10**9, 3)])
def test_a_page_number_out_of_range_gives_the_nearest_page(service: Service, asked: int, given: int) -> None:
    assert service.mistakes(page=asked, options=MapOptions(None)).number == given


def test_a_filter_of_an_unknown_class_is_refused(service: Service) -> None:
    with pytest.raises(UsageError, match="no class is called 'pink'"):
        service.mistakes(true="pink")


def test_a_request_cannot_start_a_slow_method(service: Service, images: Tensor) -> None:
    with pytest.raises(UsageError, match="no method is called 'rise': choose one of grad_cam"):
        service.predict(images[0], MapOptions(method="rise"))
    with pytest.raises(UsageError, match="no method is called 'score_cam'"):
        service.mistakes(options=MapOptions(method="score_cam"))
