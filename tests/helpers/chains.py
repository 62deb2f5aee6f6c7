"""Deep nets: the same block over and over, with the joins and choices that real nets have."""

from typing import Any

import numpy as np
from onnx import ModelProto

from tests.helpers.models import Arrays, graph, node

CHANNELS, SIDE = 4, 8
NODES = 22
"""In one block."""


def mixed(blocks: int, seed: int = 0) -> ModelProto:
    """So many blocks of `NODES` nodes, and three nodes behind them; x is [N, 4, 8, 8]."""
    rng = np.random.default_rng(seed)
    nodes, last, c = [], "x", CHANNELS
    held: Arrays = {
        "ones": np.ones(c, np.float32),
        "zeros": np.zeros(c, np.float32),
        "row": np.ones(SIDE, np.float32),
        "half": np.float32(0.5),
        "zero": np.float32(0),
        "places": np.array([2, 3]),
    }
    for k in range(blocks):

        def add(op: str, name: str, *inputs: str, k: int = k, **attributes: Any) -> str:
            """Append a node of this block."""
            name = f"{name}_{k}"
            nodes.append(node(op, list(inputs), [name], name, **attributes))
            return name

        def drawn(name: str, *shape: int, k: int = k) -> str:
            """A weight of this block."""
            held[f"{name}_{k}"] = (rng.normal(size=shape) / 4).astype(np.float32)
            return f"{name}_{k}"

        conv = add("Conv", "conv", last, drawn("w", c, c, 3, 3), pads=[1] * 4)
        norm = add("BatchNormalization", "norm", conv, "ones", "zeros", "zeros", "ones")
        last = add("Add", "joined", last, add("Relu", "relu", norm))  # a residual block
        both = add("Concat", "both", last, add("Conv", "one", last, drawn("v", c, c, 1, 1)), axis=1)
        last = add("Conv", "mixed", both, drawn("u", c, 2 * c, 1, 1))
        last = add("Mul", "silu", last, add("Sigmoid", "gate", last))
        less = add("Mul", "less", last, "half")
        last = add("Where", "chosen", add("Greater", "above", last, "zero"), last, less)
        means = add("Flatten", "flat", add("GlobalAveragePool", "means", last))
        logits = add("Gemm", "gemm", means, drawn("t", c, c), "zeros")
        shares = add("Unsqueeze", "shares", add("Softmax", "softmax", logits, axis=1), "places")
        last = add("Mul", "weighted", last, shares)
        last = add("Add", "sum", last, add("Tanh", "tanh", last))
        last = add("MaxPool", "pooled", last, kernel_shape=[3, 3], pads=[1] * 4)
        last = add("LayerNormalization", "layer", last, "row", axis=-1)
    nodes.append(node("GlobalAveragePool", [last], ["end"], "end"))
    nodes.append(node("Flatten", ["end"], ["features"], "features"))
    nodes.append(node("Relu", ["features"], ["y"], "y"))
    shape = ["N", c, SIDE, SIDE]
    return graph(nodes, {"x": (np.float32, shape)}, {"y": (np.float32, ["N", c])}, held)
