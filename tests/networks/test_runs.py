"""Which rule takes how many layers, and what stands in its way."""

from __future__ import annotations

from torch import nn

from firstlight.networks.runs import Kinds, has, has_hooks, rules_for_start

RULES: dict[Kinds, str] = {
    (nn.Conv2d, nn.ReLU, nn.BatchNorm2d): "three",
    (nn.Conv2d, nn.ReLU): "two",
    (nn.ReLU, nn.BatchNorm2d): "not at the start",
}


def layers() -> list[nn.Module]:
    return [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8), nn.ReLU()]


def test_the_longest_run_comes_first_and_others_after_it() -> None:
    assert rules_for_start(layers(), RULES) == [("three", 3), ("two", 2)]
    assert rules_for_start(layers()[:2], RULES) == [("two", 2)]
    assert rules_for_start(layers()[1:], RULES) == [("not at the start", 2)]
    assert rules_for_start(layers()[2:], RULES) == []
    assert rules_for_start([], RULES) == []
    assert rules_for_start(layers(), {}) == []


def test_kinds_are_exact() -> None:
    """A layer that inherits from a known kind may do something else."""

    class Other(nn.ReLU):
        pass

    assert rules_for_start([nn.Conv2d(3, 8, 3), Other()], RULES) == []


def test_has_counts_what_inherits_too() -> None:
    assert has(nn.ReLU, layers())
    assert not has(nn.ReLU, layers()[2:3])
    assert has(nn.Module, layers())


def test_every_kind_of_hook_is_seen() -> None:
    layer = nn.ReLU()
    assert not has_hooks(layer)
    for register in (
        layer.register_forward_hook,
        layer.register_forward_pre_hook,
        layer.register_full_backward_hook,
        layer.register_full_backward_pre_hook,
    ):
        handle = register(lambda *_: None)
        assert has_hooks(layer)
        handle.remove()
        assert not has_hooks(layer)
