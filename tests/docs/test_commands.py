"""Every command and every Python example on the pages is executed, in the order of the page, on small data.

The recipes are cut to one epoch of a narrow network, and CIFAR-10 to a few images that a server on this machine
sends, so that the commands themselves run exactly as they stand on the page.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from firstlight.app import serving
from firstlight.attribution import evaluate
from firstlight.cli import main
from firstlight.data.cifar_formats import CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from firstlight.data.download import downloader
from firstlight.data.download.manifest import Archive, Version
from firstlight.data.drawn import draw
from firstlight.data.source import SOURCES
from firstlight.export.bundle import Bundle, bundled
from firstlight.recipes import RECIPES
from firstlight.recipes.config import Recipe
from firstlight.reports import trust
from firstlight.training import bench
from reference import archive_files, cifar100_files
from reference.archive_files import official_files, packed, plain, special
from reference.fault_server import FaultServer
from reference.packed_photos import pack
from reference.parquet_sets import write_batches, write_set
from reference.photo_folders import make_folder, save_photo

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
EXECUTED_ELSEWHERE = {"docs/extending.md", "docs/explaining.md"}  # test_site.py runs the Python examples of these pages
NOT_EXECUTED = {  # start of a command: reason why it is not executed here
    "source .venv/bin/activate": "it changes the reader's shell",
    "pip install": "it changes the environment",
    "jupyter lab": "it starts a server and is not among the requirements; tests/notebooks executes the notebook",
    "make": "the targets build environments and run whole test suites: `make -n` checks that they exist",
    "firstlight sweep --recipe demo --space space.yaml --trials 200 --engine ray": "tests/sweeps/test_ray_sweep.py",
    "firstlight sweep --resume logs/sweeps/demo/version_0 --engine ray": "tests/sweeps/test_ray_sweep.py starts nodes",
    "torchrun": "tests/training/test_ddp.py starts two processes",
    "firstlight fit --trainer.devices 2": "tests/training/test_ddp.py starts two processes",
}
NO_MISTAKE = "no misclassified test image has"
NEEDS_CLUSTER = "#SBATCH"
NOT_OFFICIAL = pytest.mark.filterwarnings("ignore:.*well formed, but not the official release.*")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and code of every fence on a page, except plain text and figures."""
    found = [(each["language"], each["code"]) for each in FENCE.finditer(page.read_text(encoding="utf-8"))]
    return [each for each in found if each[0] in ("", "bash", "python") and "src/firstlight/\n" not in each[1]]


def commands(code: str) -> list[str]:
    """Return the commands of a shell fence without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := line.partition("#")[0].strip())]


PAGES_WITH_COMMANDS = [page for page in PAGES if blocks(page) and name_of(page) not in EXECUTED_ELSEWHERE]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=name_of)
def test_commands_can_be_pasted_line_by_line(page: Path) -> None:
    """Each line is a command alone: no prompt, no output, no placeholder in capital letters."""
    for language, code in blocks(page):
        for command in commands(code) if language == "" else []:
            assert re.match(r"(firstlight|make|source|pip|python|tensorboard|torchrun|jupyter) ?", command), command
            assert not re.search(r"(?<![\w./-])[A-Z]{3,}(?![\w=])", command), f"{command}: replace the placeholder"
            shlex.split(command)


def quick(make: Callable[[], Recipe]) -> Recipe:
    """A recipe cut to one epoch of a narrow network on a few images."""
    recipe = make()
    network = replace(recipe.network, width=4)
    return replace(recipe, network=network, max_epochs=1, batch_size=16, num_val=min(recipe.num_val, 10))


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A reader's folder, with small data sets and quick recipes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRSTLIGHT_COMPILE", "0")  # compiling the kernels would take longer than all commands
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "FIRSTLIGHT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, make in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, partial(quick, make))
    monkeypatch.setitem(SOURCES, "drawn", lambda data_dir, split: draw(80 if split == "train" else 24, 0, split))
    monkeypatch.setattr(serving, "serve", visit)
    monkeypatch.setattr(bench, "LARGEST_MATMUL", 128)
    monkeypatch.setattr(trust, "evaluate", partial(evaluate, stages=["residual3"], num_steps=2))
    for name in ("photo.jpg", "new_photo.jpg", "photos/a.jpg", "photos/b.png"):
        save_photo(Path(name), (60, 90, 200), size=(60, 40))
    make_folder(Path("my_photos"), {"cat": 20, "dog": 20, "bird": 20})
    pack(Path("my_photos"), Path("photos.zip"))
    make_folder(Path("photos/all"), {"bird": 20, "cat": 20})
    table = [f"all/{label}/{number:03}.png,{label}" for label in ("bird", "cat") for number in range(20)]
    Path("photos/labels.csv").write_text("\n".join(["file,label", *table]) + "\n", encoding="utf-8")
    write_set(Path("parquet_set"), {"train": 60, "test": 12})
    Path("space.yaml").write_text("label_smoothing: {low: 0.0, high: 0.2}\n", encoding="utf-8")
    Path("decisions.csv").write_text("split,id,file,decision\n", encoding="utf-8")
    with ExitStack() as stack:
        manifest = {
            "cifar10": tuple(cifar10_archive(version, stack) for version in ("binary", "python")),
            "cifar100": (cifar100_archive(stack),),
        }
        manifest["cifar10"] = (with_parquet(manifest["cifar10"][0], stack), *manifest["cifar10"][1:])
        monkeypatch.setattr(downloader, "MANIFEST", manifest)
        yield tmp_path


def cifar10_archive(version: Version, stack: ExitStack) -> Archive:
    """Serve a small archive, and return its entry in the manifest."""
    folder = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[version]
    files = [plain(f"{folder}/{name}", content) for name, content in official_files().items()]
    content = packed(special(folder, tarfile.DIRTYPE), *files)
    server = stack.enter_context(FaultServer(content))
    return archive_files.archive_of(
        content, server.url("none"), name=f"{folder}.tar.gz", version=version, folder=folder
    )


def with_parquet(archive: Archive, stack: ExitStack) -> Archive:
    """Serve parquet files with the images of an archive, and return its entry with their addresses."""
    files = [path.read_bytes() for path in write_batches(Path("hub_files"), official_files())]
    urls = tuple(stack.enter_context(FaultServer(content)).url("none") for content in files)
    return replace(archive, parquet=(urls[0], f"{urls[1]}-test"))


def cifar100_archive(stack: ExitStack) -> Archive:
    """Serve a small archive with images of all classes, and return its entry in the manifest."""
    fine, coarse = CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
    entry, content = cifar100_files.archive_of("binary", cifar100_files.files_of("binary", fine, coarse, 200, 100))
    server = stack.enter_context(FaultServer(content))
    return replace(entry, urls=(server.url("none"),))


def visit(bundle: Bundle, *_: object, **__: object) -> None:
    """Serve a page as `firstlight app` does, until it was requested once."""
    with serving.served(bundle, "127.0.0.1") as address:
        assert httpx.get(address, timeout=60).status_code == 200


@pytest.mark.slow
@NOT_OFFICIAL
@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=name_of)
def test_every_command_of_the_page_runs(
    page: Path, small_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(page.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "page"}
    for language, code in blocks(page):
        if NEEDS_CLUSTER in code:
            continue
        with address_in(code) as prepared:
            if language == "python":
                exec(compile(shortened(prepared), name_of(page), "exec"), names)
            elif language == "bash":
                done = subprocess.run(["bash", "-euc", prepared], capture_output=True, text=True, timeout=120)
                assert done.returncode == 0, done.stderr
                assert "event: complete" in done.stdout, done.stdout
            else:
                for command in commands(prepared):
                    execute(command.replace("/scratch", str(small_world)), capsys)


def shortened(code: str) -> str:
    """The exercise's five lines, cut as the recipes are."""
    small = 'data_dir="data", num_val=10, network={"width": 4}, batch_size=16)'
    return code.replace('data_dir="data")', small).replace("max_epochs=24", "max_epochs=1")


def prepare(text: str) -> None:
    """Make the run that a page needs and does not make itself."""
    if "logs/page24/version_0" in text:
        assert main(["fit", "--recipe", "page24", "--num_val", "10"]) == 0


@contextmanager
def address_in(code: str) -> Iterator[str]:
    """Serve the bundled model while code that needs a server runs; yield the code with the address."""
    if "ADDRESS" not in code:
        yield code
        return
    with serving.served(bundled(), "127.0.0.1") as address:
        bare = address.rstrip("/")
        yield code.replace('"ADDRESS"', f'"{bare}"').replace("http://127.0.0.1:7860", bare)


def execute(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command of a shell fence in this process."""
    program, *arguments = shlex.split(command)
    if program == "make":
        dry_run = [
            "make",
            "--dry-run",
            "--no-print-directory",
            *arguments,
        ]  # make prints directories if another make started it
        done = subprocess.run(dry_run, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        if arguments == ["demo"]:
            assert done.stdout.splitlines()[-1].endswith("bin/firstlight demo")
            execute("firstlight demo", capsys)
    elif any(command.startswith(each) for each in NOT_EXECUTED):
        return
    elif program == "firstlight":
        capsys.readouterr()
        status, printed = main(arguments), capsys.readouterr().err
        may_be_empty = (
            "--true" in arguments and NO_MISTAKE in printed
        )  # the small network may have no mistake between these classes
        assert status == 0 or may_be_empty, f"{command}\n{printed}"
    elif program == "tensorboard":
        show_curves(arguments)
    else:
        pytest.fail(f"nobody executes {command}: add it to the test")


def show_curves(arguments: list[str]) -> None:
    """Start TensorBoard as the command does, and check that it finds the runs."""
    from tensorboard import program

    board = program.TensorBoard()
    board.configure(argv=["tensorboard", *arguments, "--port", "0"])
    assert httpx.get(board.launch() + "data/logdir", timeout=60).status_code == 200
