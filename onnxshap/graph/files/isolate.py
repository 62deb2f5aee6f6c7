"""Read a stranger's file in a child process first: it may crash, hang or run out of memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from onnxshap.errors import ModelFileError, OnnxShapError
from onnxshap.graph.files.names import short

DEADLINE = 60.0  # seconds
MEMORY = 8 * 2**30  # bytes of address space, on POSIX

# A plain command, not multiprocessing: that would run the user's script again in the child.
CHILD = """
import json, sys
try:
    import resource
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = int(sys.argv[2])
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
except (ImportError, ValueError, OSError):  # not POSIX, or a system without this limit
    pass
sys.path[:] = json.loads(sys.argv[1])
from onnxshap.graph.files import isolate, read
isolate.answer(read.read_model, sys.argv[3])
"""


def answer(read: Callable[[str | bytes], object], path: str) -> None:
    """Read a model, from standard input without a path, and print the refusal or null as JSON."""
    sentence = None
    try:
        read(path or sys.stdin.buffer.read())
    except OnnxShapError as error:
        sentence = str(error)
    except MemoryError:
        sentence = f"reading the model needs more than {MEMORY / 2**30:g} GiB of memory"
    print("\n" + json.dumps(sentence))


def check_in_child(data: bytes, path: Path | None, label: str) -> None:
    """Refuse what `read_model` refuses in a child, and what ends or delays the child.

    ``label`` is what errors call the data, which only reaches the child if there is no path.
    """
    arguments = [json.dumps(sys.path), str(MEMORY), "" if path is None else str(path)]
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", CHILD, *arguments],
            input=data if path is None else b"",
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(
            f"{label} was not read within {DEADLINE:g} s, so the reading was stopped; "
            "do not trust this file"
        ) from error
    except OSError as error:
        raise ModelFileError(
            f"cannot start a child process to read the model in ({error.strerror}); "
            "load it without isolate=True"
        ) from error
    lines = child.stdout.splitlines()
    if child.returncode != 0 or not lines:
        last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ModelFileError(
            f"{label} ended the child process that read it (exit status "
            f"{child.returncode}{': ' if last else ''}{short(last, 200)}); do not trust this file"
        )
    sentence = json.loads(lines[-1])
    if sentence is not None:
        raise ModelFileError(str(sentence))
