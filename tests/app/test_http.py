"""Valid and hostile requests to a server on loopback."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from firstlight.app.service import MapOptions, Service
from firstlight.app.serving import served
from firstlight.app.sweeper import swept
from firstlight.app.upload_limits import MAX_BYTES, read_upload
from firstlight.errors import UsageError
from firstlight.export.bundle import Bundle
from firstlight.plots.overlay import overlay
from reference.hostile import BAD, GOOD
from reference.tiny import CLASS_NAMES


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def kept(tmp_path: Path, name: str, content: bytes) -> Any:
    (tmp_path / name).write_bytes(content)
    return handle_file(tmp_path / name)


def ask(address: str, data: list[Any]) -> dict[str, Any]:
    """Call `/classify` as with curl: start it, read its events and return the last."""
    started = httpx.post(f"{address}/gradio_api/call/classify", json={"data": data}, timeout=60)
    if started.status_code != 200:
        return {"status": started.status_code, "detail": started.json()["detail"]}
    event_id = started.json()["event_id"]
    events = httpx.get(f"{address}/gradio_api/call/classify/{event_id}", timeout=60).text
    kind, content = events.strip().split("\n")[-2:]
    return {"event": kind.removeprefix("event: "), "data": json.loads(content.removeprefix("data: "))}


def upload(address: str, content: bytes, name: str = "x.png") -> str:
    done = httpx.post(f"{address}/gradio_api/upload", files={"files": (name, content)}, timeout=60)
    assert done.status_code == 200, done.text
    return str(done.json()[0])


def file_data(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}} | more


def test_the_documented_call_returns_the_result_of_the_service(client: Client, bundle: Bundle, tmp_path: Path) -> None:
    picture = kept(tmp_path, "photo.jpg", GOOD["photo.jpg"]())
    found = client.predict(picture, 2, True, "hires_cam", "layer3", "blue", 0.3, api_name="/classify")
    pixels = read_upload(GOOD["photo.jpg"](), "photo.jpg", (16, 16)).pixels
    expected = Service(bundle).predict(pixels, MapOptions("hires_cam", "layer3"), "blue")
    assert expected.evidence is not None
    assert [(each["label"], each["probability"]) for each in found["top"]] == [
        (name, pytest.approx(share, abs=1e-5)) for name, share in expected.prediction.top(2)
    ]
    assert found["label"] == expected.prediction.label
    assert found["unlike_training_data"] is expected.is_novel
    assert (found["map"]["explains"], found["map"]["stage"]) == ("blue", "layer3")
    np.testing.assert_allclose(found["map"]["values"], expected.evidence, atol=1e-5)
    picture = Image.open(io.BytesIO(base64.b64decode(found["map"]["overlay"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(picture), overlay(expected.pixels, expected.evidence, 0.3))
    plain = client.predict(handle_file(tmp_path / "photo.jpg"), with_map=False, api_name="/classify")
    assert "map" not in plain
    assert len(plain["top"]) == 3


def test_the_api_is_described_with_names_and_choices(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/classify"], "the events of the page are not for others"
    names = [each["parameter_name"] for each in endpoints["/classify"]["parameters"]]
    assert names == ["picture", "top", "with_map", "method", "stage", "explain", "opacity"]


@pytest.mark.parametrize("name", ["cmyk.jpg", "palette.png", "animated.gif", "rotated.jpg", "long.png", "modern.webp"])
def test_unusual_pictures_are_classified(client: Client, tmp_path: Path, name: str) -> None:
    found = client.predict(kept(tmp_path, name, GOOD[name]()), api_name="/classify")
    assert found["label"] in CLASS_NAMES


@pytest.mark.parametrize(
    "name", ["bomb.png", "text.png", "drawing.svg", "page.html", "cut.jpg", "scan.tiff", "empty.png"]
)
def test_bad_files_are_refused_with_one_line_of_firstlight(client: Client, tmp_path: Path, name: str) -> None:
    make, says = BAD[name]
    with pytest.raises(AppError, match=says):
        client.predict(kept(tmp_path, name, make()), api_name="/classify")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({0: None}, "contains no picture"),
        ({0: [1]}, "must be an uploaded picture"),
        ({0: "text"}, "must be an uploaded picture"),
        ({3: "magic"}, "magic"),
        ({4: "layer1.conv"}, "layer1.conv"),
        ({5: "pink"}, "pink"),
        ({6: 7}, "opacity must be a number from 0 to 1, not 7"),
        ({6: "much"}, "opacity must be a number from 0 to 1, not 'much'"),
        ({1: "many"}, "top must be a number from 1 to 4, not 'many'"),
        ({1: None}, "top must be a number from 1 to 4, not None"),
        ({2: {"deep": []}}, "map must be true or false"),
        ({3: {"deep": []}}, "method must be one of grad_cam"),
        ({0: "text"}, ""),
        ({0: 12}, ""),
        ({0: [1, 2]}, ""),
    ],
    ids=str,
)
def test_invalid_arguments_are_refused_without_a_traceback(address: str, changes: dict[int, Any], says: str) -> None:
    data: list[Any] = [file_data(upload(address, GOOD["rgb.png"]())), 3, True, "grad_cam", "layer3", "red", 0.5]
    for place, value in changes.items():
        data[place] = value
    found = ask(address, data)
    assert found["event"] == "error"
    said = json.dumps(found["data"])
    assert says in said
    assert "Traceback" not in said
    assert ".py" not in said


def test_a_large_upload_is_refused_before_it_is_stored(address: str) -> None:
    done = httpx.post(f"{address}/gradio_api/upload", files={"files": ("x.png", bytes(MAX_BYTES + 5000))}, timeout=60)
    assert done.status_code == 413
    many = [("files", (f"{number}.png", bytes(MAX_BYTES // 3))) for number in range(4)]
    assert httpx.post(f"{address}/gradio_api/upload", files=many, timeout=60).status_code == 413


def test_a_page_that_only_claims_to_be_this_machine_gets_no_answer(address: str) -> None:
    """DNS rebinding: the name of a stranger's page points to 127.0.0.1."""
    assert httpx.get(f"{address}/config", headers={"Host": "evil.example"}).status_code == 421
    own = httpx.get(f"{address}/config", headers={"X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"})
    assert own.status_code == 200
    assert "evil.example" not in own.text
    assert "evil.example" not in str(own.headers)
    assert own.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "etc/passwd", "../../../../etc/passwd", "/tmp/../etc/passwd", "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd", "/proc/self/environ", "//etc/passwd", "C:/Windows/win.ini", "\\etc\\passwd", "",
        ".", "/",
    ],
)  # fmt: skip
def test_no_path_reads_a_file_of_the_server(address: str, path: str) -> None:
    for start in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/theme/"):
        answer = httpx.get(f"{address}{start}{path}", timeout=60)
        assert answer.status_code in (400, 403, 404, 422), f"{start}{path}"
        assert "root:" not in answer.text


def test_a_path_with_dots_sent_raw_is_refused_too(address: str) -> None:
    """Sent raw, because httpx normalizes addresses."""
    host, port = address.removeprefix("http://").split(":")
    for path in ("/static/../../../../../../etc/passwd", "/gradio_api/file=/tmp/../etc/passwd", "/assets/..%2f..%2fx"):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = connection.makefile("rb").read()
        assert answer.split(b" ")[1] in (b"403", b"404"), path
        assert b"root:" not in answer


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname", __file__, "../../etc/passwd"])
def test_a_picture_cannot_be_a_file_of_the_server(address: str, path: str) -> None:
    found = ask(address, [file_data(path), 3, False, "grad_cam", "layer3", "red", 0.5])
    assert found["event"] == "error"


@contextmanager
def counting() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that records its requests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(GOOD["rgb.png"]())

        do_HEAD = do_POST = do_GET  # noqa: N815  # the base class looks for these names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_the_server_never_fetches_what_a_request_names(address: str) -> None:
    with counting() as (other, asked):
        rest: list[Any] = [3, False, "grad_cam", "layer3", "red", 0.5]
        path = upload(address, GOOD["rgb.png"]())
        hostile = [
            file_data(f"{other}/a.png"),
            file_data(f"{other}/b.png", url=f"{other}/b.png"),
            file_data(path, url=f"{other}/c.png"),
            {"path": f"{other}/d.png"},
            {"url": f"{other}/e.png", "meta": {"_type": "gradio.FileData"}},
            f"{other}/f.png",
        ]
        for picture in hostile:
            ask(address, [picture, *rest])
            ask(address, [file_data(path), 3, picture, "grad_cam", "layer3", "red", 0.5])
        for start in ("file=", "proxy="):
            httpx.get(f"{address}/gradio_api/{start}{other}/g.png", timeout=60)
            httpx.head(f"{address}/gradio_api/{start}{other}/g.png", timeout=60)
        joined = {"data": [file_data(f"{other}/h.png"), *rest], "fn_index": 0, "session_hash": "h"}
        refused = httpx.post(f"{address}/gradio_api/queue/join", json=joined, timeout=60)
        assert refused.status_code == 400
        assert refused.json()["detail"] == "pictures are not fetched from URLs: upload the file"
        assert asked == []
        assert httpx.get(f"{other}/alive").status_code == 200
        assert asked == ["/alive"], "the counter counts"


def test_uploads_are_deleted_when_the_page_is_closed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firstlight.app.serving.swept", partial(swept, every_s=0.2, after_s=0.5))
    with served(bundle, "127.0.0.1") as own:
        path = Path(upload(own.rstrip("/"), GOOD["rgb.png"]()))
        folder = next(parent for parent in path.parents if parent.name.startswith("firstlight-app-"))
        assert path.is_file()
        found = ask(own.rstrip("/"), [file_data(str(path)), 3, True, "grad_cam", "layer3", "red", 0.5])
        assert found["event"] == "complete"
        deadline = time.monotonic() + 60
        while any(folder.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not any(folder.iterdir()), "uploads go by themselves, with their folders; answers are not files"
    assert not folder.exists()


def test_a_port_in_use_is_one_line(bundle: Bundle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(UsageError, match="is in use: choose another with --port"),
            served(bundle, "127.0.0.1", taken.getsockname()[1]),
        ):
            pytest.fail("the page must not open")


def test_the_page_has_no_analytics_and_no_history(address: str) -> None:
    config = httpx.get(f"{address}/config", timeout=60).json()
    assert config["analytics_enabled"] is False
    assert not config.get("run_history")
    page = httpx.get(address, timeout=60).text
    assert "googleapis" not in page
    assert "https://cdn" not in page


def test_the_queue_is_bounded(address: str, bundle: Bundle) -> None:
    from firstlight.app.page import MAX_WAITING, build_page

    page = build_page(Service(bundle))
    assert page._queue.max_size == MAX_WAITING == 64
    limits = {fn.concurrency_limit for fn in page.fns.values() if fn.concurrency_id == "model"}
    assert limits == {2}
    assert all(fn.concurrency_id == "model" for fn in page.fns.values() if fn.fn is not None)
