from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from firstlight.errors import RunError
from firstlight.export.image_sheet import read_sheet, write_sheet


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
def test_every_pixel_is_read_back_from_a_sheet(count: int, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, 5, 7), generator=draw, dtype=torch.uint8)
    write_sheet(tmp_path / "sheet.png", images)
    assert torch.equal(read_sheet(tmp_path / "sheet.png", count, (5, 7)), images)


def test_images_are_in_rows_from_the_upper_left(tmp_path: Path) -> None:
    images = torch.zeros(33, 3, 2, 2, dtype=torch.uint8)
    images[1], images[32] = 100, 200
    write_sheet(tmp_path / "sheet.png", images)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (64, 4)
        assert [sheet.getpixel(place) for place in ((0, 0), (2, 1), (0, 2), (2, 2))] == [
            (0, 0, 0),
            (100, 100, 100),
            (200, 200, 200),
            (0, 0, 0),
        ]


@pytest.mark.parametrize("damage", ["missing", "text", "another count", "another size"])
def test_a_file_that_is_no_sheet_is_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    if damage == "text":
        path.write_text("not a picture")
    elif damage != "missing":
        write_sheet(path, torch.zeros(40, 3, 4, 4, dtype=torch.uint8))
    asked = {"another count": (70, (4, 4)), "another size": (40, (4, 5))}.get(damage, (40, (4, 4)))
    with pytest.raises(RunError, match="cannot be read as a sheet"):
        read_sheet(path, *asked)
