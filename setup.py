"""The parts of the package's metadata that depend on where and how it is built; pyproject.toml has the others.

FIRSTLIGHT_REPOSITORY  address of the repository, for the links of the package's description, such as
                       https://github.com/OWNER/NAME
FIRSTLIGHT_PREBUILT    1 puts compiled kernels into the wheel, which is then for one platform, but for every Python 3
FIRSTLIGHT_PLATFORM    platform tag of such a wheel, such as manylinux_2_28_x86_64
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
REPOSITORY = os.environ.get("FIRSTLIGHT_REPOSITORY", "").rstrip("/")
PLATFORM = os.environ.get("FIRSTLIGHT_PLATFORM", "")
IS_PREBUILT = os.environ.get("FIRSTLIGHT_PREBUILT") == "1"
RELATIVE_LINK = re.compile(r'(?<=\]\()(?!https?:|#)([^)\s]+)(?=\))|(?<=(?:src)=")(?!https?:)([^"]+)(?=")')


def description() -> str:
    """Return the README; with the repository's address, its links and pictures are absolute."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not REPOSITORY:
        return text

    def absolute(link: re.Match[str]) -> str:
        is_picture = link[0].endswith((".png", ".svg", ".gif"))
        return f"{REPOSITORY}/{'raw' if is_picture else 'blob'}/main/{link[0]}"

    return RELATIVE_LINK.sub(absolute, text)


def check_symbols(library: Path, platform: str) -> None:
    """Refuse a library that needs a newer C or C++ library than a manylinux platform has, as auditwheel does."""
    named = re.match(r"manylinux_2_(\d+)_", platform)
    if not named:
        return
    content = library.read_bytes()
    limits = {rb"GLIBC_2\.(\d+)": int(named[1]), rb"GLIBCXX_3\.4\.(\d+)": 25, rb"CXXABI_1\.3\.(\d+)": 11}
    for pattern, limit in limits.items():
        newest = max((int(number) for number in re.findall(pattern, content)), default=0)
        if newest > limit:
            raise SystemExit(f"{library} needs {pattern.decode()} {newest}, and {platform} has {limit}: build it there")


class BuildPrebuilt(build_py):
    """Copies the modules, and compiles the kernels beside them."""

    def run(self) -> None:
        """Copy, and compile if asked to."""
        super().run()
        if IS_PREBUILT:
            sys.path.insert(0, str(ROOT / "src"))
            from firstlight.native.compiler import find_compiler
            from firstlight.native.variants import build_variants

            for library in build_variants(Path(self.build_lib) / "firstlight" / "native" / "prebuilt", find_compiler()):
                check_symbols(library, PLATFORM)


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and every Python 3: the kernels use no interface of Python's."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, of its binary interface and of the platform."""
        _, _, platform = super().get_tag()
        return "py3", "none", PLATFORM or platform


class PrebuiltDistribution(Distribution):
    """Tells setuptools that the wheel holds compiled code, which belongs into platlib."""

    def has_ext_modules(self) -> bool:
        """Return True."""
        return True


setup(
    long_description=description(),
    long_description_content_type="text/markdown",
    project_urls={"Source": REPOSITORY, "Documentation": f"{REPOSITORY}/blob/main/docs/index.md"} if REPOSITORY else {},
    cmdclass={"build_py": BuildPrebuilt} | ({"bdist_wheel": PlatformWheel} if IS_PREBUILT else {}),
    **({"distclass": PrebuiltDistribution} if IS_PREBUILT else {}),
)
