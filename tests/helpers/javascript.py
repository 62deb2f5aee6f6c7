"""The widgets' own functions, run by node: the browser must come to the numbers that Python has."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from onnxshap_widgets.static_files import module


def evaluate(names: tuple[str, ...], expression: str, **given: Any) -> Any:
    """Value of an expression over a widget's module ``m`` and the named values."""
    if shutil.which("node") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("node is not installed")
    script = """
      const { text, expression, given } = JSON.parse(require("fs").readFileSync(0, "utf8"));
      import("data:text/javascript;charset=utf-8," + encodeURIComponent(text)).then((m) => {
        const value = new Function("m", ...Object.keys(given), "return " + expression);
        process.stdout.write(JSON.stringify(value(m, ...Object.values(given))));
      });
    """
    asked = json.dumps({"text": module(*names), "expression": expression, "given": given})
    done = subprocess.run(
        ["node", "-e", script], input=asked, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
