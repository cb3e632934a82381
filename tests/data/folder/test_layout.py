"""The class and split of every image of a folder, among other files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from firstlight.data.folder.layout import Layout, class_name_of, find_layout, holds_classes
from firstlight.errors import DataError


def touch(root: Path, *places: str) -> Path:
    """Create empty files, because the layout depends on names only."""
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"")
    return root


def numbered(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in range(count)]


def places(layout: Layout, split: str) -> list[str]:
    return [file.relative_path for file in layout.files[split]]  # type: ignore[index]


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as refused:
        find_layout(root)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Make folders unreadable; permissions do not stop a test that runs as root."""
    closed: set[Path] = set()
    listdir = os.listdir

    def refuse(folder: Path) -> list[str]:
        if Path(folder) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    return closed


def test_without_a_test_folder_a_fifth_of_each_class_is_kept_for_the_test(tmp_path: Path) -> None:
    counts = {"cat": 10, "dog": 33, "emu": 3, "fox": 2}
    root = touch(tmp_path / "photos", *(place for name, count in counts.items() for place in numbered(name, count)))
    layout = find_layout(root)
    assert layout.class_names == ("cat", "dog", "emu", "fox")
    assert layout.is_split_here
    assert places(layout, "val") == []
    every = [place for name, count in counts.items() for place in numbered(name, count)]
    assert sorted(places(layout, "train") + places(layout, "test")) == sorted(every)
    per_class = {name: sum(place.startswith(name) for place in places(layout, "test")) for name in counts}
    assert per_class == {"cat": 2, "dog": 7, "emu": 1, "fox": 0}
    by_digest = sorted(numbered("dog", 33), key=lambda place: hashlib.sha256(place.encode()).hexdigest())
    assert {place for place in places(layout, "test") if place.startswith("dog")} == set(by_digest[:7])


def test_the_split_depends_neither_on_the_order_on_disk_nor_on_the_path_of_the_root(tmp_path: Path) -> None:
    every = [*numbered("cat", 20), *numbered("dog", 20)]
    one, other = touch(tmp_path / "one", *every), touch(tmp_path / "b" / "other", *reversed(every))
    for split in ("train", "test"):
        assert places(find_layout(one), split) == places(find_layout(other), split)
        assert places(find_layout(one), split) == sorted(places(find_layout(one), split))


def test_an_image_that_is_added_moves_at_most_one_other(tmp_path: Path) -> None:
    root = touch(tmp_path, *numbered("cat", 40), *numbered("dog", 40))
    before = set(places(find_layout(root), "test"))
    for number in range(40, 60):
        touch(root, f"cat/{number}.jpg")
        after = set(places(find_layout(root), "test"))
        assert len((before - {f"cat/{number}.jpg"}) ^ (after - {f"cat/{number}.jpg"})) <= 1
        before = after


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Train", "VALID", "Testing"), ("training", "validation", None)],
)
def test_the_users_split_folders_are_recognized_in_every_spelling(
    tmp_path: Path, train: str, val: str, test: str | None
) -> None:
    touch(tmp_path, *numbered(f"{train}/cat", 10), *numbered(f"{train}/dog", 10), *numbered(f"{val}/cat", 3))
    if test:
        touch(tmp_path, *numbered(f"{test}/dog", 4))
    layout = find_layout(tmp_path)
    assert layout.class_names == ("cat", "dog")
    assert places(layout, "val") == numbered(f"{val}/cat", 3)
    assert layout.is_split_here is (test is None)
    assert len(layout.files["test"]) == 4
    assert len(layout.files["train"]) == (20 if test else 16)
    assert [file.class_name for file in layout.files["val"]] == ["cat"] * 3


def test_subfolders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    touch(tmp_path, *numbered("cat", 2), "cat/2019/june/a.JPG", "cat/2020/b.tiff", *numbered("dog/x/y/z", 3))
    layout = find_layout(tmp_path)
    every = {
        place: file.class_name
        for file in (*layout.files["train"], *layout.files["test"])
        for place in [file.relative_path]
    }
    assert every["cat/2019/june/a.JPG"] == every["cat/2020/b.tiff"] == "cat"
    assert sum(name == "dog" for name in every.values()) == 3


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, *numbered("cat", 4), *numbered("dog", 4))
    before = find_layout(tmp_path)
    touch(tmp_path, "__MACOSX/cat/._1.jpg", "__MACOSX/cat/2.jpg", "cat/.ipynb_checkpoints/1-checkpoint.jpg")
    touch(
        tmp_path,
        "cat/@eaDir/1.jpg/THUMB.jpg",
        ".git/a.jpg",
        "cat/.hidden.jpg",
        "cat/._1.jpg",
        "cat/Thumbs.db",
        "cat/notes.txt",
        "cat/.x/b.jpg",
    )
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    assert find_layout(tmp_path).files == before.files
    assert find_layout(tmp_path).skipped == ()


def test_unused_files_and_folders_are_reported(tmp_path: Path, forbidden: set[Path]) -> None:
    touch(tmp_path, *numbered("cat", 3), *numbered("dog", 3), "stray.jpg", "docs/readme.txt", "private/x.jpg")
    forbidden.add(tmp_path / "private")
    said = find_layout(tmp_path).skipped
    assert said == (
        f"1 image in {tmp_path}, outside of the class folders",
        f"{tmp_path / 'docs'}, which holds no image",
        f"{tmp_path / 'private'}: cannot be listed (Permission denied)",
    )
    split = touch(tmp_path / "split", *numbered("train/cat", 3), *numbered("train/dog", 3), *numbered("raw", 2))
    touch(split, *numbered("test", 5))
    assert find_layout(split).is_split_here
    assert find_layout(split).skipped == ("raw, test (neither train nor val nor test with a folder for each class)",)


def test_an_unreadable_subfolder_of_a_class_is_named(tmp_path: Path, forbidden: set[Path]) -> None:
    touch(tmp_path, *numbered("cat", 3), *numbered("dog", 3), "cat/private/a.jpg")
    forbidden.add(tmp_path / "cat" / "private")
    layout = find_layout(tmp_path)
    refused = [file for file in (*layout.files["train"], *layout.files["test"]) if file.refusal]
    assert [(file.relative_path, file.refusal) for file in refused] == [
        ("cat/private", "cannot be listed (Permission denied)")
    ]


def test_images_in_unsupported_formats_are_named_with_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, *numbered("cat", 3), *numbered("dog", 3), "cat/phone.HEIC")
    layout = find_layout(tmp_path)
    refused = [file for file in (*layout.files["train"], *layout.files["test"]) if file.refusal]
    assert [file.refusal for file in refused] == ["HEIC files are not supported: convert it to JPEG or PNG"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    elsewhere = touch(tmp_path / "elsewhere", "a.jpg", "b.jpg", "c.jpg")
    root = touch(tmp_path / "photos", *numbered("cat", 3))
    (root / "dog").symlink_to(elsewhere)
    (root / "cat" / "linked.jpg").symlink_to(elsewhere / "a.jpg")
    (root / "cat" / "again").symlink_to(root / "cat")
    (root / "cat" / "everything").symlink_to(root)
    (root / "cat" / "higher").symlink_to(tmp_path)
    (root / "cat" / "itself").symlink_to(root / "cat" / "itself")
    (root / "loop").symlink_to(root)
    (root / "cat" / "broken.jpg").symlink_to(tmp_path / "nothing.jpg")
    layout = find_layout(root)
    assert layout.class_names == ("cat", "dog")
    found = {file.relative_path: file.refusal for file in (*layout.files["train"], *layout.files["test"])}
    expected = {*numbered("cat", 3), "cat/linked.jpg", "cat/broken.jpg", "dog/a.jpg", "dog/b.jpg", "dog/c.jpg"}
    assert set(found) == expected
    assert {place for place, refusal in found.items() if refusal} == {"cat/broken.jpg"}
    assert layout.skipped == (f"{root / 'loop'}, which holds no image",)


def test_two_links_to_one_folder_count_once(tmp_path: Path) -> None:
    root = touch(tmp_path, *numbered("cat/in", 3), *numbered("dog", 3))
    (root / "cat" / "link").symlink_to(root / "cat" / "in")
    assert sum(len(each) for each in find_layout(root).files.values()) == 6


def test_class_names_may_be_any_text(tmp_path: Path) -> None:
    names = ["猫", "Ёж", "a b", "naïve", "👩‍🔬", "-rf", "x..", "نمر", "%s{0}", "'\"$"]
    touch(tmp_path, *(place for name in names for place in numbered(name, 3)))
    assert set(find_layout(tmp_path).class_names) == set(names)


def test_accents_stored_in_two_ways_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    touch(tmp_path, *numbered(f"train/{composed}", 3), *numbered("train/dog", 3), *numbered(f"test/{decomposed}", 3))
    assert find_layout(tmp_path).class_names == (composed, "dog")


def test_unprintable_names_become_printable(tmp_path: Path) -> None:
    raw = [b"two\nlines", b"\x1b[31mred", b"latin \xe9"]
    for name in raw:
        (tmp_path / os.fsdecode(name)).mkdir()
        for number in range(3):
            (tmp_path / os.fsdecode(name) / f"{number}.jpg").write_bytes(b"")
    assert set(find_layout(tmp_path).class_names) == {"two\ufffdlines", "\ufffd[31mred", "latin \ufffd"}
    assert class_name_of("plain") == "plain"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "holds no folder of images"),
        (["cat/notes.txt"], "holds no folder of images"),
        (numbered("cat", 3), "holds only images of 'cat'. Add a folder of images for each class"),
        ([*numbered("cat", 3), *numbered("dog", 1)], "only one image of 'dog'. Add more"),
        ([*numbered("cat", 2), *numbered("dog", 2)], "two images of each class leave none for the test"),
        ([*numbered("test/cat", 3), *numbered("test/dog", 3)], "has test but no train folder"),
        (
            [*numbered("train/cat", 3), *numbered("train/dog", 3), *numbered("test/emu", 2)],
            "test has 'emu', which is not in train",
        ),
        (
            [*numbered("train/cat", 3), *numbered("train/dog", 3), "val/x.y/1.jpg"],
            "val has 'x.y', which is not in train",
        ),
        (
            [*numbered("train/a", 3), *numbered("val/a", 3), *numbered("valid/a", 3)],
            "val and valid both name the val split",
        ),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_refused_with_what_to_do(
    tmp_path: Path, given: list[str], says: str
) -> None:
    assert says in refusal(touch(tmp_path, *given))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "no such folder" in refusal(touch(tmp_path, "file") / "file")


def test_folders_of_classes_are_recognized(tmp_path: Path) -> None:
    assert holds_classes(touch(tmp_path / "a", "cat/1.jpg", "dog/2.webp", "notes.txt"))
    assert holds_classes(touch(tmp_path / "b", "train/cat/1.jpg", "train/dog/2.jpg"))
    assert not holds_classes(touch(tmp_path / "c", "readme.txt", "cifar-10-batches-bin/test_batch.bin"))
    assert not holds_classes(touch(tmp_path / "d", "cat/1.txt", "dog/2.txt", "one.png"))
    assert not holds_classes(tmp_path / "nowhere")


@pytest.mark.parametrize("given", [["cat/1.jpg"], [f"{number}.jpg" for number in range(4)]])
def test_unsorted_images_are_not_mistaken_for_an_empty_folder(tmp_path: Path, given: list[str]) -> None:
    with pytest.raises(DataError, match="holds images, but not in a folder for each of two classes or more"):
        holds_classes(touch(tmp_path, *given))


def test_a_folder_is_recognized_by_few_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch(tmp_path, *numbered("cat", 300), *numbered("dog", 300))
    num_stats = 0
    stat = Path.stat

    def count(path: Path, **options: bool) -> os.stat_result:
        nonlocal num_stats
        num_stats += 1
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", count)
    assert holds_classes(root)
    assert num_stats < 100
    shutil.rmtree(root / "dog")
