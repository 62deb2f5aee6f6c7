"""Hostile models, each with what must be said about it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.helpers.seeds import OPSETS, branch, controlled, ints, model, node, slicing, weights


def _edited(seed: Callable[[], ModelProto], edit: Callable[[ModelProto], Any]) -> ModelProto:
    proto = seed()
    edit(proto)
    return proto


def _set(repeated: Any, *values: Any) -> None:
    del repeated[:]
    repeated.extend(values)


def nested(levels: int) -> ModelProto:
    """If in If: `levels` subgraphs deep."""
    inside = branch("Relu")
    for level in range(levels - 1):
        inner = node("If", "cond", "out", f"if{level}", then_branch=inside, else_branch=inside)
        end = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
        # One arm stays flat: both nested would double the file at each level.
        inner.attribute[1].g.CopyFrom(branch("Neg"))
        inside = helper.make_graph([inner], f"level{level}", [], [end])
    outer = node("If", "cond", "y", "outermost", then_branch=branch("Neg"), else_branch=inside)
    return model(
        [node("Identity", "x", "h"), outer],
        (numpy_helper.from_array(np.bool_(True), "cond"),),
    )


def calling(levels: int, times: int) -> ModelProto:
    """Functions that call the next one `times` times, `levels` long."""
    functions = []
    for level in range(levels):
        op, domain = (f"f{level + 1}", "local") if level + 1 < levels else ("Relu", "")
        names = ["a", *(f"t{i}" for i in range(times - 1)), "b"]
        steps = [
            node(op, names[i], names[i + 1], domain=domain or None) for i in range(len(names) - 1)
        ]
        functions.append(helper.make_function("local", f"f{level}", ["a"], ["b"], steps, OPSETS))
    call = node("f0", "x", "y", "call", domain="local")
    return model([call], functions=tuple(functions))


def recursive(*names: str, through_if: bool = False) -> ModelProto:
    """Functions that call one another in a ring, plainly or within an If."""
    functions = []
    for name, other in zip(names, (*names[1:], names[0]), strict=True):
        steps = [node(other, "a", "b", domain="local")]
        if through_if:
            end = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
            call = node(other, "a", "out", domain="local")
            arm = helper.make_graph([call], "arm", [], [end])
            steps = [
                node("Constant", "", "c", value=numpy_helper.from_array(np.bool_(True))),
                node("If", "c", "b", then_branch=arm, else_branch=arm),
            ]
        functions.append(helper.make_function("local", name, ["a"], ["b"], steps, OPSETS))
    return model([node(names[0], "x", "y", domain="local")], functions=tuple(functions))


def deep_by_calls() -> ModelProto:
    """Three functions with six levels of If each: none too deep alone."""
    source = nested(6)
    functions = []
    for level in range(3):
        name, below = f"f{level}", f"f{level + 1}"
        steps = [NodeProto() for _ in source.graph.node]
        for step, original in zip(steps, source.graph.node, strict=True):
            step.CopyFrom(original)
        graph = steps[1].attribute[0].g
        while graph.node[0].op_type == "If":
            graph = graph.node[0].attribute[0].g
        if level < 2:
            graph.node[0].op_type, graph.node[0].domain = below, "local"
        steps.insert(0, node("Constant", "", "cond", value=numpy_helper.from_array(np.bool_(True))))
        functions.append(helper.make_function("local", name, ["x"], ["y"], steps, OPSETS))
    return model([node("f0", "x", "y", domain="local")], functions=tuple(functions))


def _deep_type(proto: ModelProto) -> None:
    kind = proto.graph.value_info.add(name="deep").type
    for _ in range(20):
        kind = kind.sequence_type.elem_type
    kind.SetInParent()


def _default_graph(proto: ModelProto) -> None:
    default = proto.functions[0].attribute_proto.add(name="g", type=onnx.AttributeProto.GRAPH)
    default.g.name = "default"


def _sparse(proto: ModelProto, *dims: int) -> None:
    sparse = proto.graph.sparse_initializer.add()
    sparse.values.CopyFrom(weights("s", 1))
    sparse.indices.CopyFrom(ints("", 0))
    sparse.dims.extend(dims)


def _detach(proto: ModelProto) -> None:
    _first(proto).ClearField("raw_data")
    _first(proto).data_location = TensorProto.EXTERNAL


def _detach_sparse(proto: ModelProto) -> None:
    _sparse(proto, 4)
    proto.graph.sparse_initializer[0].values.data_location = TensorProto.EXTERNAL


def _first(proto: ModelProto) -> Any:
    return proto.graph.initializer[0]


def _dim(value: Any, axis: int, size: int) -> None:
    value.type.tensor_type.shape.dim[axis].dim_value = size


def _value_info(proto: ModelProto) -> None:
    info = helper.make_tensor_value_info("h", TensorProto.FLOAT, [-7, 8])
    proto.graph.value_info.append(info)


def _not_text(proto: ModelProto) -> ModelProto:
    data = proto.SerializeToString()
    return ModelProto.FromString(data.replace(b"slice", b"sl\xff\xfee"))


HOSTILE: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "no graph": (
        lambda: ModelProto(ir_version=10),
        r"holds no ONNX graph.*pass the \.onnx file",
    ),
    "negative initializer size": (
        lambda: _edited(slicing, lambda m: _set(_first(m).dims, 4, -8)),
        r'initializer "w" of graph "main" has a negative size, -8; export',
    ),
    "lying initializer sizes": (
        lambda: _edited(slicing, lambda m: _set(_first(m).dims, 4, 9)),
        r'initializer "w".*shape \[4,9\] needs 144 bytes of raw_data but has 128.*damaged',
    ),
    "huge initializer": (
        lambda: _edited(slicing, lambda m: _set(_first(m).dims, 2**16, 2**16)),
        r'initializer "w".*more than 2\^31 elements \(65536x65536\); store it as external data',
    ),
    "product of sizes overflows 64 bits": (
        lambda: _edited(slicing, lambda m: _set(_first(m).dims, 2**62, 2**62, 16)),
        r'initializer "w".*more than 2\^31 elements',
    ),
    "undefined dtype": (
        lambda: _edited(slicing, lambda m: setattr(_first(m), "data_type", 99)),
        r'initializer "w".*data type 99, which ONNX does not define',
    ),
    "data in a second field": (
        lambda: _edited(slicing, lambda m: _first(m).int64_data.append(1)),
        r'initializer "w".*keeps data in int64_data, where its dtype keeps it in raw_data',
    ),
    "strings as raw bytes": (
        lambda: _edited(slicing, lambda m: setattr(_first(m), "data_type", TensorProto.STRING)),
        r'initializer "w".*is of strings but stored as raw bytes',
    ),
    "negative size in a Constant": (
        lambda: _edited(slicing, lambda m: _set(m.graph.node[3].attribute[0].t.dims, -2)),
        r'tensor attribute "value" of node "const" \(Constant\) has a negative size, -2',
    ),
    "lying tensor in a subgraph": (
        lambda: _edited(
            controlled,
            lambda m: (
                m.graph.node[3]
                .attribute[0]
                .g.initializer.append(TensorProto(name="hidden", data_type=1, dims=[5]))
            ),
        ),
        r'initializer "hidden" of subgraph "\w+" of node "if" \(If\) of shape \[5\] needs 5',
    ),
    "negative size in a function": (
        lambda: _edited(
            controlled,
            lambda m: (
                m.functions[0]
                .node[0]
                .attribute.append(
                    helper.make_attribute("t", TensorProto(name="t", data_type=1, dims=[-3]))
                )
            ),
        ),
        r'tensor attribute "t" of node "tanh" \(Tanh\) has a negative size, -3',
    ),
    "negative sparse size": (
        lambda: _edited(slicing, lambda m: _sparse(m, -4)),
        r'sparse tensor "s" of graph "main" has a negative size, -4',
    ),
    "sparse tensor that fills memory": (
        lambda: _edited(slicing, lambda m: _sparse(m, 10**12)),
        r'sparse tensor "s" of graph "main" stands for more than 2\^31 elements; use',
    ),
    "negative value_info": (
        lambda: _edited(slicing, _value_info),
        r'value "h" of graph "main" has a negative size, -7',
    ),
    "negative input other than -1": (
        lambda: _edited(slicing, lambda m: _dim(m.graph.input[0], 1, -5)),
        r'value "x" of graph "main" has a negative size, -5',
    ),
    "-1 inside a subgraph": (
        lambda: _edited(
            controlled,
            lambda m: _dim(_with_shape(m.graph.node[4].attribute[0].g.output[1]), 0, -1),
        ),
        r'value "h_out" of subgraph "body" of node "loop" \(Loop\) has a negative size, -1',
    ),
    "type nested too deep": (
        lambda: _edited(slicing, _deep_type),
        r'value "deep" has a type nested more than 16 deep',
    ),
    "17 nested subgraphs": (
        lambda: nested(17),
        r'subgraph "\w+" of node "if0" \(If\) is nested more than 16 subgraphs deep; flatten',
    ),
    "subgraphs nested through calls": (
        deep_by_calls,
        r"comes to more than 16 levels of subgraphs once its function calls are expanded",
    ),
    "2^29 nodes by calls": (
        lambda: calling(30, 2),
        r"comes to more than 1,000,000 nodes once its function calls are expanded",
    ),
    "chain of 150 functions": (
        lambda: calling(150, 1),
        r"comes to more than 100 functions calling one another",
    ),
    "recursive functions": (
        lambda: recursive("ping", "pong"),
        r'function "local::ping" calls itself by way of "local::pong", which ONNX forbids',
    ),
    "recursive functions, three": (
        lambda: recursive("rock", "paper", "scissors"),
        r'function "local::rock" calls itself by way of "local::paper", "local::scissors", which',
    ),
    "function that calls itself": (
        lambda: recursive("narcissus"),
        r'function "local::narcissus" calls itself, which ONNX forbids',
    ),
    "recursive functions through If": (
        lambda: recursive("ping", "pong", through_if=True),
        r'function "local::ping" calls itself by way of "local::pong"',
    ),
    "function defined twice": (
        lambda: _edited(controlled, lambda m: m.functions.append(m.functions[0])),
        r'function "local::inner" is defined twice; remove',
    ),
    "graph as a function's default": (
        lambda: _edited(controlled, _default_graph),
        r'function "local::inner" has a graph as the default of attribute "g".*inline',
    ),
    "domain without opset": (
        lambda: model([node("Magic", "x", "y", "m", domain="com.evil")]),
        r'node "m" \(com\.evil::Magic\) of graph "main" uses the operator domain "com\.evil"',
    ),
    "domain without opset in a function": (
        lambda: _edited(controlled, lambda m: m.functions[0].ClearField("opset_import")),
        r'node "tanh" \(Tanh\) of function "local::inner" uses the operator domain "ai\.onnx"',
    ),
    "cycle": (
        lambda: model([node("Add", "x b", "y", "one"), node("Neg", "y", "b", "two")]),
        r'node "one" \(Add\) reads "b", made by node "two" \(Neg\).*the graph has a cycle; export',
    ),
    "node that reads itself": (
        lambda: model([node("Add", "x y", "y", "self")]),
        r'node "self" \(Add\) reads "y".*the graph has a cycle',
    ),
    "cycle through a subgraph": (
        lambda: _edited(
            controlled,
            lambda m: m.graph.node[3].attribute[0].g.node[0].input.__setitem__(0, "y"),
        ),
        r'reads "y", made by node "loop" \(Loop\).*the graph has a cycle',
    ),
    "cycle in a function": (
        lambda: _edited(controlled, lambda m: m.functions[0].node[0].input.__setitem__(0, "b")),
        r'node "tanh" \(Tanh\) reads "b".*the graph has a cycle',
    ),
    "unsorted nodes": (
        lambda: model([node("Neg", "h", "y", "late"), node("Relu", "x", "h", "early")]),
        r'node "late" \(Neg\) reads "h" before node "early" \(Relu\) makes it; sort the nodes',
    ),
    "unnamed unsorted node": (
        lambda: model([node("Neg", "h", "y"), node("Relu", "x", "h")]),
        r'the Neg node that makes "y" reads "h" before the Relu node that makes "h" makes it',
    ),
    "value from nowhere": (
        lambda: model([node("Add", "x ghost", "y", "add")]),
        r'node "add" \(Add\) reads "ghost", which no node, input or initializer makes',
    ),
    "output from nowhere": (
        lambda: model([node("Relu", "x", "h")]),
        r'graph output "y" is made by no node, input or initializer',
    ),
    "names that are not text": (
        lambda: _not_text(slicing()),
        r"the name b'sl.*' of a NodeProto is not UTF-8 text: the file is damaged",
    ),
    "external and embedded": (
        lambda: _edited(
            slicing, lambda m: setattr(_first(m), "data_location", TensorProto.EXTERNAL)
        ),
        r'initializer "w".*marked external yet carries data; save',
    ),
    "external without a folder": (
        lambda: _edited(slicing, _detach),
        r'initializer "w".*cannot be found for a model from memory; load the model by its path',
    ),
    "external and sparse": (
        lambda: _edited(slicing, _detach_sparse),
        r'sparse tensor "s" of graph "main" is sparse and external, which is not supported; embed',
    ),
}


def _with_shape(value: Any) -> Any:
    value.type.tensor_type.shape.dim.add()
    return value


# For the checker: well formed to preflight, wrong all the same.
CHECKED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "duplicate output": (
        lambda: model([node("Relu", "x", "y"), node("Neg", "x", "y")]),
        r"onnx's checker refuses the model:.*[Ss]ingle static assignment.*Export the model again",
    ),
    "unknown standard operator": (
        lambda: model([node("Reluuu", "x", "y")]),
        r"onnx's checker refuses the model: No Op registered for Reluuu",
    ),
    "IR version 99": (
        lambda: _edited(slicing, lambda m: setattr(m, "ir_version", 99)),
        r"onnx's checker refuses the model:.*ir_version",
    ),
}
