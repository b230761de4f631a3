"""The HTTP side: one server on 127.0.0.1, its faults, and all it was ever sent."""

import gzip
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Self
from urllib.parse import unquote, urlsplit

from .model import RefusedError, State
from .operations import answer
from .runs import file_stream
from .versions import stored_file

FAULTS = {"unauthorized": 401, "forbidden": 403, "missing": 404, "error": 500}


class Server:
    """``with Server() as server:`` and point a client at ``server.environment()``.

    The attributes ``runs``, ``artifacts``, ``links``, ``alerts``, ``sweeps``, ``views`` and
    ``unknown`` hold what was received; see the classes in ``model``. ``fault`` may be set at any time to
    a name in ``FAULTS``, to "hang" (no answer), "storage" (no answer for files) or to None.
    """

    def __init__(self, *, seed: int = 0, run_cap: int = 3) -> None:
        self.state = State(seed=seed, run_cap=run_cap)
        self.runs = self.state.runs
        self.artifacts = self.state.artifacts
        self.links = self.state.links
        self.alerts = self.state.alerts
        self.sweeps = self.state.sweeps
        self.views = self.state.views
        self.unknown = self.state.unknown
        self.stop = self.state.stop
        self.fault: str | None = None
        self.received: list[bytes] = []
        self.connections: set[socket.socket] = set()
        self.closing = threading.Event()
        self._http = _HTTPServer(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.state.url = self.url

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def environment(self) -> dict[str, str]:
        """The variables that send a client here, and nowhere else."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "0" * 40,
            "WANDB_MODE": "online",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "WANDB_INIT_TIMEOUT": "20",
            "WANDB_FINISH_TIMEOUT": "20",
        }

    def bodies(self) -> bytes:
        """All that was received, to search for what must never be sent.

        Paths, headers and bodies (unpacked where they came in gzip), without the one header
        that is meant to carry the key.
        """
        return b"\n".join(self.received)

    def die(self) -> None:
        """Stop answering now: close the port and every connection. A second call is nothing."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by the client in the meantime


class _HTTPServer(ThreadingTCPServer):
    """Not ThreadingHTTPServer, which looks its own name up in the DNS when it starts."""

    daemon_threads = True
    block_on_close = False  # a handler that hangs must not hold up the end of a test
    request_queue_size = 64  # wandb-core opens many connections at once

    def __init__(self, owner: Server) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HTTPServer

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections.add(self.connection)

    def finish(self) -> None:
        self.server.owner.connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the client, or die(), hung up

    def log_message(self, *_: object) -> None:
        """Say nothing: the output belongs to the test."""

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def do_POST(self) -> None:
        self._serve(self._post)

    def _serve(self, reply: Callable[[str, bytes], tuple[int, bytes]]) -> None:
        owner = self.server.owner
        body = self._read()
        headers = [f"{k}: {v}" for k, v in self.headers.items() if k.lower() != "authorization"]
        owner.received.append("\n".join([self.requestline, *headers, ""]).encode() + body)
        silent = {"hang", "storage"} if self.path.startswith("/storage/") else {"hang"}
        while owner.fault in silent and not owner.closing.wait(0.02):
            pass
        if owner.closing.is_set():
            self.close_connection = True
        elif owner.fault in FAULTS:
            self._send(FAULTS[owner.fault], b'{"error": "planted fault"}')
        else:
            with owner.state.lock:
                status, content = reply(unquote(urlsplit(self.path).path), body)
            self._send(status, content)

    def _read(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _get(self, path: str, _body: bytes) -> tuple[int, bytes]:
        state = self.server.owner.state
        if path == "/":
            return 200, b""  # whether the server answers at all
        if path.startswith("/artifactsV2/"):
            content = stored_file(state, *path.split("/")[-2:])
        else:
            shelf, key = state.slots.get(path, ({}, ""))
            content = shelf.get(key)
        return self._missing(path) if content is None else (200, content)

    def _put(self, path: str, body: bytes) -> tuple[int, bytes]:
        if path not in self.server.owner.state.slots:
            return self._missing(path)
        shelf, key = self.server.owner.state.slots[path]
        shelf[key] = body
        return 200, b""

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        state = self.server.owner.state
        if path == "/graphql":
            return 200, json.dumps(answer(state, json.loads(body))).encode()
        if path.endswith("/file_stream"):
            try:
                reply = file_stream(state, path.split("/")[-2], json.loads(body))
            except (KeyError, RefusedError) as error:
                state.unknown.append(f"{path}: {error!r}")
                return 400, b"{}"
            return 200, json.dumps(reply).encode()
        if path.startswith("/sdk/otel"):
            return 200, b""  # telemetry: accepted and dropped
        return self._missing(path)

    def _missing(self, path: str) -> tuple[int, bytes]:
        self.server.owner.unknown.append(f"{self.command} {path}")
        return 404, b'{"error": "the stand-in does not know this address"}'
