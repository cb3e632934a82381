"""The kernels of a wheel: the variant for a CPU, and the same bits as kernels compiled at their first use."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from types import ModuleType

import pytest
import torch

from firstlight.augment import fused
from firstlight.layers import batch_norm, gelu, max_pool
from firstlight.layers.conv3x3 import amx, winograd
from firstlight.layers.conv3x3.winograd import NativeWinograd
from firstlight.native import libraries, variants
from firstlight.native.compiler import NoLibraryError, find_compiler
from firstlight.native.dispatch import KERNELS
from firstlight.native.libraries import kernel_report, load_library
from firstlight.native.variants import SOURCES, VARIANTS, build_variants, cpu_flags, prebuilt_library
from firstlight.optim import muon_fused

V3 = "avx2 fma f16c bmi1 bmi2 abm movbe"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


def test_every_kernel_has_its_source() -> None:
    assert set(SOURCES) == set(KERNELS)
    modules: dict[str, ModuleType] = {
        "amx": amx, "winograd": winograd, "batch_norm": batch_norm, "gelu": gelu, "max_pool": max_pool,
        "muon": muon_fused, "augment": fused,
    }  # fmt: skip
    assert {name: module.SOURCE for name, module in modules.items()} == SOURCES


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("sse2 avx", None),
        ("avx2 fma", None),
        (V3, "avx2"),
        (f"{V3} avx512f", "avx2"),
        (V4, "avx512"),
        (f"{V4} avx512_bf16", "avx512_bf16"),
        (f"{V4} avx512_bf16 amx_tile amx_bf16", "amx"),
        (f"{V4} amx_tile amx_bf16", "avx512"),
    ],
)
def test_the_best_variant_that_the_cpu_can_run_is_chosen(
    flags: str, chosen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(variants, "CPU_INFO", tmp_path / "cpuinfo")
    variants.CPU_INFO.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    for variant in VARIANTS:
        for kernel in variant.kernels:
            path = tmp_path / variant.name / f"{kernel}.so"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    found = prebuilt_library("gelu", tmp_path)
    assert found == (None if chosen is None else (tmp_path / chosen / "gelu.so", chosen))
    assert (prebuilt_library("amx", tmp_path) is not None) == (chosen == "amx")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert prebuilt_library("gelu", tmp_path) is None


def test_a_package_without_prebuilt_kernels_and_a_system_without_cpuinfo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prebuilt_library("gelu", tmp_path) is None
    monkeypatch.setattr(variants, "CPU_INFO", tmp_path / "absent")
    assert cpu_flags() == frozenset()


@pytest.mark.slow
def test_prebuilt_kernels_give_the_bits_of_compiled_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.system() != "Linux" or prebuilt_variant() is None:
        pytest.skip("prebuilt kernels are for Linux on x86-64 CPUs with AVX2")
    try:
        compiler = find_compiler()
    except NoLibraryError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(variants, "VARIANTS", (prebuilt_variant(),))
    made = build_variants(tmp_path, compiler)
    assert {path.stem for path in made} == set(prebuilt_variant().kernels)
    monkeypatch.setattr(libraries, "_loaded", {})
    compiled = results()
    assert set(kernel_report()["loaded"].values()) == {f"compiled by {Path(compiler).name}"}
    monkeypatch.setattr(libraries, "prebuilt_library", lambda kernel: prebuilt_library(kernel, tmp_path))
    prebuilt = results()
    assert set(kernel_report()["loaded"].values()) == {f"prebuilt for {prebuilt_variant().name}"}
    load_library.cache_clear()
    assert set(compiled) == set(prebuilt)
    for name in compiled:
        assert compiled[name].equal(prebuilt[name]), name


def prebuilt_variant() -> variants.Variant | None:
    return next((variant for variant in VARIANTS if variant.flags <= cpu_flags()), None)


def results() -> dict[str, torch.Tensor]:
    """Run every kernel on the same inputs, with libraries that are loaded anew."""
    load_library.cache_clear()
    random = torch.Generator().manual_seed(0)
    images = torch.rand(16, 32, 32, 32, generator=random)  # n h w c
    convolution = NativeWinograd(library("winograd"))
    filters = torch.randn(32, 32, 3, 3, generator=random)
    maps = convolution.convolve(images, filters)
    map_gradient, filter_gradient = convolution.gradients(images, filters, maps, True, True)
    found = {"convolution": maps, "map gradient": map_gradient, "filter gradient": filter_gradient}
    numbers = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    for layer in (gelu.Gelu(), batch_norm.BatchNorm(32), max_pool.MaxPool2x2()):
        leaf = numbers.clone().requires_grad_()
        output = layer(leaf)
        output.backward(output.detach())
        found |= {type(layer).__name__: output.detach(), f"{type(layer).__name__} gradient": leaf.grad}
    weight, gradient = torch.randn(2, 64, 64, generator=random)
    buffer, update = torch.ones(64, 64), torch.empty(64, 64)
    norm = muon_fused.nesterov_update(weight, gradient, buffer, update, 0.9)
    muon_fused.scale_and_subtract(weight, update, torch.tensor(0.3), 0.1)
    found |= {"norm": norm, "weight": weight, "buffer": buffer, "update": update}
    pixels = (numbers[:, :3] * 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    shifts = torch.arange(16) % 5
    found["augmented"] = fused.shifted_and_flipped(pixels, torch.arange(16), shifts, shifts.flip(0), shifts > 2)
    for kernel in prebuilt_variant().kernels:
        library(kernel)
    return found


def library(kernel: str) -> ctypes.CDLL:
    found = load_library(SOURCES[kernel], kernel)
    assert found is not None, kernel_report()
    return found
