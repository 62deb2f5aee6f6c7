"""Mutants of the seeds, and a child to feed them to.

Run as a script, this file is the watched child: see `watch`.
"""

import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from tests.helpers.seeds import SEEDS

_NUMBERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 16, 99, 999, 2**31 - 1, 2**31, 2**40, 2**62)
_TEXTS = (
    *("", "x", "y", "h", "w", "ghost", "local", "com.microsoft", "ai.onnx", "a\0b", "<img src=x>"),
    *("Relu", "If", "Loop", "Slice", "Reshape", "Concat", "Scan", "inner", "outer", "Softmax"),
)


def _messages(root: Any) -> list[Any]:
    found, todo = [], [root]
    while todo:
        message = todo.pop()
        found.append(message)
        for kind, value in message.ListFields():
            if kind.message_type is not None:
                todo.extend(value if kind.is_repeated else (value,))
    return found


def _scalar(rng: random.Random, kind: Any) -> Any:
    if kind.type == kind.TYPE_STRING:
        return rng.choice(_TEXTS)
    if kind.type == kind.TYPE_BYTES:
        numbers = np.array([rng.choice(_NUMBERS) for _ in range(rng.randrange(4))], np.int64)
        return numbers.tobytes()[rng.choice((0, 0, 0, 1)) :]
    if kind.type in (kind.TYPE_FLOAT, kind.TYPE_DOUBLE):
        return rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    if kind.type == kind.TYPE_ENUM:
        return rng.randrange(0, 30)
    return rng.choice(_NUMBERS)


def _mutate_field(rng: random.Random, message: Any, everything: list[Any]) -> None:
    kind = rng.choice(message.DESCRIPTOR.fields if rng.random() < 0.2 else _set_fields(message))
    donors = [m for m in everything if m.DESCRIPTOR is kind.message_type]
    if not kind.is_repeated:
        if kind.message_type is None:
            setattr(message, kind.name, _scalar(rng, kind))
        elif donors and rng.random() < 0.7:
            copy = type(donors[0])()
            copy.CopyFrom(rng.choice(donors))  # a donor may contain its target
            getattr(message, kind.name).CopyFrom(copy)
        else:
            message.ClearField(kind.name)
        return
    items = getattr(message, kind.name)
    values = list(items)
    action = rng.choice(("drop", "double", "shuffle", "replace", "replace", "replace"))
    if action == "drop" and values:
        values.pop(rng.randrange(len(values)))
    elif action == "double" and values:
        values.insert(rng.randrange(len(values) + 1), rng.choice(values))
    elif action == "shuffle":
        rng.shuffle(values)
    elif kind.message_type is None:
        position = rng.randrange(len(values) + 1)
        values[position : position + 1] = [_scalar(rng, kind)]
    elif donors:
        position = rng.randrange(len(values) + 1)
        values[position : position + 1] = [rng.choice(donors)]
    copies = type(message)()
    getattr(copies, kind.name).extend(values)
    message.ClearField(kind.name)
    getattr(message, kind.name).extend(getattr(copies, kind.name))


def _set_fields(message: Any) -> list[Any]:
    return [kind for kind, _ in message.ListFields()] or list(message.DESCRIPTOR.fields)


def structural_mutant(number: int) -> ModelProto:
    """Change one to three fields of a seed, chosen by number alone."""
    rng = random.Random(f"structure {number}")
    proto = rng.choice(list(SEEDS.values()))()
    for _ in range(rng.randint(1, 3)):
        everything = _messages(proto)
        try:
            _mutate_field(rng, rng.choice(everything), everything)
        except (ValueError, TypeError):  # out of the field's range: protobuf itself refuses
            continue
    return proto


def byte_mutant(number: int) -> bytes:
    """Overwrite, cut or double a few bytes of a seed, chosen by number alone."""
    rng = random.Random(f"bytes {number}")
    data = bytearray(rng.choice(list(SEEDS.values()))().SerializeToString())
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(len(data))
        action = rng.randrange(4)
        if action == 0:
            data[position] = rng.randrange(256)
        elif action == 1:
            data[position] ^= 1 << rng.randrange(8)
        elif action == 2:
            del data[position : position + rng.randint(1, 8)]
        else:
            data[position:position] = data[position : position + rng.randint(1, 8)]
    return bytes(data)


# The watched child --------------------------------------------------------------------------------


def _read(number: int, mutant: ModelProto | bytes) -> None:
    """Read the mutant; what is accepted must also survive shape inference."""
    from onnxshap.graph.files.read import read_model

    accepted, _ = read_model(mutant)
    try:
        onnx.shape_inference.infer_shapes(accepted, data_prop=True)
    except Exception:  # a later stage's error is that stage's business; a crash is ours
        return


def _planted(number: int, mutant: ModelProto | bytes) -> None:
    """Misbehave at known numbers, to see that the watcher notices."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 5:
        time.sleep(3600)
    if number == 7:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "planted")


READERS = {"read": _read, "planted": _planted}


def serve(reader: str, start: int, structural: int, total: int) -> None:
    """Feed mutants to a reader, telling before and after each one."""
    from onnxshap.errors import OnnxShapError

    warnings.simplefilter("ignore")
    for number in range(start, total):
        print("begin", number, flush=True)
        mutant = structural_mutant(number) if number < structural else byte_mutant(number)
        try:
            READERS[reader](number, mutant)
            print("accepted", flush=True)
        except OnnxShapError:
            print("refused", flush=True)
        except BaseException as error:
            print("escaped", type(error).__name__, ascii(str(error))[:200], flush=True)


@dataclass
class Outcome:
    """What happened to the mutants; the lists name the offenders."""

    accepted: int = 0
    refused: int = 0
    escaped: list[str] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        bad = len(self.escaped) + len(self.signals) + len(self.hangs)
        return self.accepted + self.refused + bad


def watch(
    *, structural: int, by_bytes: int, reader: str = "read", seconds: float = 10.0
) -> Outcome:
    """Read mutants in a child, starting a new one after each crash or hang."""
    outcome, start, total = Outcome(), 0, structural + by_bytes
    while start < total:
        command = [sys.executable, __file__, reader, str(start), str(structural), str(total)]
        root = str(Path(__file__).parents[2])
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
        )
        try:
            start = _follow(child, outcome, start, total, seconds)
        finally:
            child.kill()
            child.wait()
    return outcome


def _follow(
    child: subprocess.Popen[str], outcome: Outcome, start: int, total: int, seconds: float
) -> int:
    """Count what one child reports; return the number to go on with."""
    lines: queue.Queue[str] = queue.Queue()

    def pump() -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                lines.put(line)
        lines.put("")

    threading.Thread(target=pump, daemon=True).start()
    number, grace = start, 60.0  # the first line waits for the imports
    while True:
        try:
            word, _, rest = lines.get(timeout=grace).strip().partition(" ")
        except queue.Empty:
            outcome.hangs.append(str(number))
            return number + 1
        grace = seconds
        if word == "begin":
            number = int(rest)
        elif word == "accepted":
            outcome.accepted += 1
        elif word == "refused":
            outcome.refused += 1
        elif word == "escaped":
            outcome.escaped.append(f"{number}: {rest}")
        else:  # the child is gone
            status = child.wait()
            if status == 0:
                return total
            outcome.signals.append(f"{number}: exit status {status}")
            return number + 1


if __name__ == "__main__":
    serve(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
