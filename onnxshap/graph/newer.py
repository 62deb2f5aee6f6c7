"""Operators as opsets have them that no runtime reads yet, written in those that are read."""

from collections.abc import Callable

import onnx_ir as ir


def write_in_older(graph: ir.Graph) -> None:
    """Rewrite in place what only newer opsets know, in subgraphs too."""
    for node in list(ir.traversal.RecursiveGraphIterator(graph)):
        if node.domain in ("", "ai.onnx") and node.op_type in NEWER:
            NEWER[node.op_type](node)


def _space_to_depth(node: ir.Node) -> None:
    """Since opset 28 it may order what it makes by channel first: then that is done behind it."""
    mode = node.attributes.pop("mode", None)
    if mode is None or mode.as_string() == "DCR":
        return
    y, block = node.outputs[0], node.attributes["blocksize"].as_int()
    name, y.name = y.name, f"{y.name}/by_block"
    end, added = y, list[ir.Node]()
    for op_type, setting in (
        ("Transpose", [0, 2, 3, 1]),
        ("Reshape", [0, 0, 0, block**2, -1]),
        ("Transpose", [0, 1, 2, 4, 3]),
        ("Reshape", [0, 0, 0, -1]),
        ("Transpose", [0, 3, 1, 2]),
    ):
        if op_type == "Transpose":
            added.append(ir.node(op_type, [end], {"perm": setting}))
        else:
            added.append(ir.node("Constant", [], {"value_ints": setting}))
            added.append(ir.node(op_type, [end, added[-1].outputs[0]]))
        end = added[-1].outputs[0]
    for k, each in enumerate(added):
        each.outputs[0].name = f"{name}/{k}"
    y.replace_all_uses_with(end, replace_graph_outputs=True)
    added[0].replace_input_with(0, y)
    end.name, end.type, end.shape, y.shape = name, y.type, y.shape, None
    assert node.graph is not None
    node.graph.insert_after(node, added)


NEWER: dict[str, Callable[[ir.Node], None]] = {"SpaceToDepth": _space_to_depth}
"""How each operator is rewritten that changed after the newest opset that runtimes read."""
