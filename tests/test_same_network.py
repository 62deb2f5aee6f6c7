"""One network, its block as an operator or spelt out: the same attributions.

The recurrent cells are in `tests/graph/lower/test_explain.py`, whole exporters in `test_styles.py`.
"""

import ast
import math

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import Explainer
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.models import node

Nodes = list[onnx.NodeProto]
STEPS, WIDTH, HEADS = 5, 8, 2


def written(steps: list[str]) -> Nodes:
    """Nodes written ``"y = Op a b axis=1"``, of h."""
    nodes = []
    for k, step in enumerate(steps):
        results, _, call = step.partition(" = ")
        op, *rest = call.split()
        attrs = dict(r.split("=") for r in rest if "=" in r)
        given = {name: ast.literal_eval(value) for name, value in attrs.items()}
        names = [name for name in rest if "=" not in name]
        nodes.append(node(op, names, results.split(), f"{k} {op}", **given))
    return nodes


HELD = {
    "half": 0.5,
    "one": 1.0,
    "two": 2.0,
    "root2": math.sqrt(2),
    "cubic": 0.044715,
    "rootpi": math.sqrt(2 / math.pi),
    "epsilon": 1e-5,
    "zero": 0.0,
    "three": 3.0,
    "six": 6.0,
    "sixth": 1 / 6,
    "scale": math.sqrt(HEADS / WIDTH),
}
AXES = {
    "last": [-1],
    "steps": [1],
    "heads": [0, 0, HEADS, -1],
    "merged": [0, 0, -1],
    "thirds": [WIDTH] * 3,
}

CENTRED = ["mean = ReduceMean h last", "c = Sub h mean"]
AFFINE = ["scaled = Mul n gain", "y = Add scaled shift"]
TANH = ["h2 = Mul h h", "h3 = Mul h2 h", "k = Mul h3 cubic", "s = Add h k", "u = Mul s rootpi"]
HEADED = [
    "qkv = MatMul h W_qkv",
    "q_ k_ v_ = Split qkv thirds axis=2",
]
BLOCKS: dict[str, dict[str, list[str]]] = {
    "LayerNormalization": {
        "operator": ["y = LayerNormalization h gain shift epsilon=1e-5"],
        "power, root, quotient": [
            *CENTRED,
            "c2 = Pow c two",
            "var = ReduceMean c2 last",
            "safe = Add var epsilon",
            "sd = Sqrt safe",
            "n = Div c sd",
            *AFFINE,
        ],
        "square, reciprocal root": [
            *CENTRED,
            "c2 = Mul c c",
            "var = ReduceMean c2 last",
            "safe = Add var epsilon",
            "sd = Sqrt safe",
            "inverse = Reciprocal sd",
            "n = Mul c inverse",
            *AFFINE,
        ],
        "mean of squares": [
            *CENTRED,
            "h2 = Mul h h",
            "m2 = ReduceMean h2 last",
            "mm = Mul mean mean",
            "var = Sub m2 mm",
            "safe = Add var epsilon",
            "sd = Sqrt safe",
            "n = Div c sd",
            *AFFINE,
        ],
    },
    "Gelu": {
        "operator": ["y = Gelu h"],
        "error function": [
            "u = Div h root2",
            "e = Erf u",
            "p = Add e one",
            "m = Mul h p",
            "y = Mul m half",
        ],
        "half first": [
            "hh = Mul h half",
            "u = Div h root2",
            "e = Erf u",
            "p = Add e one",
            "y = Mul hh p",
        ],
    },
    "Gelu, approximate": {
        "operator": ["y = Gelu h approximate='tanh'"],
        "tanh": [*TANH, "t = Tanh u", "p = Add t one", "m = Mul h p", "y = Mul m half"],
        "sigmoid": [*TANH, "u2 = Mul u two", "g = Sigmoid u2", "y = Mul h g"],
    },
    "Swish": {
        "operator": ["y = Swish h"],
        "sigmoid": ["g = Sigmoid h", "y = Mul h g"],
    },
    "HardSwish": {
        "operator": ["y = HardSwish h"],
        "hard sigmoid": ["g = HardSigmoid h alpha=0.16666667 beta=0.5", "y = Mul h g"],
        "clip": ["p = Add h three", "c = Clip p zero six", "m = Mul h c", "y = Div m six"],
    },
    "Elu": {
        "operator": ["y = Elu h"],
        "choice": ["e = Exp h", "low = Sub e one", "c = Greater h zero", "y = Where c h low"],
    },
    "Softmax": {
        "operator": ["y = Softmax h axis=-1"],
        "stable quotient": [
            "top = ReduceMax h last",
            "less = Sub h top",
            "e = Exp less",
            "sum = ReduceSum e last",
            "y = Div e sum",
        ],
        "quotient": ["e = Exp h", "sum = ReduceSum e last", "y = Div e sum"],
        "of logarithms": ["l = LogSoftmax h axis=-1", "y = Exp l"],
    },
    "LogSoftmax": {
        "operator": ["y = LogSoftmax h axis=-1"],
        "spelt out": [
            "top = ReduceMax h last",
            "less = Sub h top",
            "e = Exp less",
            "sum = ReduceSum e last",
            "l = Log sum",
            "y = Sub less l",
        ],
        "logarithm": ["p = Softmax h axis=-1", "y = Log p"],
    },
    "Attention": {
        "operator": [
            *HEADED,
            f"y = Attention q_ k_ v_ q_num_heads={HEADS} kv_num_heads={HEADS}",
        ],
        "products": [
            *HEADED,
            *(
                step
                for name in "qkv"
                for step in (
                    f"{name}r = Reshape {name}_ heads",
                    f"{name} = Transpose {name}r perm=[0,2,1,3]",
                )
            ),
            "kt = Transpose k perm=[0,1,3,2]",
            "dots = MatMul q kt",
            "scores = Mul dots scale",
            "p = Softmax scores axis=-1",
            "z = MatMul p v",
            "zt = Transpose z perm=[0,2,1,3]",
            "y = Reshape zt merged",
        ],
    },
}
STYLES = [(block, style) for block, styles in BLOCKS.items() for style in styles]


def network(block: str, style: str) -> onnx.ModelProto:
    """x [N, T, D] through a layer, the block beside a residual, and a layer: y [N, 3]."""
    held = models.weights(
        0, W=(WIDTH, WIDTH), W_qkv=(WIDTH, 3 * WIDTH), V=(WIDTH, 3), gain=(WIDTH,), shift=(WIDTH,)
    )
    held |= {name: np.asarray(value, np.float32) for name, value in HELD.items()}
    held |= {name: np.asarray(value, np.int64) for name, value in AXES.items()}
    nodes = [
        node("MatMul", ["x", "W"], ["h"], "in"),
        *written(BLOCKS[block][style]),
        node("Add", ["h", "y"], ["r"], "residual"),
        node("MatMul", ["r", "V"], ["o"], "end"),
        node("ReduceMean", ["o", "steps"], ["out"], "mean over steps", keepdims=0),
    ]
    ends = {"x": (np.float32, ["N", STEPS, WIDTH])}, {"out": (np.float32, ["N", 3])}
    return models.graph(nodes, *ends, held, 24)


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    drawn = (rng.normal(size=(n, STEPS, WIDTH)).astype(np.float32) for n in (3, 4))
    return next(drawn), next(drawn)


@pytest.mark.parametrize(("block", "style"), [p for p in STYLES if p[1] != "operator"])
def test_styles_agree(block: str, style: str) -> None:
    x, references = data()
    of_operator, spelt_out = (
        Explainer(network(block, s), references, target=1)(x) for s in ("operator", style)
    )
    close(spelt_out.outputs, of_operator.outputs, 1e-5)
    close(spelt_out.attributions, of_operator.attributions, 1e-4)


@pytest.mark.parametrize(("block", "style"), STYLES)
def test_each_is_complete_without_the_universal_rule(block: str, style: str) -> None:
    report = onnxshap.check(network(block, style))
    assert report.ok
    assert not report.named("fallback")
    x, references = data()
    found = Explainer(network(block, style), references, target=1)(x)
    total = np.abs(found.attributions).sum((1, 2))
    assert (np.abs(found.residual) <= 1e-5 * total).all()
