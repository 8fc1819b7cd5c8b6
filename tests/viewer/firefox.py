"""A Firefox of the system, driven through WebDriver BiDi: open a page, evaluate, press, take a picture."""

import base64
import json
import os
import re
import subprocess
import time

import websocket

# software rendering stands in for a graphics card
PREFERENCES = {
    "webgl.force-enabled": True,
    "webgl.disabled": False,
    "gfx.webrender.software": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "browser.startup.page": 0,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "security.fileuri.strict_origin_policy": True,
}


class Firefox:
    """One Firefox with one page, headless where there is no display; use it in a `with` statement."""

    def __init__(self, command, profile, *, width=1200, height=900, preferences=None):
        wanted = PREFERENCES | (preferences or {})
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in wanted.items()]
        (profile / "user.js").write_text("\n".join(lines))
        shown = [] if os.environ.get("DISPLAY") else ["--headless"]
        self.process = subprocess.Popen(
            [
                command,
                *shown,
                "--no-remote",
                "--profile",
                str(profile),
                "--width",
                str(width),
                "--height",
                str(height),
                "--remote-debugging-port",
                "0",
                "about:blank",
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.number, self.logs = 0, []
        address = self._address()
        self.socket = websocket.create_connection(f"{address}/session", timeout=180, suppress_origin=True)
        self("session.new", capabilities={"alwaysMatch": {}})
        self("session.subscribe", events=["log.entryAdded"])
        self.page = self("browsingContext.getTree")["contexts"][0]["context"]
        self("browsingContext.setViewport", context=self.page, viewport={"width": width, "height": height})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)
        self.process.stderr.close()

    def _address(self):
        for line in self.process.stderr:
            if found := re.search(r"ws://\S+", line):
                return found[0]
        raise RuntimeError("Firefox opened no remote connection")

    def __call__(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("method") == "log.entryAdded":
                self.logs.append(answer["params"])
            elif answer.get("id") == self.number:
                if answer["type"] == "error":
                    raise RuntimeError(f"{method}: {answer['message']}")
                return answer["result"]

    def open(self, url):
        self("browsingContext.navigate", context=self.page, url=url, wait="complete")

    def evaluate(self, expression):
        """Value of an expression; a promise is awaited. Through JSON."""
        result = self(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression}) ?? null))()",
            target={"context": self.page},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] != "success":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"]["value"])

    def wait_for(self, expression, seconds=180):
        for _ in range(seconds * 4):
            if value := self.evaluate(expression):
                return value
            time.sleep(0.25)
        raise TimeoutError(expression)

    def press(self, *keys):
        """Keys, each down and up, where the focus is."""
        actions = [{"type": kind, "value": k} for k in keys for kind in ("keyDown", "keyUp")]
        self(
            "input.performActions",
            context=self.page,
            actions=[{"type": "key", "id": "k", "actions": actions}],
        )

    def tap(self, x, y, kind="mouse"):
        """A press of the mouse or of a finger at a place of the window."""
        actions = [
            {"type": "pointerMove", "x": int(x), "y": int(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        source = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": actions}
        self("input.performActions", context=self.page, actions=[source])

    def picture(self):
        """PNG of the window."""
        return base64.b64decode(self("browsingContext.captureScreenshot", context=self.page)["data"])

    def errors(self):
        return [entry["text"] for entry in self.logs if entry["level"] == "error"]
