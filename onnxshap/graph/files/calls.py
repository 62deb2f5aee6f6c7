"""What nodes call: operators of listed domains; functions, which are counted, never expanded."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from onnx import FunctionProto

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.names import describe, domain_name, quote
from onnxshap.graph.files.walk import (
    MAX_DEPTH,
    FunctionKey,
    Room,
    function_key,
    function_name,
    present,
)

MAX_CALLS = 100  # functions calling functions; the limit of onnx's own checker
MAX_NODES = 1_000_000  # once every function call is replaced by its body


def check_functions(functions: Iterable[FunctionProto]) -> None:
    """Refuse functions that share a name or take graphs."""
    seen: set[FunctionKey] = set()
    for function in functions:
        key = function_key(function)
        label = f"function {function_name(key)}"
        if key in seen:
            raise ModelFileError(f"{label} is defined twice; remove or rename one of them")
        seen.add(key)
        for default in function.attribute_proto:
            if any(present(default, "g", "graphs")):
                raise ModelFileError(
                    f"{label} has a graph as the default of attribute {quote(default.name)}, "
                    "which is not supported; inline the function (onnx.inliner) before loading"
                )


def check_domains(rooms: Iterable[Room]) -> None:
    """Refuse nodes of a domain without an opset."""
    for room in rooms:
        for node in room.body.node:
            if domain_name(node.domain) not in room.domains:
                raise ModelFileError(
                    f"{describe(node)} of {room.label} uses the operator domain "
                    f"{quote(node.domain or 'ai.onnx')}, which opset_import does not list; "
                    "add the domain and its version there"
                )


@dataclass(slots=True)
class _Tally:
    """What one function (or the graph) holds, subgraphs included."""

    nodes: int = 0
    depth: int = 0
    nesting: int = 0
    calls: Counter[FunctionKey] = field(default_factory=Counter)
    call_depth: dict[FunctionKey, int] = field(default_factory=dict)


def check_calls(rooms: Iterable[Room]) -> None:
    """Bound the model with every call replaced by its body, by multiplying counts."""
    tallies = _tallies(list(rooms))
    for key in _callees_first(tallies):
        tally = tallies[key]
        for callee, times in tally.calls.items():
            body = tallies[callee]
            # The body stands where the call stood.
            tally.nodes += times * (body.nodes - 1)
            tally.depth = max(tally.depth, tally.call_depth[callee] + body.depth)
            tally.nesting = max(tally.nesting, 1 + body.nesting)
        for value, limit, what in (
            (tally.nodes, MAX_NODES, "nodes"),
            (tally.depth, MAX_DEPTH, "levels of subgraphs"),
            (tally.nesting, MAX_CALLS, "functions calling one another"),
        ):
            if value > limit:
                label = f"function {function_name(key)}" if key else "the model's graph"
                raise ModelFileError(
                    f"{label} comes to more than {limit:,} {what} once its function calls are "
                    "expanded; export a simpler model"
                )


def _tallies(rooms: list[Room]) -> dict[FunctionKey | None, _Tally]:
    tallies = {room.function: _Tally() for room in rooms}
    for room in rooms:
        tally = tallies[room.function]
        tally.nodes += len(room.body.node)
        tally.depth = max(tally.depth, room.depth)
        for node in room.body.node:
            key = function_key(node)
            if key in tallies:
                tally.calls[key] += 1
                tally.call_depth[key] = max(tally.call_depth.get(key, 0), room.depth)
    return tallies


def _callees_first(tallies: dict[FunctionKey | None, _Tally]) -> list[FunctionKey | None]:
    """Order functions so that each comes after those it calls; a cycle is an error."""
    sorter = TopologicalSorter({key: tally.calls for key, tally in tallies.items()})
    try:
        return list(sorter.static_order())
    except CycleError as error:
        cycle = [function_name(key) for key in reversed(error.args[1][1:])]  # callers first
        raise ModelFileError(
            f"function {cycle[0]} calls itself"
            + (f" by way of {', '.join(cycle[1:4])}" if cycle[1:] else "")
            + ", which ONNX forbids; use a Loop node instead"
        ) from error
