"""A stand-in of the Hugging Face hub: it creates repositories and takes commits, also of large files."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, OID = "hf_of_the_test", "1" * 40


class Hub(ThreadingHTTPServer):
    """What the hub has: repositories with their options, files by repository and path, large files by digest."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.created: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.requested: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        body, path = self._body(), self.path.split("?")[0]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials"}, 401)
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            kind, name = asked.get("type", "model"), f"{asked['organization']}/{asked['name']}"
            self.server.created[name] = asked
            return self._answer({"url": f"{self.server.address}/{'spaces/' if kind == 'space' else ''}{name}"})
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": _mode(each), "shouldIgnore": False} for each in asked]
            return self._answer({"files": modes})
        if path.endswith("/info/lfs/objects/batch"):
            return self._answer(self._batch(json.loads(body)))
        if "/commit/" in path:
            self._commit(path, body)
            address = "/".join(path.removeprefix("/api/").removeprefix("models/").split("/")[:-1])
            return self._answer({"commitUrl": f"{self.server.address}/{address}/{OID}", "commitOid": OID})
        return self._answer({"error": path}, 404)

    def do_PUT(self) -> None:
        content = self._body()
        self.server.large[hashlib.sha256(content).hexdigest()] = content
        self._answer({})

    def do_GET(self) -> None:
        self._body()
        self._answer({"error": self.path}, 404)

    def _body(self) -> bytes:
        self.server.requested.append(f"{self.command} {self.path}")
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = [
            each | {"actions": {"upload": {"href": f"{self.server.address}/large/{each['oid']}", "header": {}}}}
            for each in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def _commit(self, path: str, body: bytes) -> None:
        files = self.server.files.setdefault("/".join(path.split("/")[3:5]), {})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                files[line["value"]["path"]] = self.server.large[line["value"]["oid"]]

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _mode(file: dict[str, Any]) -> str:
    return "lfs" if file["path"].endswith((".onnx", ".gz", ".png", ".safetensors")) else "regular"


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Start a stand-in of the hub."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
