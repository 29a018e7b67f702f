"""Headless Chromium, driven over a pipe: the few commands of its DevTools protocol that the tests of pages need."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class PageLeftError(RuntimeError):
    """The page that was asked is being replaced by the next one."""


class Chromium:
    """One browser with one page."""

    def __init__(self, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs, self._out = os.pipe()
        self._in, theirs_too = os.pipe()
        # The browser reads commands from its file 3 and writes answers to its file 4.
        command = f'exec "$0" "$@" 3<&{theirs} 4>&{theirs_too}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, str(PROGRAM), *_FLAGS, *flags, f"--user-data-dir={self._folder.name}"],
            pass_fds=(theirs, theirs_too),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(theirs_too)
        self._left, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; what happens meanwhile is in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            kind = PageLeftError if "navigated" in answer["error"]["message"] else RuntimeError
            raise kind(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not (more := os.read(self._in, 65536)):
                raise RuntimeError("The browser is gone.")
            self._left += more
        message, self._left = self._left.split(b"\0", 1)
        return json.loads(message)

    def show(self, width: int, height: int, *, dark: bool = False, script: bool = True) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Emulation.setScriptExecutionDisabled", value=not script)

    def open(self, url: str) -> None:
        self.events.clear()
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """Return what an expression is worth in the page; it may be a promise."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def until(self, expression: str, *, seconds: float = 180) -> None:
        """Wait until an expression holds; a page that is just being replaced says nothing."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(PageLeftError):
                answer = self.send("Runtime.evaluate", expression=f"!!({expression})", returnByValue=True)
                if answer["result"].get("value") is True:
                    return
            time.sleep(0.01)
        raise TimeoutError(f"It never came true that {expression}")

    def type(self, text: str) -> None:
        """Type where the focus is."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, *, modifiers: int = 0) -> None:
        """Press a key: 1 is Alt, 2 Control, 8 Shift."""
        codes = {"Tab": 9, "Enter": 13, "Shift": 16, "Space": 32, "End": 35, "Home": 36}
        codes |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "u": 85}
        known = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"Enter": "\r", "Space": " ", "u": "u"}.get(key)
        shown = {"text": text} if text and not modifiers else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", modifiers=modifiers, **known, **shown)
        self.send("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **known)

    def click(self, selector: str) -> None:
        """Click into the middle of an element, where a person would."""
        self.drag(selector)

    def drag(self, *selectors: str) -> None:
        """Press the mouse on an element, move over others, and let it go on the last."""
        self.until("document.readyState === 'complete'")  # until then a page may scroll to where its address leads
        place = f"document.querySelector({json.dumps(selectors[0])})"
        self.value(f"{place}.scrollIntoView({{block: 'center'}})")
        middles = [self._middle(selector) for selector in selectors]
        moves = [("mousePressed", middles[0]), *(("mouseMoved", middle) for middle in middles[1:])]
        for kind, (x, y) in (*moves, ("mouseReleased", middles[-1])):
            held = {"buttons": 1} if kind == "mouseMoved" else {}
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1, **held)

    def _middle(self, selector: str) -> tuple[float, float]:
        x, y = self.value(
            "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        return x, y

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        content = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(content["data"]))

    def tree(self) -> list[tuple[str, str]]:
        """Return role and name of everything a screen reader would meet."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]

    def complaints(self) -> list[str]:
        """Return what went to the console, such as errors and what the content security policy refused."""
        self.value("1")  # so that what is on its way arrives
        logged = [e["params"]["entry"]["text"] for e in self.events if e.get("method") == "Log.entryAdded"]
        return logged + [str(e["params"]) for e in self.events if e.get("method") == "Runtime.exceptionThrown"]
