"""A real JupyterLab in a real browser: one server and one Chromium for all tests, a page for each.

A test asks for ``notebook`` (tests/ui/conftest.py) and gets a :class:`Lab`. When it ends, anything
the page logged as an error or asked of another machine fails it.
"""

import ast
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:  # in the extra `test-ui` only
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SECONDS = 60  # no start, cell or page may take longer: a hung kernel is a failed test, not a wait
NOWHERE = "http://127.0.0.1:9"  # a proxy that is not there: what asks for another machine gets none
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    f"--disable-component-update --disable-sync --disable-dev-shm-usage --proxy-server={NOWHERE}"
)


def missing() -> str:
    """Why no browser test can run here; empty where they can."""
    if find_spec("playwright") is None:
        return 'no playwright: pip install -e ".[test-ui]"'
    if shutil.which(CHROMIUM) is None:
        return f"no Chromium at {CHROMIUM}: install it, or say where it is by CHROMIUM=..."
    return ""


class Server:
    """JupyterLab on this environment's Python, with every folder it writes to under ``home``."""

    def __init__(self, home: Path) -> None:
        self.notebooks = home / "notebooks"
        self.settings = home / "settings" / "@jupyterlab" / "apputils-extension"
        self.log = home / "server.log"
        self.token = secrets.token_hex(16)
        self.port = _free_port()
        for folder in (self.notebooks, self.settings):
            folder.mkdir(parents=True)
        self._set("notification", {"fetchNews": "false", "checkForUpdates": False})
        named = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",  # where a user's own python3 kernel would come first
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
            "MPLCONFIGDIR": "matplotlib",
        }
        config = home / "config" / "labconfig"
        config.mkdir(parents=True)
        # Else every page has JupyterLab look, with node, whether its assets could be built anew.
        (config / "page_config.json").write_text('{"buildCheck": false}', encoding="utf-8")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTEST"))}
        env |= {name: str(home / folder) for name, folder in named.items()}
        env["PYTHONPATH"] = str(ROOT)  # cells may import tests.helpers
        options = {
            "ip": "127.0.0.1",
            "port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.notebooks,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
                + [f"--{name}={value}" for name, value in options.items()],
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for pytest, which stops it
            )

    def wait(self) -> None:
        """Return once it answers."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.api("status")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no JupyterLab:\n{self.log.read_text()[-3000:]}") from None
                time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()  # it shuts its kernels down
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def api(self, path: str, method: str = "GET") -> Any:
        """Answer of the server's REST interface."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read() or "null")

    def url(self, notebook: Path) -> str:
        """Address of a notebook alone on the page."""
        path = notebook.relative_to(self.notebooks).as_posix()
        return f"http://127.0.0.1:{self.port}/doc/tree/{path}?token={self.token}"

    def set_theme(self, theme: str) -> None:
        """Theme of the pages opened from now on."""
        self._set("themes", {"theme": THEMES[theme]})

    def shut_down_kernels(self) -> None:
        for session in self.api("sessions"):
            self.api(f"sessions/{session['id']}", "DELETE")

    def _set(self, plugin: str, values: dict[str, Any]) -> None:
        (self.settings / f"{plugin}.jupyterlab-settings").write_text(json.dumps(values))


class Watch:
    """What a page may not do: log an error, throw, or ask for anything from another machine."""

    def __init__(self, context: "BrowserContext") -> None:
        self.faults: list[str] = []
        self._context = context
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"page error: {error.error}"))
        context.on("request", lambda request: self._request(request.url))
        context.on("page", lambda page: page.on("websocket", lambda ws: self._request(ws.url)))

    def _console(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.faults.append(f"console error: {message.text} ({message.location['url']})")

    def _request(self, url: str) -> None:
        if leaves(url):
            self.faults.append(f"asked another machine: {url}")

    def verify(self) -> None:
        """Fail with all that was noted."""
        for page in self._context.pages:
            page.evaluate("0")  # events come in during a call: let those under way come in
        assert not self.faults, "\n".join(self.faults)


def leaves(url: str) -> bool:
    """Whether a request for this address would leave the machine."""
    parts = urlsplit(url)
    if parts.scheme in ("blob", "data", "about"):
        return False
    return parts.hostname not in ("127.0.0.1", "localhost")


class Lab:
    """A notebook of its own, open in the browser, with a kernel of its own.

    ``page`` is playwright's page, ``folder`` the kernel's working folder, ``path`` the file.
    """

    def __init__(
        self, server: Server, context: "BrowserContext", watch: Watch, path: Path, shots: Path
    ) -> None:
        self.path, self.folder = path, path.parent
        self.watch = watch
        self._server, self._context, self._shots = server, context, shots
        self.page = self._open()

    def _open(self) -> "Page":
        page = self._context.new_page()
        page.goto(self._server.url(self.path))
        page.wait_for_function(READY, timeout=SECONDS * 1000)
        return page

    def reopen(self, trusted: bool = True) -> None:
        """Save, shut the kernel down and open the file again, as on another day: nothing is run.

        ``trusted``: or as a stranger's notebook, whose scripts and styles are not let in.
        """
        self.command("docmanager:save")
        self.page.close()
        self._server.shut_down_kernels()
        if not trusted:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            document["metadata"]["title"] = "another"  # no longer what was signed
            self.path.write_text(json.dumps(document), encoding="utf-8")
        self.page = self._open()

    def command(self, name: str, **arguments: Any) -> None:
        """Execute one of JupyterLab's commands and wait until it is done."""
        self._evaluate("a => jupyterapp.commands.execute(a.name, a.arguments)", name, arguments)

    def run_all(self) -> None:
        """Run every cell; an error in one is raised with its traceback."""
        self.command("notebook:run-all-cells")
        for outputs in self.page.evaluate(OUTPUTS):
            _text(outputs)

    def run(self, code: str) -> str:
        """Add a cell at the end, run it, return what it shows as text; its error is raised."""
        self.page.evaluate(ADD_CELL, code)
        self.command("notebook:run-cell")
        return _text(self.page.evaluate(OUTPUTS)[-1])

    def value(self, expression: str) -> Any:
        """Value of a Python expression in the kernel (numbers, text, lists...), without a cell.

        Moves neither focus nor page, so it also serves between two key strokes.
        """
        answer = self._evaluate(ASK, expression)
        assert answer["status"] == "ok", f"{expression}: {answer['ename']}: {answer['evalue']}"
        return ast.literal_eval(answer["data"]["text/plain"])

    def until(self, expression: str, seconds: float = 10) -> None:
        """Wait until a Python expression holds: what the page sends may arrive after a question."""
        deadline = time.monotonic() + seconds
        while not self.value(f"bool({expression})"):
            assert time.monotonic() < deadline, f"not within {seconds} s: {expression}"
            self.page.wait_for_timeout(20)

    def cells(self) -> list[str]:
        """Text of every cell as the page has it."""
        found: list[str] = self.page.evaluate(SOURCES)
        return found

    def output(self, index: int = -1) -> "Locator":
        """What a cell shows, by default the last: where labels are sure to be the widget's."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index).locator(".jp-OutputArea")

    def screenshot(self, name: str, of: "Locator | None" = None) -> Path:
        """Write a picture of the page, or of one element, for people to look at."""
        self._shots.mkdir(parents=True, exist_ok=True)
        file = self._shots / f"{name}.png"
        (of or self.page).screenshot(path=file)
        return file

    def set_theme(self, theme: str) -> None:
        """Change the theme as a user would, with the page open."""
        self.command("apputils:change-theme", theme=THEMES[theme])
        self.page.wait_for_function(IN_THEME, arg=THEMES[theme])

    def _evaluate(self, function: str, name: str, arguments: Any = None) -> Any:
        """Await ``function`` in the page, but not for ever, as playwright would."""
        given = {"name": name, "arguments": arguments, "ms": SECONDS * 1000}
        return self.page.evaluate(
            f"""a => Promise.race([
                  ({function})(a),
                  new Promise((_, no) => setTimeout(
                    () => no(new Error(`${{a.name}}: not done after ${{a.ms}} ms`)), a.ms)),
                ])""",
            given,
        )


# In the page --------------------------------------------------------------------------------------

READY = """() => {
  const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
  return context?.isReady && context.session?.kernel?.status === 'idle'
    && document.querySelector('.jp-NotebookPanel .jp-Notebook .jp-Cell') !== null
    && document.body.dataset.jpThemeName !== undefined;
}"""
IN_THEME = """name => document.body.dataset.jpThemeName === name
  && !document.getElementById('jupyterlab-splash')"""
OUTPUTS = """() => jupyterapp.shell.currentWidget.content.widgets.map(
  cell => cell.model.outputs?.toJSON() ?? [])"""
SOURCES = """() => jupyterapp.shell.currentWidget.content.widgets.map(
  cell => cell.model.sharedModel.source)"""
ADD_CELL = """code => {
  const notebook = jupyterapp.shell.currentWidget.content;
  notebook.model.sharedModel.addCell({cell_type: 'code', source: code});
  notebook.deselectAll();
  notebook.activeCellIndex = notebook.widgets.length - 1;
}"""
ASK = """async a => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const asked = {code: '', silent: true, user_expressions: {value: a.name}};
  return (await kernel.requestExecute(asked).done).content.user_expressions.value;
}"""


def _text(outputs: list[dict[str, Any]]) -> str:
    """What a cell printed and returned; its error raised."""
    shown = []
    for output in outputs:
        if output["output_type"] == "error":
            raise AssertionError("\n".join(output["traceback"]))
        text = output.get("text", output.get("data", {}).get("text/plain", ""))
        shown.append(text if isinstance(text, str) else "".join(text))
    return "".join(shown).strip()


# Start and end ------------------------------------------------------------------------------------

Open = Callable[..., Lab]
Say = Callable[[str], None]


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """A server until the block ends."""
    server = Server(home)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@contextmanager
def browsing() -> Iterator["Browser"]:
    """Chromium until the block ends."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=15_000)  # two busy cores are slow, not wrong
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@contextmanager
def opening(server: Server, browser: "Browser", shots: Path) -> Iterator[Open]:
    """A function that opens notebooks; when the block ends their pages are judged and closed."""
    watches: list[tuple[BrowserContext, Watch]] = []

    def notebook(
        cells: Sequence[str],
        theme: str = "light",
        *,
        run: bool = True,
        files: Sequence[Path] = (),
        size: tuple[int, int] = (1280, 900),
        scale: float = 1,
    ) -> Lab:
        folder = server.notebooks / secrets.token_hex(4)
        folder.mkdir()
        for file in files:
            (folder / file.name).symlink_to(file)
        path = folder / "notebook.ipynb"
        path.write_text(json.dumps(_document(cells)))
        server.set_theme(theme)
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale
        )
        watch = Watch(context)
        watches.append((context, watch))
        lab = Lab(server, context, watch, path, shots)
        lab.page.wait_for_function(IN_THEME, arg=THEMES[theme])
        if run:
            lab.run_all()
        return lab

    try:
        yield notebook
        for _, watch in watches:
            watch.verify()
    finally:
        for context, _ in watches:
            context.close()
        server.shut_down_kernels()


def _document(cells: Sequence[str]) -> dict[str, Any]:
    code: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{i}",
            "metadata": {},
            "source": text,
            "outputs": [],
            "execution_count": None,
        }
        for i, text in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": code,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
