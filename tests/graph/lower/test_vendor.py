"""Operators of com.microsoft, against onnxruntime's own kernels for them."""

import re
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

import onnxshap
from onnxshap.errors import UnsupportedOpError
from onnxshap.graph.lower.vendor import VENDOR
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from tests.helpers.cases.case import N
from tests.helpers.gradcheck import (
    DOUBLE,
    FLOAT,
    Arrays,
    Emitted,
    balance,
    evaluator,
    relative_gap,
    sample_by_sample,
    session,
)
from tests.helpers.vendor import COM, TOKENS, Use, embeddings, uses

USES = uses()
ROWS = [pytest.param(u, id=u.id) for u in USES]
WITH_KERNELS = [pytest.param(u, id=u.id) for u in [*USES, *embeddings()] if u.on_runtime]
TARGETS, EXPLICANDS, REFERENCES = 2, 3, 4

CLOSE = 1e-6  # of the largest output, in float32
EXACT = 1e-7  # of the largest directional derivative
COMPLETE = 1e-9  # of the change of the output, in float64
ROUNDING = 1e-5  # of all that is added up, in float32


def written_out(proto: onnx.ModelProto) -> onnx.ModelProto:
    found = ir.serde.serialize_model(load(proto).normalised)
    assert not [n.name for n in found.graph.node if n.domain]
    assert [o.domain for o in found.opset_import] == [""]
    onnx.checker.check_model(found, full_check=True)
    return found


def samples(use: Use, rng: np.random.Generator, dtype: np.dtype) -> Arrays:
    drawn = use.draw(rng, EXPLICANDS) | use.held(EXPLICANDS, varied=True)
    return {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in drawn.items()}


@cache
def emitted(use: Use, method: str, dtype: np.dtype) -> Emitted:
    model = load(use.model(dtype))
    program = build_program(model, named(method), inputs=use.explained, varying=use.free)
    assert program.separable is not use.alone, program.mixing
    return Emitted(use, program, dtype)


def seeds(use: Use, rng: np.random.Generator) -> np.ndarray:
    own = [d for d in use.result if d != N]
    return rng.normal(size=(TARGETS, EXPLICANDS, *own))


@pytest.mark.parametrize("use", WITH_KERNELS)
def test_same_numbers_as_the_kernel(use: Use, rng: np.random.Generator) -> None:
    x, proto = samples(use, rng, FLOAT), use.model(FLOAT)
    before, after = session(proto), session(written_out(proto))
    if use.alone:
        before, after = sample_by_sample(before), sample_by_sample(after)
    expected, found = before(x), after(x)
    assert list(found) == list(expected)
    for name, y in expected.items():
        assert found[name].dtype == y.dtype
        if name == "y0" or y.size:  # a kernel may leave an output empty
            assert relative_gap(found[name], y) < CLOSE, name


@pytest.mark.parametrize("use", ROWS)
def test_complete_in_float64(use: Use, rng: np.random.Generator) -> None:
    x, r = use.draw(rng, EXPLICANDS), use.draw(rng, REFERENCES)
    program, seed = emitted(use, "deepshap", DOUBLE), seeds(use, rng)
    assert balance(program, x, r, seed).gap() <= COMPLETE
    x, r = use.draw_special(rng, EXPLICANDS), use.draw_special(rng, REFERENCES)
    assert balance(program, x, r, seed).rounding() <= COMPLETE


@pytest.mark.parametrize("use", ROWS)
def test_complete_on_onnxruntime(use: Use, rng: np.random.Generator) -> None:
    x, r = use.draw(rng, EXPLICANDS), use.draw(rng, REFERENCES)
    assert balance(emitted(use, "deepshap", FLOAT), x, r, seeds(use, rng)).rounding() <= ROUNDING


@pytest.mark.parametrize("use", ROWS)
def test_gradient_equals_central_differences(use: Use, rng: np.random.Generator) -> None:
    x, seed, step = use.draw(rng, EXPLICANDS), seeds(use, rng), 1e-5
    program = emitted(use, "gradient", DOUBLE)
    found = program.contributions(x, seed)
    run = evaluator(written_out(use.model(DOUBLE)))
    run = sample_by_sample(run) if use.alone else run
    axis = 0 if use.alone else use.result.index(N)
    for name, gradient in found.items():
        u = rng.normal(size=x[name].shape)
        ends = [run(x | {name: x[name] + k * step * u})["y0"] for k in (1, -1)]
        slope = np.moveaxis(ends[0] - ends[1], axis, 0) / (2 * step)
        expected = np.einsum("kns,ns->kn", *(_flat(a, k) for a, k in ((seed, 2), (slope, 1))))
        taken = np.einsum("knx,nx->kn", *(_flat(a, k) for a, k in ((gradient, 2), (u, 1))))
        assert relative_gap(taken, expected) < EXACT, name


def _flat(array: np.ndarray, lead: int) -> np.ndarray:
    return array.reshape(*array.shape[:lead], -1)


def group_norm(use: Use, inputs: list[np.ndarray]) -> np.ndarray:
    """Wu and He 2018, equations 1, 2 and 6, group by group."""
    x, scale, shift, *skipped = inputs
    last = use.attrs.get("channels_last", 1)
    if skipped:
        skip, bias = skipped
        x = x + (skip[:, None, None] if skip.ndim == 2 else skip)
        x = x + (bias if last else bias[:, None, None])
    x = x if last else x.transpose(0, 2, 3, 1)
    size, y = x.shape[3] // use.attrs["groups"], np.empty_like(x)
    for first in range(0, x.shape[3], size):
        part = x[..., first : first + size]
        mean, var = part.mean((1, 2, 3), keepdims=True), part.var((1, 2, 3), keepdims=True)
        y[..., first : first + size] = (part - mean) / np.sqrt(var + use.attrs.get("epsilon", 1e-5))
    y = y * scale + shift
    y = y / (1 + np.exp(-y)) if use.attrs["activation"] else y
    return y if last else y.transpose(0, 3, 1, 2)


def gelu(x: np.ndarray) -> np.ndarray:
    from math import erf

    return x * (1 + np.vectorize(erf)(x / 2**0.5)) / 2


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def softmax(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    e = np.exp(x - x.max(axes, keepdims=True))
    return e / e.sum(axes, keepdims=True)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """[B, T, N, H] each, without a mask: Vaswani et al. 2017, equation 1."""
    scores = np.einsum("bsnh,btnh->bnst", q, k) / q.shape[3] ** 0.5
    y = np.einsum("bnst,btnh->bsnh", softmax(scores, (3,)), v)
    return y.reshape(*y.shape[:2], -1)


def by_formula(use: Use, inputs: list[np.ndarray]) -> np.ndarray:
    """What an operator without a CPU kernel is documented to give."""
    x, *rest = inputs
    if use.op in ("GroupNorm", "SkipGroupNorm"):
        return group_norm(use, inputs)
    if use.op == "FusedConv":
        y = session(use_without(use, "activation"))({"x0": x})["y0"]
        return y / (1 + np.exp(-y))
    if use.op == "FusedMatMulActivation":
        return np.maximum(x @ rest[0].T, 0)
    if use.op == "GemmFastGelu":
        return tanh_gelu(x @ rest[0] + rest[1])
    if use.op == "BiasSplitGelu":
        left, right = np.split(x + rest[0], 2, axis=-1)
        return left * gelu(right)
    if use.op == "BiasSoftmax":
        return softmax(x + rest[0], tuple(range(use.attrs["axis"], 4)))
    if use.op in ("BiasDropout", "BitmaskBiasDropout"):
        return x + sum(rest)
    assert use.op == "MultiHeadAttention"
    if not rest:
        return attention(*(x[:, :, :, k] for k in range(3)))
    return attention(
        x.reshape(*x.shape[:2], *rest[0].shape[2::2]), *(rest[0][:, :, :, k] for k in (0, 1))
    )


def use_without(use: Use, attribute: str) -> onnx.ModelProto:
    proto = use.model(FLOAT)
    node = proto.graph.node[0]
    kept = [a for a in node.attribute if a.name != attribute]
    del node.attribute[:]
    node.attribute.extend(kept)
    return proto


@pytest.mark.parametrize("use", [pytest.param(u, id=u.id) for u in USES if not u.on_runtime])
def test_same_numbers_as_the_formula(use: Use, rng: np.random.Generator) -> None:
    x = samples(use, rng, FLOAT)
    inputs = [
        given.astype(FLOAT) if isinstance(given, np.ndarray) else x[f"x{i}"]
        for i, given in enumerate(use.inputs)
        if given is not None
    ]
    found = session(written_out(use.model(FLOAT)))(x)["y0"]
    assert relative_gap(found, by_formula(use, inputs)) < CLOSE


def test_every_operator_has_a_use() -> None:
    tried = {f"{COM}::{u.op}" for u in [*USES, *embeddings()]}
    refusing = {name for name, rewrite in VENDOR.items() if rewrite.__name__ == "refused"}
    assert tried == set(VENDOR) - refusing


# Models -------------------------------------------------------------------------------------------


def test_words_are_explained_by_the_name_of_their_node(rng: np.random.Generator) -> None:
    use = embeddings()[0]
    x = use.held(3, varied=True)
    background = {"x0": rng.integers(0, 10, (4, TOKENS)).astype(np.int32)}
    explainer = onnxshap.Explainer(use.model(FLOAT), background, inputs="node/words", target=(2, 3))
    found = explainer(x)
    assert found.attributions.shape == (3, TOKENS, 6)
    assert np.abs(found.residual).max() < 1e-5


def test_ends_and_starts_of_keys(rng: np.random.Generator) -> None:
    """A mask of twice as many numbers as there are samples."""
    use = next(u for u in USES if u.id == "Attention-lengths")
    proto = use.model(FLOAT)
    del proto.graph.input[1:]
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2
    ends = np.array([4, 5, 1, 0], np.int32)
    proto.graph.initializer.append(numpy_helper.from_array(ends, "x3"))
    x = {"x0": rng.normal(size=(2, TOKENS, 6)).astype(FLOAT)}
    expected, found = (session(p)(x)["y0"] for p in (proto, written_out(proto)))
    assert relative_gap(found, expected) < CLOSE


def test_rows_of_a_sequence_before_its_padding(rng: np.random.Generator) -> None:
    """Shorter samples: the kernel leaves the rows of their padding undefined."""
    use = next(u for u in USES if u.id == "GroupQueryAttention-turned")
    x = samples(use, rng, FLOAT) | {"x5": np.array([1, 3, 2], np.int32)}
    expected, found = (
        session(p)(x)["y0"] for p in (use.model(FLOAT), written_out(use.model(FLOAT)))
    )
    for n, last in enumerate(x["x5"]):
        assert relative_gap(found[n, : last + 1], expected[n, : last + 1]) < CLOSE


def refused(proto: onnx.ModelProto, message: str) -> None:
    for run in (onnxshap.check, lambda p: onnxshap.Explainer(p, None, method="gradient")):
        with pytest.raises(UnsupportedOpError, match=message):
            run(proto)


def changed(use: Use, **attrs: object) -> onnx.ModelProto:
    proto = use.model(FLOAT)
    node = proto.graph.node[0]
    kept = [a for a in node.attribute if a.name not in attrs]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attrs.items())])
    return proto


@pytest.mark.parametrize(
    ("op", "at", "shape", "names"),
    [
        ("Attention", 4, (2, N, 2, 3, 4), "past"),
        ("MultiHeadAttention", 6, (N, 2, 3, 4), "past_key"),
        ("GroupQueryAttention", 3, (N, 2, 3, 16), "past_key"),
    ],
)
def test_a_cache_is_refused(op: str, at: int, shape: tuple[object, ...], names: str) -> None:
    proto = next(u for u in USES if u.op == op).model(FLOAT)
    node = proto.graph.node[0]
    node.input.extend([""] * (at + 1 - len(node.input)))
    node.input[at] = "cache"
    proto.graph.input.append(helper.make_tensor_value_info("cache", 1, shape))
    refused(
        proto,
        rf'^{op} "node" cannot be written out: it continues from a cache of keys and values '
        rf"\({names}\)\. Export the model without a cache",
    )


def test_what_a_kernel_only_does_while_writing_is_refused() -> None:
    proto = next(u for u in USES if u.id == "MultiHeadAttention-causal").model(FLOAT)
    proto.graph.node[0].op_type = "DecoderMaskedMultiHeadAttention"
    refused(proto, r'^DecoderMaskedMultiHeadAttention "node" .* writing of a text word by word')


def test_settings_that_are_refused() -> None:
    by_id = {u.id: u for u in USES}
    conv = by_id["FusedConv-kernel_shape=3x3-pads=1x1x1x1-activation=Relu"]
    refused(changed(conv, activation="Mystery"), r"its activation 'Mystery' is not one")
    refused(changed(conv, activation="Clip"), r"its activation 'Clip' lacks alpha")
    bits = by_id["MatMulNBits-4 bits, no zeros"]
    refused(changed(bits, bits=3), r"its weights have 3 bits; known are 2, 4 and 8")
    refused(changed(bits, weight_prepacked=1), r"packed for one GPU")
    refused(changed(by_id["Attention-no mask"], do_rotary=1), r"it turns its queries and keys")
    refused(changed(by_id["MultiHeadAttention-cross"], unidirectional=1), r"there are more keys")
    training = by_id["BiasDropout"].model(FLOAT)
    training.graph.node[0].input.extend(["", "training"])
    training.graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
    refused(training, r"it drops at random\. Export the model in inference mode")


def test_what_is_refused_may_lie_before_what_is_explained(rng: np.random.Generator) -> None:
    use = next(u for u in USES if u.id == "Attention-no mask")
    proto = changed(use, do_rotary=1)
    node = helper.make_node("Relu", ["y0"], ["z"], "relu")
    proto.graph.node.append(node)
    proto.graph.output[0].name = "z"
    shape = proto.graph.output[0]
    inner = onnx.ValueInfoProto()
    inner.CopyFrom(shape)
    inner.name = "y0"
    proto.graph.value_info.append(inner)
    assert onnxshap.check(proto, inputs="y0").ok
    refused(proto, "it turns its queries and keys")


LAYOUTS = [("com.microsoft.nchwc", "Conv"), (COM, "NhwcConv"), (COM, "NhwcMaxPool")]


@pytest.mark.parametrize(("domain", "op"), LAYOUTS)
def test_layouts_of_one_machine_are_refused(domain: str, op: str) -> None:
    use = next(u for u in USES if u.op == "FusedConv")
    proto = use.model(FLOAT)
    proto.graph.node[0].op_type, proto.graph.node[0].domain = op, domain
    proto.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    model = load(proto)  # a file like any other
    with pytest.raises(
        UnsupportedOpError,
        match=re.escape(f'{domain}::{op}, node "node"\n') + "(.|\n)*ORT_ENABLE_EXTENDED",
    ):
        onnxshap.check(model)


def test_the_report_names_what_was_written_out() -> None:
    use = next(u for u in USES if u.id == "BiasGelu-opset 18")
    report = onnxshap.check(use.model(FLOAT))
    (found,) = report.written_out
    assert (found.name, found.operator) == ("node", "com.microsoft::BiasGelu")
    assert found.into == ("Add", "Mul", "Erf")
    line = "written out: 1 com.microsoft::BiasGelu, as Add, Mul, Erf"
    assert line in str(report).split("\n")
    assert line in report._repr_html_()
