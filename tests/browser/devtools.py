"""Drives Chromium over its pipe (DevTools protocol): the standard library alone."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
]


def browser():
    """The program, or nothing."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


class Page:
    """A tab, with what it asked for and what went wrong in it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        # The browser reads from 3 and writes to 4.
        (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
        command = [browser(), *FLAGS, "--user-data-dir=" + self.folder.name, "about:blank"]
        shell = f'exec 3<&{read_in} 4>&{write_out}; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=[read_in, write_out],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_in)
        os.close(write_out)
        self.to, self.back, self.rest = write_in, read_out, b""
        self.number, self.requests, self.errors, self.loaded = 0, [], [], 0
        target = next(one for one in self.call("Target.getTargets", {}, False)["targetInfos"] if one["type"] == "page")
        attached = self.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}, False)
        self.session = attached["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(domain + ".enable")

    def close(self):
        try:
            self.call("Browser.close", {}, False)
        except (OSError, RuntimeError):
            pass
        self.process.wait(20)
        self.folder.cleanup()

    def message(self, seconds):
        """The next message, or nothing in that time."""
        until = time.time() + seconds
        while b"\0" not in self.rest:
            if not select.select([self.back], [], [], max(0, until - time.time()))[0]:
                return None
            more = os.read(self.back, 1 << 20)
            if not more:
                raise RuntimeError("the browser has ended")
            self.rest += more
        one, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(one)
        kind, said = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif kind == "Page.loadEventFired":
            self.loaded += 1
        elif kind == "Runtime.exceptionThrown":
            self.errors.append(said["exceptionDetails"]["text"])
        elif kind == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.errors.append(str(said["args"]))
        return message

    def call(self, method, params=None, in_page=True):
        self.number += 1
        call = {"id": self.number, "method": method, "params": params or {}}
        if in_page:
            call["sessionId"] = self.session
        os.write(self.to, json.dumps(call).encode() + b"\0")
        while True:
            message = self.message(60)
            if message is None:
                raise RuntimeError(method + " isn't answered")
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def look(self, width, height, scheme):
        self.call("Emulation.setDeviceMetricsOverride",
                  {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def open(self, url):
        before = self.loaded
        self.requests.clear()
        self.errors.clear()
        self.call("Page.navigate", {"url": url})
        self.wait(lambda: self.loaded > before, "the page to load")

    def wait(self, done, what, seconds=30):
        until = time.time() + seconds
        while not done():
            if time.time() > until:
                raise RuntimeError("waited for " + what)
            self.message(0.2)

    def run(self, script):
        result = self.call("Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def press(self, key):
        for kind in ["rawKeyDown", "keyUp"]:
            self.call("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": 9})

    def picture(self, path, whole=True):
        options = {"captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
        picture = self.call("Page.captureScreenshot", options)
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))
