"""The wire: reads a request, finds who answers it, sends the answer, and lets faults happen."""

import json
import re
import socket
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.faults import Fault

if TYPE_CHECKING:
    from tests.hub.double import HubDouble

DROP, PAUSE = 4096, 0.01  # bytes and seconds of a slow body


class RefusedError(Exception):
    """Ends a request with an error answer."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message} if message else {}
        self.headers |= {"X-Error-Code": code} if code else {}


class Wire(BaseHTTPRequestHandler):
    """Serves one request after another of a connection.

    Attributes:
        hub: Whose state the answers come from.
        routes: Regular expression of method and path -> name of the method that answers. It gets
            the named groups and returns JSON, or a status, a body and headers.
    """

    hub: "HubDouble"
    routes: ClassVar[Mapping[str, str]] = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        request = f"{self.command} {url.path}"
        self.hub.requests.append(request)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        down = Fault("status", "", times=0) if self.hub.down else None
        self.fault = down or self.hub.faults.take(request)
        try:
            self.body = self._read_body()
            if self.fault and self.fault.kind in ("status", "slow"):
                self.fault.meanwhile()
            if self.fault and self.fault.kind == "status":
                raise RefusedError(self.fault.status, "the Hub is unwell", self.fault.code)
            for pattern, name in self.routes.items():
                if match := re.fullmatch(pattern, request):
                    parts = {k: unquote(v) for k, v in match.groupdict().items() if v}
                    with self.hub.lock:
                        answer = getattr(self, name)(**parts)
                    return self._send(*answer) if isinstance(answer, tuple) else self._json(answer)
            raise RefusedError(404, code="RepoNotFound")
        except RefusedError as error:
            self._send(error.status, b"{}", error.headers)
        except ConnectionError:
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _read_body(self) -> bytes:
        size = int(self.headers.get("Content-Length") or 0)
        if self.fault and self.fault.kind == "cut" and self.command in ("PUT", "POST"):
            self.rfile.read(size // 2)
            self._hang_up()
        body = self.rfile.read(size)
        if self.fault and self.fault.kind == "corrupt" and self.command == "PUT":
            return _altered(body)
        return body

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        fault = self.fault or Fault("slow", "", times=0)
        if fault.kind == "lost":
            self._hang_up()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.fault and fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.kind == "corrupt" and self.command == "GET":
            body = _altered(body)
        if fault.kind == "cut":
            self.wfile.write(body[: len(body) // 2])
            self._hang_up()
        if self.fault and fault.kind == "slow":
            for start in range(0, len(body), DROP):
                self.wfile.write(body[start : start + DROP])
                time.sleep(PAUSE)
        else:
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.wfile.flush()
        if self.fault:
            self.fault.meanwhile()
        self.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    def log_message(self, format: str, *args: Any) -> None:
        """Stays silent."""


def _altered(body: bytes) -> bytes:
    """The same with one bit of the last byte turned over."""
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body
