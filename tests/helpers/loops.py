"""The same recurrent classifier in several styles: operator, unrolled gates, Scan, Loop.

x [N, 5, 3] -> [N, 4].
"""

from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Style = Literal["operator", "unrolled", "scan", "loop"]
Nodes = list[onnx.NodeProto]

STEPS, FEATURES, HIDDEN, CLASSES = 5, 3, 6, 4
GATES = {"LSTM": 4, "GRU": 3}


def node(op: str, inputs: str, outputs: str, **attrs: object) -> onnx.NodeProto:
    """A node; names are separated by blanks, "-" is one left out."""
    names = [n.replace("-", "") for n in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=outputs.split()[0], **attrs)


def value(name: str, *shape: int | str, of: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """A typed name."""
    return helper.make_tensor_value_info(name, of, list(shape))


def unranked(name: str) -> onnx.ValueInfoProto:
    """A float whose shape is not told, as in bodies."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def model(
    nodes: Nodes,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A model of these nodes."""
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def body(
    nodes: Nodes, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> onnx.GraphProto:
    """A subgraph."""
    return helper.make_graph(nodes, "body", inputs, outputs)


def weights(op: str) -> dict[str, np.ndarray]:
    rng, rows = np.random.default_rng(7), GATES[op] * HIDDEN
    shapes = {"W": (1, rows, FEATURES), "R": (1, rows, HIDDEN), "B": (1, 2 * rows)}
    shapes |= {"V": (CLASSES, HIDDEN)}
    return {k: (rng.normal(size=s) * 0.6).astype(np.float32) for k, s in shapes.items()}


def classifier(op: str, style: Style = "operator") -> onnx.ModelProto:
    """Logits from the last hidden state and the mean of all of them."""
    held, states = weights(op), "h c" if op == "LSTM" else "h"
    if style == "operator":
        nodes = [
            node("Transpose", "x", "steps", perm=[1, 0, 2]),
            node(op, "steps W R B", "Y Y_h", hidden_size=HIDDEN, **_late(op)),
            node("Squeeze", "Y one", "all"),
            node("Squeeze", "Y_h zero", "last"),
        ]
    else:
        nodes = _start(states)
        own = held["B"][0]
        half = len(own) // 2
        held |= {"W0": held.pop("W")[0], "R0": held.pop("R")[0]}
        held |= {"Wb": own[:half], "Rb": own[half:]}
        del held["B"]
        nodes += {"unrolled": _unrolled, "scan": _scan, "loop": _loop}[style](op, states)
    nodes += [
        node("ReduceMean", "all zero", "mean", keepdims=0),
        node("Add", "mean last", "both"),
        node("Gemm", "both V", "logits", transB=1),
    ]
    constants = held | {"zero": np.array([0]), "one": np.array([1]), "trips": np.array(STEPS)}
    constants |= {"going": np.array(True), "width": np.array([HIDDEN])}
    read = {name for n in nodes for name in n.input} | {"W0", "R0", "Wb", "Rb", "going"}
    return model(
        nodes,
        [value("x", "N", STEPS, FEATURES)],
        [value("logits", "N", CLASSES)],
        {k: v for k, v in constants.items() if k in read},
    )


def _late(op: str) -> dict[str, int]:
    return {"linear_before_reset": 1} if op == "GRU" else {}


def _start(states: str) -> Nodes:
    """Zeros [N, H] for each state."""
    return [
        node("Shape", "x", "batch", end=1),
        node("Concat", "batch width", "sizes", axis=0),
        *(node("ConstantOfShape", "sizes", f"{s}_start") for s in states.split()),
    ]


def _step(op: str) -> Nodes:
    """Next states of h (and c) from x_t."""
    nodes = [
        node("Gemm", "x_t W0 Wb", "from_x", transB=1),
        node("Gemm", "h R0 Rb", "from_h", transB=1),
    ]
    if op == "LSTM":
        return [
            *nodes,
            node("Add", "from_x from_h", "total"),
            node("Split", "total", "i_ o_ f_ g_", axis=1, num_outputs=4),
            *(node("Sigmoid", f"{k}_", k) for k in "iof"),
            node("Tanh", "g_", "g"),
            node("Mul", "f c", "kept"),
            node("Mul", "i g", "new"),
            node("Add", "kept new", "c_next"),
            node("Tanh", "c_next", "shown"),
            node("Mul", "o shown", "h_next"),
        ]
    return [
        *nodes,
        node("Split", "from_x", "z_x r_x n_x", axis=1, num_outputs=3),
        node("Split", "from_h", "z_h r_h n_h", axis=1, num_outputs=3),
        node("Add", "z_x z_h", "z_"),
        node("Add", "r_x r_h", "r_"),
        node("Sigmoid", "z_", "z"),
        node("Sigmoid", "r_", "r"),
        node("Mul", "r n_h", "let"),
        node("Add", "n_x let", "n_"),
        node("Tanh", "n_", "n"),
        node("Sub", "h n", "back"),
        node("Mul", "z back", "held"),
        node("Add", "n held", "h_next"),
    ]


def _unrolled(op: str, states: str) -> Nodes:
    """Every step's gates one after another, and the states of h stacked."""
    rows = [f"x_{t}" for t in range(STEPS)]
    nodes = [node("Split", "x", " ".join(rows), axis=1, num_outputs=STEPS)]
    now = {s: f"{s}_start" for s in states.split()}
    for t, row in enumerate(rows):
        nodes.append(node("Squeeze", f"{row} one", f"x_t{t}"))
        names = {name: f"{name}{t}" for n in _step(op) for name in n.output}
        names |= now | {"x_t": f"x_t{t}"}
        for n in _step(op):
            inputs, outputs = ([names.get(k, k) for k in ks] for ks in (n.input, n.output))
            n.name, n.input[:], n.output[:] = outputs[0], inputs, outputs
            nodes.append(n)
        now = {s: names[f"{s}_next"] for s in now}
    shown = [f"h_next{t}" for t in range(STEPS)]
    nodes += [node("Unsqueeze", f"{name} zero", f"{name}_row") for name in shown]
    nodes.append(node("Concat", " ".join(f"{name}_row" for name in shown), "all", axis=0))
    return [*nodes, node("Identity", now["h"], "last")]


def _scan(op: str, states: str) -> Nodes:
    names = states.split()
    after = [f"{s}_next" for s in names]
    inner = [*_step(op), node("Identity", "h_next", "h_shown")]
    inside = body(
        inner,
        [unranked(n) for n in (*names, "x_t")],
        [unranked(n) for n in (*after, "h_shown")],
    )
    starts = " ".join(f"{s}_start" for s in names)
    ends = " ".join(["last", "c_last"][: len(names)])
    return [
        node(
            "Scan",
            f"{starts} x",
            f"{ends} all",
            body=inside,
            num_scan_inputs=1,
            scan_input_axes=[1],
        )
    ]


def _loop(op: str, states: str) -> Nodes:
    names = states.split()
    after = [f"{s}_next" for s in names]
    inner = [
        node("Gather", "x step", "x_t", axis=1),
        *_step(op),
        node("Identity", "going_in", "going_out"),
        node("Identity", "h_next", "h_shown"),
    ]
    inside = body(
        inner,
        [
            value("step", of=TensorProto.INT64),
            value("going_in", of=TensorProto.BOOL),
            *map(unranked, names),
        ],
        [value("going_out", of=TensorProto.BOOL), *map(unranked, [*after, "h_shown"])],
    )
    starts = " ".join(f"{s}_start" for s in names)
    ends = " ".join(["last", "c_last"][: len(names)])
    return [node("Loop", f"trips going {starts}", f"{ends} all", body=inside)]
