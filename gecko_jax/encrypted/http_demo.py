"""A demonstration over HTTP on this machine: a server that holds no secret key, and a client that asks it.

  GET  /interface   the public part of the program, from which a client is made
  POST /keys        evaluation keys; answers with the id of the key
  POST /answer      an encrypted input; answers with the encrypted output

It has neither TLS nor authentication nor a limit on connections, so that it listens on 127.0.0.1 alone.
What is refused gets status 400, 411 or 413 with the reason as text, and the server goes on.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

from gecko_jax import checks, runtime
from gecko_jax.encrypted.blobs import Refused

TIMEOUT_SECONDS = 30.0  # without a byte from a client, and the time that a refused body is read and dropped
BLOCK_BYTES = 1 << 20
HOST = "127.0.0.1"


class Answering(Protocol):
    """What is served: `encrypted.Server`, or anything that speaks bytes as it does."""

    def interface(self) -> bytes: ...  # noqa: D102

    def max_bytes(self, kind: str) -> int: ...  # noqa: D102

    def add_keys(self, blob: bytes) -> str: ...  # noqa: D102

    def answer(self, blob: bytes, progress: Callable[[int, int], None] | None = None) -> bytes: ...  # noqa: D102


@contextlib.contextmanager
def serve(
    server: Answering, port: int = 0, *, timeout: float = TIMEOUT_SECONDS, stream: TextIO | None = None
) -> Iterator[str]:
    """Serves a program on this machine, in threads of this process, until the block is left.

    Args:
      server: what answers.
      port: TCP port; 0 for any that is free.
      timeout: seconds without a byte after which a connection is closed.
      stream: where a line shows how far a computation is; standard error if None.

    Yields:
      The address, "http://127.0.0.1:PORT".

    Raises:
      OSError: if the port is taken.

    >>> class Echo:
    ...     def interface(self):
    ...         return b"public"
    ...     def max_bytes(self, kind):
    ...         return 1000
    ...     def add_keys(self, blob):
    ...         return blob.hex()
    ...     def answer(self, blob, progress=None):
    ...         return blob.upper()
    >>> with serve(Echo()) as url:
    ...     remote = RemoteServer(url)
    ...     remote.interface(), remote.add_keys(b"k"), remote.answer(b"question")
    (b'public', '6b', b'QUESTION')
    """
    checks.in_range("port", port, 0, 65535)
    web = _Web((HOST, port), _Handler)
    web.answering, web.seconds = server, checks.positive("timeout", timeout)
    web.stream = sys.stderr if stream is None else stream
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{web.server_address[1]}"
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


class RemoteServer:
    """A server behind an address, with the methods of `encrypted.Server`.

    Args:
      url: "http://127.0.0.1:PORT", as `serve` yields.
      timeout: seconds without an answer; a large program computes for minutes.
      max_bytes: the most that an answer may have.
    """

    def __init__(self, url: str, timeout: float = 600.0, max_bytes: int = 1 << 30):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"url={url!r} must be an address such as http://127.0.0.1:8000.")
        self._place, self._timeout, self._max_bytes = (parts.hostname, parts.port or 80), timeout, max_bytes

    def interface(self) -> bytes:
        """Returns the public part of the program."""
        return self._ask("GET", "/interface")

    def add_keys(self, blob: bytes) -> str:
        """Sends evaluation keys; returns the key's id.

        Args:
          blob: see `Server.add_keys`.

        Raises:
          Refused: with the server's reason.
        """
        return self._ask("POST", "/keys", blob).decode("ascii", "replace")

    def answer(self, blob: bytes) -> bytes:
        """Sends an encrypted input; returns the encrypted output.

        Args:
          blob: see `Server.answer`.

        Raises:
          Refused: with the server's reason.
        """
        return self._ask("POST", "/answer", blob)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        with contextlib.closing(http.client.HTTPConnection(*self._place, timeout=self._timeout)) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may refuse before it has read all
                connection.request(method, path, body)
            reply = connection.getresponse()
            content = reply.read(self._max_bytes + 1)
        if reply.status in (400, 404, 411, 413):
            raise Refused(content.decode("utf-8", "replace"))
        if reply.status != 200:
            raise ConnectionError(f"{method} {path}: status {reply.status}: {content[:200].decode('utf-8', 'replace')}")
        if len(content) > self._max_bytes:
            raise Refused(f"{method} {path}: the answer has more than {self._max_bytes} bytes.")
        return content


class _Web(http.server.ThreadingHTTPServer):
    daemon_threads = True
    answering: Answering
    seconds: float
    stream: TextIO

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stays silent about connections that break off."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Web  # type: ignore[assignment]

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.seconds)

    def do_GET(self) -> None:  # noqa: N802
        if self.path != "/interface":
            return self._reply(404, f"{self.path}: expected GET /interface, POST /keys or POST /answer.")
        return self._reply(200, self.server.answering.interface())

    def do_POST(self) -> None:  # noqa: N802
        kinds = {"/keys": "evaluation keys", "/answer": "encrypted input"}
        if self.path not in kinds:
            return self._reply(404, f"{self.path}: expected GET /interface, POST /keys or POST /answer.")
        try:
            body = self._body(kinds[self.path])
            reply = self._add_keys(body) if self.path == "/keys" else self._answer(body)
        except Refused as refused:
            return self._reply(400, str(refused))
        except _Unread as unread:
            return self._reply(unread.status, str(unread), drop=True)
        except Exception as error:  # the server lives on; its owner sees what happened, the client does not
            print(f"{self.path}: {type(error).__name__}: {error}", file=self.server.stream, flush=True)
            return self._reply(500, "the server failed; its own log says why.")
        return self._reply(200, reply)

    def _add_keys(self, body: bytes) -> bytes:
        return self.server.answering.add_keys(body).encode()

    def _answer(self, body: bytes) -> bytes:
        with contextlib.ExitStack() as stack:
            bars = []

            def show(done: int, total: int) -> None:
                if not bars:
                    bars.append(stack.enter_context(runtime.progress(total, "encrypted", self.server.stream)))
                bars[0].step()

            return self.server.answering.answer(body, progress=show)

    def _body(self, kind: str) -> bytes:
        """The body, if its declared length is one that the program can have."""
        declared = self.headers.get("Content-Length", "")
        if not declared.isdecimal():
            raise _Unread(411, f"{kind}: Content-Length={declared!r} must be the number of bytes that follow.")
        if int(declared) > (limit := self.server.answering.max_bytes(kind)):
            raise _Unread(413, f"{kind}: {declared} bytes; for this program it has at most {limit}.")
        try:
            body = self.rfile.read(int(declared))
        except TimeoutError as error:
            raise _Unread(400, f"{kind}: truncated: {declared} bytes were declared and did not arrive.") from error
        if len(body) < int(declared):
            raise _Unread(400, f"{kind}: truncated: {len(body)} of {declared} declared bytes arrived.")
        return body

    def _reply(self, status: int, content: bytes | str, drop: bool = False) -> None:
        kind, body = ("text/plain; charset=utf-8", content.encode()) if isinstance(content, str) else (
            "application/octet-stream", content)  # fmt: skip
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if drop:  # else the client's system could discard this reply together with what it still sends
            self.connection.settimeout(0.5)
            with contextlib.suppress(OSError):
                for _ in range(128):
                    if not self.rfile.read1(BLOCK_BYTES):
                        break

    def log_message(self, format: str, *args: Any) -> None:
        """The progress line is the log."""


class _Unread(Exception):
    """A request that is refused before all of its body is read."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status
