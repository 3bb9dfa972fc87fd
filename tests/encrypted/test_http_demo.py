"""The demonstration over HTTP: what it answers, what it refuses, and that it lives on."""

import contextlib
import io
import socket

import pytest

from gecko_jax.encrypted import Refused, http_demo

LIMIT = 100_000


class Fake:
    """Answers as `encrypted.Server` does, without encryption."""

    def __init__(self):
        self.seen = []

    def interface(self):
        return b"public"

    def max_bytes(self, kind):
        return {"evaluation keys": 20 * LIMIT, "encrypted input": LIMIT}[kind]

    def add_keys(self, blob):
        self.seen.append(blob)
        return "00ff"

    def answer(self, blob, progress=None):
        if blob == b"refuse":
            raise Refused("encrypted input: damaged: é")
        if blob == b"fail":
            raise KeyError("a fault of the server, with a secret path")
        for done in range(3):
            progress(done + 1, 3)
        return blob[::-1]


@pytest.fixture
def demo():
    """(fake, its address, what it printed)."""
    fake, stream = Fake(), io.StringIO()
    with http_demo.serve(fake, timeout=0.4, stream=stream) as url:
        yield fake, url, stream


def lives(url):
    return http_demo.RemoteServer(url).answer(b"abc") == b"cba"


def raw(url, content, close):
    """What the server replies to these bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
            close and connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


def test_questions_are_answered_with_a_progress_line(demo):
    fake, url, stream = demo
    remote = http_demo.RemoteServer(url)
    assert remote.interface() == b"public"
    keys = bytes(range(256)) * 5000
    assert remote.add_keys(keys) == "00ff" and fake.seen == [keys]
    assert remote.answer(b"abc") == b"cba"
    lines = stream.getvalue().splitlines()
    assert lines[0] == "encrypted 1/3" and lines[-1].startswith("encrypted 3/3  done in")


def test_a_refusal_arrives_with_its_reason(demo):
    with pytest.raises(Refused, match="encrypted input: damaged: é"):
        http_demo.RemoteServer(demo[1]).answer(b"refuse")
    assert lives(demo[1])


def test_a_fault_of_the_server_is_told_to_its_owner_alone(demo):
    with pytest.raises(ConnectionError, match="status 500: the server failed") as caught:
        http_demo.RemoteServer(demo[1]).answer(b"fail")
    assert "secret path" not in str(caught.value) and "secret path" in demo[2].getvalue()
    assert lives(demo[1])


@pytest.mark.parametrize("size", [LIMIT + 1, 30 * LIMIT])
def test_an_oversized_body_is_refused_by_its_declared_length(demo, size):
    with pytest.raises(Refused, match=f"encrypted input: {size} bytes; for this program it has at most {LIMIT}"):
        http_demo.RemoteServer(demo[1]).answer(bytes(size))
    assert lives(demo[1])


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"POST /answer HTTP/1.1\r\nContent-Length: 50\r\n\r\nabc", "400"),
        (b"POST /answer HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nabc", "413"),
        (b"POST /answer HTTP/1.1\r\nContent-Length: -5\r\n\r\nabc", "411"),
        (b"POST /answer HTTP/1.1\r\nContent-Length: five\r\n\r\nabc", "411"),
        (b"POST /answer HTTP/1.1\r\n\r\nabc", "411"),
        (b"POST /answer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "411"),
        (b"POST /secrets HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "404"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", "404"),
        (b"DELETE /keys HTTP/1.1\r\n\r\n", "501"),
        (b"\x16\x03\x01 not HTTP\r\n\r\n", "400"),
    ],
)
def test_what_is_malformed_is_refused_and_the_server_lives_on(demo, request_, status):
    reply = raw(demo[1], request_, close=True)
    assert f" {status} " in reply.split("\r\n")[0] or f"Error code: {status}" in reply
    assert lives(demo[1])


def test_a_body_that_never_arrives_is_refused(demo):
    reply = raw(demo[1], b"POST /answer HTTP/1.1\r\nContent-Length: 50\r\n\r\nabc", close=False)
    assert "truncated: 50 bytes were declared and did not arrive" in reply
    assert lives(demo[1])


def test_a_client_that_goes_away_is_no_fault(demo):
    host, port = demo[1].removeprefix("http://").split(":")
    for content in (b"", b"POST /answer HTT", b"POST /answer HTTP/1.1\r\nContent-Length: 9\r\n\r\n"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(content)
    assert lives(demo[1])


def test_it_listens_on_this_machine_alone(demo):
    assert demo[1].startswith("http://127.0.0.1:")
    with pytest.raises(OSError), http_demo.serve(Fake(), port=int(demo[1].rsplit(":")[-1])):
        pass


def test_an_answer_that_is_too_large_is_refused(demo):
    with pytest.raises(Refused, match="more than 2 bytes"):
        http_demo.RemoteServer(demo[1], max_bytes=2).answer(b"abc")


@pytest.mark.parametrize("url", ["127.0.0.1:80", "https://127.0.0.1", "http://", ""])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="must be an address"):
        http_demo.RemoteServer(url)


def test_a_port_outside_is_refused():
    with pytest.raises(ValueError, match="port"), http_demo.serve(Fake(), port=70000):
        pass
