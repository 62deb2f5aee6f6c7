"""Small seeded models for end-to-end tests, each with something of its own to go wrong.

Every builder returns a `ModelProto`; `samples` draws arrays that fit its inputs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]

LITE0 = Path(__file__).parents[2] / "notebooks" / "assets" / "efficientnet_lite0.onnx"

node = helper.make_node


def graph(
    nodes: Sequence[NodeProto],
    inputs: dict[str, tuple[Any, Sequence[str | int]]],
    outputs: dict[str, tuple[Any, Sequence[str | int]]],
    constants: dict[str, np.ndarray],
    opset: int = 18,
    domains: Sequence[str] = (),
) -> ModelProto:
    """Make a model from nodes, ``{name: (dtype, shape)}`` of its ends, and constants by name."""

    def ends(named: dict[str, tuple[Any, Sequence[str | int]]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
            )
            for name, (dtype, shape) in named.items()
        ]

    used = {name for n in nodes for name in n.input}
    constants = {name: a for name, a in constants.items() if name in used}
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    proto = helper.make_graph(nodes, "test", ends(inputs), ends(outputs), tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(proto, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return model


def weights(seed: int, dtype: Any = np.float32, **shapes: tuple[int, ...]) -> Arrays:
    """Draw normal weights by name, scaled by the number of inputs (all axes but the first)."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, shape in shapes.items():
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
        drawn[name] = (rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(dtype)
    return drawn


# Images -------------------------------------------------------------------------------------------


def cnn(
    batch: str | int = "N",
    bias: bool = True,
    softmax: bool = False,
    dtype: Any = np.float32,
    opset: int = 18,
) -> ModelProto:
    """Conv-Relu-overlapping MaxPool-Conv-Relu-AveragePool-Gemm, [N, 3, 12, 12] -> [N, 5]."""
    held = weights(1, dtype, w0=(6, 3, 3, 3), w1=(6, 6, 3, 3), w2=(5, 6 * 9))
    b, c = (["b0"], ["b2"]) if bias else ([], [])
    if bias:
        held |= weights(2, dtype, b0=(6,), b2=(5,))
    nodes = [
        node("Conv", ["image", "w0", *b], ["c0"], "conv0", pads=[1] * 4),
        node("Relu", ["c0"], ["r0"], "relu0"),
        node("MaxPool", ["r0"], ["p0"], "pool0", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        node("Conv", ["p0", "w1"], ["c1"], "conv1", pads=[1] * 4),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("AveragePool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p1"], ["f"], "flatten"),
        node("Gemm", ["f", "w2", *c], ["logits"], "fc", transB=1),
    ]
    if softmax:
        nodes.append(node("Softmax", ["logits"], ["prob"], "softmax", axis=1))
    ends = {"prob" if softmax else "logits": (dtype, [batch, 5])}
    return graph(nodes, {"image": (dtype, [batch, 3, 12, 12])}, ends, held, opset)


def homogeneous(dtype: Any = np.float32) -> ModelProto:
    """No bias, every MaxPool behind a Relu: f(a x) = a f(x), [N, 3, 12, 12] -> [N, 4]."""
    held = weights(3, dtype, w0=(6, 3, 3, 3), w1=(8, 6, 3, 3), w2=(4, 8))
    nodes = [
        node("Conv", ["image", "w0"], ["c0"], "conv0", pads=[1] * 4),
        node("Relu", ["c0"], ["r0"], "relu0"),
        node("MaxPool", ["r0"], ["p0"], "pool0", kernel_shape=[3, 3], strides=[2, 2]),
        node("Conv", ["p0", "w1"], ["c1"], "conv1"),
        node("LeakyRelu", ["c1"], ["l1"], "leaky1", alpha=0.125),
        node("Relu", ["l1"], ["r1"], "relu1"),
        node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2]),
        node("GlobalAveragePool", ["p1"], ["g"], "mean"),
        node("Flatten", ["g"], ["f"], "flatten"),
        node("Gemm", ["f", "w2"], ["logits"], "fc", transB=1),
    ]
    ends = {"image": (dtype, ["N", 3, 12, 12])}, {"logits": (dtype, ["N", 4])}
    return graph(nodes, *ends, held)


def dense(dtype: Any = np.float32) -> ModelProto:
    """Per-pixel classes: [N, 3, 6, 6] -> [N, 4, 6, 6]."""
    held = weights(4, dtype, w0=(6, 3, 3, 3), w1=(4, 6, 1, 1))
    nodes = [
        node("Conv", ["image", "w0"], ["c0"], "conv0", pads=[1] * 4),
        node("Relu", ["c0"], ["r0"], "relu0"),
        node("Conv", ["r0", "w1"], ["classes"], "conv1"),
    ]
    ends = {"image": (dtype, ["N", 3, 6, 6])}, {"classes": (dtype, ["N", 4, 6, 6])}
    return graph(nodes, *ends, held)


def squeeze_excite() -> ModelProto:
    """HardSwish, a channel gate (Sigmoid * x), a SiLU: [N, 3, 8, 8] -> [N, 3]."""
    held = weights(5, w0=(6, 3, 3, 3), w1=(2, 6, 1, 1), w2=(6, 2, 1, 1), w3=(6, 6, 3, 3), w4=(3, 6))
    nodes = [
        node("Conv", ["image", "w0"], ["c0"], "conv0", pads=[1] * 4, strides=[2, 2]),
        node("HardSwish", ["c0"], ["h0"], "swish"),
        node("GlobalAveragePool", ["h0"], ["s0"], "squeeze"),
        node("Conv", ["s0", "w1"], ["s1"], "reduce"),
        node("Relu", ["s1"], ["s2"], "relu"),
        node("Conv", ["s2", "w2"], ["s3"], "expand"),
        node("Sigmoid", ["s3"], ["gate"], "gate"),
        node("Mul", ["h0", "gate"], ["e0"], "excite"),
        node("Conv", ["e0", "w3"], ["c1"], "conv1", pads=[1] * 4),
        node("Sigmoid", ["c1"], ["half"], "sigmoid"),
        node("Mul", ["c1", "half"], ["silu"], "silu"),
        node("GlobalAveragePool", ["silu"], ["g"], "mean"),
        node("Flatten", ["g"], ["f"], "flatten"),
        node("Gemm", ["f", "w4"], ["logits"], "fc", transB=1),
    ]
    ends = {"image": (np.float32, ["N", 3, 8, 8])}, {"logits": (np.float32, ["N", 3])}
    return graph(nodes, *ends, held)


def densenet() -> ModelProto:
    """BatchNormalization-Relu-Conv, concatenated with what came before, twice."""
    held = weights(6, w0=(4, 3, 3, 3), w1=(4, 4, 3, 3), w2=(4, 8, 3, 3), fc=(3, 12))
    rng = np.random.default_rng(7)
    nodes = [node("Conv", ["image", "w0"], ["v0"], "conv0", pads=[1] * 4)]

    def normalised(source: str, to: str, channels: int) -> None:
        names = [f"{to}/{part}" for part in ("scale", "bias", "mean", "var")]
        for name in names:
            held[name] = rng.uniform(0.2, 1.5, channels).astype(np.float32)
        nodes.append(node("BatchNormalization", [source, *names], [f"{to}/bn"], f"bn_{to}"))
        nodes.append(node("Relu", [f"{to}/bn"], [to], f"relu_{to}"))

    for step, channels in ((1, 4), (2, 8)):
        normalised(f"v{step - 1}", f"a{step}", channels)
        conv = node("Conv", [f"a{step}", f"w{step}"], [f"n{step}"], f"conv{step}", pads=[1] * 4)
        join = node("Concat", [f"v{step - 1}", f"n{step}"], [f"v{step}"], f"concat{step}", axis=1)
        nodes += [conv, join]
    normalised("v2", "a3", 12)
    nodes += [
        node("GlobalAveragePool", ["a3"], ["g"], "mean"),
        node("Flatten", ["g"], ["f"], "flatten"),
        node("Gemm", ["f", "fc"], ["logits"], "fc", transB=1),
    ]
    ends = {"image": (np.float32, ["N", 3, 6, 6])}, {"logits": (np.float32, ["N", 3])}
    return graph(nodes, *ends, held)


# Rows, sequences, several inputs ------------------------------------------------------------------


def mlp(dtype: Any = np.float32, opset: int = 18) -> ModelProto:
    """Gemm-Relu-Gemm-Tanh-Gemm, [N, 30] -> [N, 3]."""
    held = weights(8, dtype, w0=(16, 30), b0=(16,), w1=(8, 16), b1=(8,), w2=(3, 8))
    nodes = [
        node("Gemm", ["x", "w0", "b0"], ["h0"], "fc0", transB=1),
        node("Relu", ["h0"], ["r0"], "relu"),
        node("Gemm", ["r0", "w1", "b1"], ["h1"], "fc1", transB=1),
        node("Tanh", ["h1"], ["r1"], "tanh"),
        node("Gemm", ["r1", "w2"], ["logits"], "fc2", transB=1),
    ]
    return graph(nodes, {"x": (dtype, ["N", 30])}, {"logits": (dtype, ["N", 3])}, held, opset)


def one_number() -> ModelProto:
    """A regressor whose output has no axis but the batch: [N, 30] -> [N]."""
    model = mlp()
    last = model.graph.output[0]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axes"))
    model.graph.node.append(node("ReduceSum", [last.name, "axes"], ["score"], "score", keepdims=0))
    del model.graph.output[:]
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])
    model.graph.output.append(score)
    onnx.checker.check_model(model)
    return model


def two_inputs() -> ModelProto:
    """relu(a A + b B) * sigmoid(b C), then a matrix: a [N, 4], b [N, 2, 3] -> [N, 3]."""
    held = weights(9, A=(4, 5), B=(6, 5), C=(6, 5), D=(5, 3))
    nodes = [
        node("Flatten", ["b"], ["rows"], "flatten"),
        node("MatMul", ["a", "A"], ["aA"], "left"),
        node("MatMul", ["rows", "B"], ["bB"], "right"),
        node("Add", ["aA", "bB"], ["sum"], "sum"),
        node("Relu", ["sum"], ["r"], "relu"),
        node("MatMul", ["rows", "C"], ["bC"], "gate_in"),
        node("Sigmoid", ["bC"], ["gate"], "gate"),
        node("Mul", ["r", "gate"], ["gated"], "gated"),
        node("MatMul", ["gated", "D"], ["y"], "out"),
    ]
    inputs = {"a": (np.float32, ["N", 4]), "b": (np.float32, ["N", 2, 3])}
    return graph(nodes, inputs, {"y": (np.float32, ["N", 3])}, held)


def side_input() -> ModelProto:
    """Tokens' rows are looked up, x scales them, empty tokens are masked: [N, 3, 4], ids [N, 3]."""
    held = weights(10, table=(5, 4), out=(12, 2))
    held |= {"zero": np.array(0, np.int64), "last": np.array([2]), "nothing": np.zeros(1, "f")}
    nodes = [
        node("Gather", ["table", "ids"], ["rows"], "look_up", axis=0),
        node("Mul", ["x", "rows"], ["scaled"], "scale"),
        node("Greater", ["ids", "zero"], ["real"], "is_real"),
        node("Unsqueeze", ["real", "last"], ["mask"], "mask"),
        node("Where", ["mask", "scaled", "nothing"], ["kept"], "keep"),
        node("Flatten", ["kept"], ["flat"], "flatten"),
        node("Tanh", ["flat"], ["t"], "tanh"),
        node("MatMul", ["t", "out"], ["y"], "out"),
    ]
    inputs = {"x": (np.float32, ["N", 3, 4]), "ids": (np.int64, ["N", 3])}
    return graph(nodes, inputs, {"y": (np.float32, ["N", 2])}, held)


def attention(opset: int = 20) -> ModelProto:
    """One transformer block on [N, 5, 8] -> [N, 3]: LayerNorm, MatMul-Softmax-MatMul, Gelu."""
    held = weights(11, q=(8, 8), k=(8, 8), v=(8, 8), o=(8, 8), up=(8, 12), down=(12, 8), fc=(3, 8))
    held |= {f"g{i}": np.full(8, 0.8, np.float32) for i in (0, 1)}
    held |= {f"b{i}": np.linspace(-0.2, 0.2, 8, dtype=np.float32) for i in (0, 1)}
    held |= {"scale": np.array(8**-0.5, np.float32), "tokens": np.array([1])}
    nodes = [
        node("LayerNormalization", ["x", "g0", "b0"], ["n0"], "norm0"),
        *(node("MatMul", ["n0", w], [w + "x"], f"project_{w}") for w in "qkv"),
        node("Transpose", ["kx"], ["kt"], "transpose", perm=[0, 2, 1]),
        node("MatMul", ["qx", "kt"], ["scores"], "scores"),
        node("Mul", ["scores", "scale"], ["scaled"], "scale"),
        node("Softmax", ["scaled"], ["attention"], "softmax", axis=-1),
        node("MatMul", ["attention", "vx"], ["mixed"], "mix"),
        node("MatMul", ["mixed", "o"], ["projected"], "project_o"),
        node("Add", ["x", "projected"], ["r0"], "residual0"),
        node("LayerNormalization", ["r0", "g1", "b1"], ["n1"], "norm1"),
        node("MatMul", ["n1", "up"], ["wide"], "up"),
        node("Gelu", ["wide"], ["gelu"], "gelu"),
        node("MatMul", ["gelu", "down"], ["narrow"], "down"),
        node("Add", ["r0", "narrow"], ["r1"], "residual1"),
        node("ReduceMean", ["r1", "tokens"], ["pooled"], "pool", keepdims=0),
        node("Gemm", ["pooled", "fc"], ["logits"], "fc", transB=1),
    ]
    ends = {"x": (np.float32, ["N", 5, 8])}, {"logits": (np.float32, ["N", 3])}
    return graph(nodes, *ends, held, opset)


def batch_inside() -> ModelProto:
    """Time first inside, as recurrent nets have it: [N, 6, 4] -> batch in axis 1 -> [N, 3]."""
    held = weights(12, w0=(4, 5), b0=(5,), w1=(5, 3)) | {"time": np.array([0])}
    nodes = [
        node("Transpose", ["x"], ["turned"], "time_first", perm=[1, 0, 2]),
        node("MatMul", ["turned", "w0"], ["h"], "matmul"),
        node("Add", ["h", "b0"], ["hb"], "bias"),
        node("Relu", ["hb"], ["r"], "relu"),
        node("Softmax", ["r"], ["s"], "softmax", axis=0),
        node("Mul", ["s", "r"], ["weighted"], "weighted"),
        node("ReduceSum", ["weighted", "time"], ["pooled"], "pool", keepdims=0),
        node("MatMul", ["pooled", "w1"], ["y"], "out"),
    ]
    ends = {"x": (np.float32, ["N", 6, 4])}, {"y": (np.float32, ["N", 3])}
    return graph(nodes, *ends, held)


# Difficult ones -----------------------------------------------------------------------------------


def mixing(by: str) -> ModelProto:
    """Samples meet inside: ``by`` "softmax" or "cumsum" along the batch, or the batch's "mean"."""
    held = weights(13, w0=(4, 6), w1=(6, 3)) | {"batch": np.array([0]), "axis": np.array(0)}
    mix = {
        "softmax": [node("Softmax", ["h"], ["m"], "mix", axis=0)],
        "cumsum": [node("CumSum", ["h", "axis"], ["m"], "mix")],
        "mean": [
            node("ReduceMean", ["h", "batch"], ["centre"], "mix", keepdims=1),
            node("Sub", ["h", "centre"], ["m"], "centred"),
        ],
    }[by]
    nodes = [
        node("MatMul", ["x", "w0"], ["h"], "in"),
        *mix,
        node("Add", ["m", "h"], ["sum"], "residual"),
        node("Tanh", ["sum"], ["t"], "tanh"),
        node("MatMul", ["t", "w1"], ["y"], "out"),
    ]
    return graph(nodes, {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 3])}, held)


def no_batch() -> ModelProto:
    """No axis for samples: [6] -> [3]."""
    held = weights(14, w0=(6, 5), w1=(5, 3))
    nodes = [
        node("MatMul", ["x", "w0"], ["h"], "in"),
        node("Relu", ["h"], ["r"], "relu"),
        node("MatMul", ["r", "w1"], ["y"], "out"),
    ]
    return graph(nodes, {"x": (np.float32, [6])}, {"y": (np.float32, [3])}, held)


def unsupported(*names: str) -> ModelProto:
    """Relu, then one operator of a domain nobody knows for every name."""
    nodes = [node("Relu", ["x"], ["v0"], "relu")]
    for i, name in enumerate(names):
        nodes.append(node("Mystery", [f"v{i}"], [f"v{i + 1}"], name, domain="com.acme"))
    last = f"v{len(names)}"
    ends = {"x": (np.float32, ["N", 4])}, {last: (np.float32, ["N", 4])}
    return graph(nodes, *ends, {}, domains=["com.acme"])


def not_finite() -> ModelProto:
    """Sqrt(x - 1) and a matrix: NaN for x < 1."""
    held = weights(15, w=(4, 3)) | {"one": np.array(1, np.float32)}
    nodes = [
        node("Sub", ["x", "one"], ["less"], "less"),
        node("Sqrt", ["less"], ["root"], "the_root"),
        node("MatMul", ["root", "w"], ["y"], "out"),
    ]
    return graph(nodes, {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 3])}, held)


def deep(layers: int, width: int) -> ModelProto:
    """One wide matrix and a Relu many times over: slow enough to be stopped."""
    held, nodes = weights(16, w=(width, width)), []
    for i in range(layers):
        nodes.append(node("MatMul", [f"v{i}", "w"], [f"h{i}"], f"matmul{i}"))
        nodes.append(node("Relu", [f"h{i}"], [f"v{i + 1}"], f"relu{i}"))
    ends = {"v0": (np.float32, ["N", width])}, {f"v{layers}": (np.float32, ["N", width])}
    return graph(nodes, *ends, held)


SUPPORTED: dict[str, Callable[[], ModelProto]] = {
    "cnn": cnn,
    "cnn of batch 1": lambda: cnn(batch=1),
    "cnn with softmax": lambda: cnn(softmax=True),
    "homogeneous": homogeneous,
    "dense": dense,
    "squeeze_excite": squeeze_excite,
    "densenet": densenet,
    "mlp": mlp,
    "mlp in float64": lambda: mlp(np.float64),
    "mlp in float16": lambda: mlp(np.float16),
    "one_number": one_number,
    "two_inputs": two_inputs,
    "side_input": side_input,
    "attention": attention,
    "batch_inside": batch_inside,
    "softmax over the batch": lambda: mixing("softmax"),
    "cumsum over the batch": lambda: mixing("cumsum"),
    "mean over the batch": lambda: mixing("mean"),
    "no_batch": no_batch,
}


def samples(model: ModelProto, count: int, seed: int = 0) -> Arrays:
    """Draw ``count`` samples for every input; integers below 4."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        dims = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        rest = dims[1:] if isinstance(dims[0], str) or dims[0] == 1 else dims
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        size = (count, *rest)
        floats = dtype.kind == "f"
        array = rng.normal(size=size) if floats else rng.integers(0, 4, size)
        drawn[value.name] = array.astype(dtype)
    return drawn


def run(
    model: ModelProto | bytes | str,
    feeds: Arrays,
    optimised: bool = True,
    output: str | None = None,
) -> Arrays:
    """Outputs by name, from onnxruntime alone. ``output``: an inner value to return as well."""
    if output is not None and isinstance(model, ModelProto):
        shown = ModelProto()
        shown.CopyFrom(model)
        shown.graph.output.add().name = output
        model = shown
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model.SerializeToString() if isinstance(model, ModelProto) else model
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def each(model: ModelProto, arrays: Arrays) -> np.ndarray:
    """First output for every sample on its own, float64 [N, *output]."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    batched = bool(first.dim_param) or first.dim_value == 1
    rows = []
    for i in range(len(next(iter(arrays.values())))):
        feeds = {k: a[i : i + 1] if batched else a[i] for k, a in arrays.items()}
        found = session.run(None, feeds)[0]
        rows.append(found[0] if batched else found)
    return np.array(rows, np.float64)


# The bundled classifier, as older exporters would have written it ---------------------------------


def messy(model: ModelProto) -> ModelProto:
    """Rewrite Lite0 in the manner of old exporters: the same numbers from five times the nodes.

    Padding by shape arithmetic in front of every Conv that pads, Constant nodes for all that is not
    a weight, GlobalAveragePool for ReduceMean, a Reshape to a shape computed from the input's.
    """
    weight = {i.name: i for i in model.graph.initializer}
    shown, used = [], []
    for name in [n for x in model.graph.node for n in x.input if n in weight]:
        if name not in used:
            used.append(name)
    source = model.graph.input[0].name
    nodes = [
        node("Shape", [source], ["/Shape_output_0"], "/Shape"),
        _constant("/Constant", np.array(0)),
        node("Gather", ["/Shape_output_0", "/Constant_output_0"], ["/batch"], "/Gather", axis=0),
        _constant("/Constant_1", np.array([0])),
        node("Unsqueeze", ["/batch", "/Constant_1_output_0"], ["/batch_1"], "/Unsqueeze"),
        _constant("/Constant_2", np.array([-1])),
        node("Concat", ["/batch_1", "/Constant_2_output_0"], ["/flat_shape"], "/Concat", axis=0),
    ]
    for old in model.graph.node:
        settings = {a.name: helper.get_attribute_value(a) for a in old.attribute}
        if old.op_type == "Conv" and any(settings["pads"]):
            padding = [0, 0, *settings.pop("pads")[:2], 0, 0, *_ends(old)]
            padded = _pad_chain(old.name, padding)
            nodes += [
                *padded,
                node("Pad", [old.input[0], *_pad_ends(old.name)], [f"/{old.name}/padded"]),
            ]
            inputs = [f"/{old.name}/padded", *old.input[1:]]
            nodes.append(node("Conv", inputs, old.output, old.name, **settings))
        elif old.op_type == "ReduceMean":
            nodes.append(node("GlobalAveragePool", old.input[:1], old.output, old.name))
        elif old.op_type == "Reshape":
            nodes.append(node("Reshape", [old.input[0], "/flat_shape"], old.output, old.name))
        elif old.op_type == "Clip":
            bounds = [numpy_helper.to_array(weight[n]) for n in old.input[1:]]
            names = [f"/{old.name}/{end}" for end in ("min", "max")]
            nodes += [_constant(n, b) for n, b in zip(names, bounds, strict=True)]
            ends = [f"{n}_output_0" for n in names]
            nodes.append(node("Clip", [old.input[0], *ends], old.output, old.name))
        else:
            nodes.append(old)
    read = {n for x in nodes for n in x.input}
    shown = [weight[n] for n in used if n in read]
    proto = helper.make_graph(nodes, "torch_jit", model.graph.input, model.graph.output, shown)
    opsets = [helper.make_opsetid("", 17)]
    rewritten = helper.make_model(proto, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(rewritten)
    return rewritten


def _constant(name: str, value: np.ndarray) -> NodeProto:
    return node("Constant", [], [f"{name}_output_0"], name, value=numpy_helper.from_array(value))


def _ends(conv: NodeProto) -> list[int]:
    pads = next(list(a.ints) for a in conv.attribute if a.name == "pads")
    return pads[2:]


def _pad_ends(name: str) -> list[str]:
    return [f"/{name}/Cast_output_0", f"/{name}/zero_output_0"]


def _pad_chain(name: str, onnx_pads: list[int]) -> list[NodeProto]:
    """Torch counts pads from the last axis, (begin, end) pairs; its exporter turns them around."""
    at = f"/{name}"
    half = len(onnx_pads) // 2
    torch = [p for k in reversed(range(2, half)) for p in (onnx_pads[k], onnx_pads[half + k])]
    constants = {
        "given": np.array(torch),
        "rest": np.array([2 * half - len(torch)]),
        "pairs": np.array([-1, 2]),
        "axis": np.array([0]),
        "last": np.array([-1]),
        "first": np.array([-(2**63) + 1]),
        "step": np.array([-1]),
        "flat": np.array([-1]),
        "zero": np.array(0, np.float32),
    }
    chain = [_constant(f"{at}/{k}", v) for k, v in constants.items()]
    out = {k: f"{at}/{k}_output_0" for k in constants}
    zeros = numpy_helper.from_array(np.array([0]))
    slice_inputs = [f"{at}/r0", out["last"], out["first"], out["axis"], out["step"]]
    return [
        *chain,
        node("ConstantOfShape", [out["rest"]], [f"{at}/zeros"], f"{at}/fill", value=zeros),
        node("Concat", [out["given"], f"{at}/zeros"], [f"{at}/all"], f"{at}/Concat", axis=0),
        node("Reshape", [f"{at}/all", out["pairs"]], [f"{at}/r0"], f"{at}/Reshape", allowzero=0),
        node("Slice", slice_inputs, [f"{at}/turned"], f"{at}/Slice"),
        node("Transpose", [f"{at}/turned"], [f"{at}/t"], f"{at}/Transpose", perm=[1, 0]),
        node("Reshape", [f"{at}/t", out["flat"]], [f"{at}/r1"], f"{at}/Reshape_1"),
        node("Cast", [f"{at}/r1"], _pad_ends(name)[:1], f"{at}/Cast", to=TensorProto.INT64),
    ]
