"""Drives a headless Chromium as a person would: real clicks, keys and hovering, through its debugging pipe."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe")
KEYS = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "Escape": 27}


class Tab:
    """A tab of a running browser."""

    def __init__(self, send: int, receive: Any):
        self._send, self._receive, self._number, self._session = send, receive, 0, {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.errors: list[str] = []
        self.call("Page.enable")
        self.call("Runtime.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Returns the answer to a command; what the page throws or is forbidden meanwhile goes into `errors`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(answer["params"]["exceptionDetails"]))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._receive.read(1)) != b"\0":
            if not byte:
                raise EOFError("the browser has ended")
            text += byte
        return json.loads(text)

    def open(self, path: pathlib.Path, width: int, dark: bool = False, address: str = "") -> None:
        """Opens a file in a window of that width, and waits for its script; `address` follows its name."""
        self.errors.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.as_uri() + address)
        self.run("new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))")

    def run(self, expression: str) -> Any:
        """Returns the value of an expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def middle(self, selector: str) -> tuple[float, float]:
        """Returns where an element's middle is, after scrolling to it."""
        box = self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            f" return [b.left + b.width / 2, b.top + b.height / 2]; }})(document.querySelector({json.dumps(selector)}))"
        )
        return tuple(box)

    def hover(self, selector: str) -> None:
        """Moves the mouse to an element's middle."""
        x, y = self.middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Presses and releases the left button at an element's middle: whatever lies on top there gets it."""
        x, y = self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Presses keys, one after another."""
        for key in keys:
            common = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
            text = {"text": "\r"} if key == "Enter" else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, selector: str, text: str) -> None:
        """Clicks into a field and types over what is there."""
        self.click(selector)
        self.run("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        """Chooses an entry of a list, whose open window is not part of the page."""
        self.run(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def picture(self, path: pathlib.Path, height: int) -> None:
        """Writes the page from its top to a height as a PNG."""
        width = self.run("window.innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def chromium(program: str, folder: pathlib.Path) -> Iterator[Tab]:
    """Starts a browser with its profile in a folder, yields a tab, and ends it."""
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 50) for end in (*os.pipe(), *os.pipe())]  # apart from 3 and 4
    read_there, send, receive, write_there = ends
    actions = [(os.POSIX_SPAWN_DUP2, read_there, 3), (os.POSIX_SPAWN_DUP2, write_there, 4)]
    actions.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
    command = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    process = os.posix_spawn(program, command, os.environ, file_actions=actions)
    os.close(read_there)
    os.close(write_there)
    try:
        with os.fdopen(receive, "rb") as answers:
            yield Tab(send, answers)
    finally:
        os.close(send)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
