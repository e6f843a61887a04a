"""A headless Chromium that opens a file and says what it saw, by its own protocol (DevTools)."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.gateway.serving import eventually

PROGRAMS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome")
VARIABLE = "JETSERVE_CHROMIUM"
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run",
           "--disable-background-networking", "--disable-component-update")  # fmt: skip
START_S = 30.0


def program() -> str | None:
    """Where it is, if it is here."""
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass
class Seen:
    """Of one page: what it wrote to its console, asked for, and how wide it came to be."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    width: int = 0
    colour: str = ""
    """Of the page's ground."""
    text: str = ""
    picture: bytes = b""


@contextmanager
def browser() -> Iterator["Browser"]:
    """One, for as many pages as are wanted."""
    found = program()
    assert found is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        port = Path(folder) / "DevToolsActivePort"
        started = subprocess.Popen(
            [found, *OPTIONS, f"--user-data-dir={folder}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            eventually(lambda: port.exists() and port.read_text().count("\n"), within_s=START_S)
            number, path = port.read_text().split("\n")[:2]
            with connect(f"ws://127.0.0.1:{number}{path}", max_size=None) as connection:
                yield Browser(connection)
        finally:
            started.kill()
            started.wait()


class Browser:
    """Asks, waits for the answer, and keeps the events that come between."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def see(self, page: Path, *, width: int, dark: bool, height: int = 900, whole: bool = False) -> Seen:
        """Open a file at that width, in that colour scheme; `whole` pictures are as long as the page."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable", session)
        self._ask("Emulation.setDeviceMetricsOverride", session, width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", session, features=[scheme])
        self._events.clear()
        self._ask("Page.navigate", session, url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._take(START_S)
        seen = Seen(
            width=self._value(session, "document.documentElement.scrollWidth"),
            colour=self._value(session, "getComputedStyle(document.body).backgroundColor"),
            text=self._value(session, "document.body.innerText"),
        )
        picture = self._ask("Page.captureScreenshot", session, captureBeyondViewport=whole)
        seen.picture = base64.b64decode(picture["data"])
        for event in self._events:
            about = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                seen.requests.append(about["request"]["url"])
            elif event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                seen.console.append(json.dumps(about))
        self._ask("Target.closeTarget", targetId=target)
        return seen

    def _value(self, session: str, expression: str) -> Any:
        return self._ask("Runtime.evaluate", session, expression=expression)["result"]["value"]

    def _ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        asked = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._connection.send(json.dumps(asked))
        while True:
            answer = self._take(START_S)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _take(self, within_s: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(timeout=within_s))
        if "method" in message:
            self._events.append(message)
        return message
