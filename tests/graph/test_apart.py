import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxshap
from onnxshap import Explainer
from onnxshap.graph.batch import analyse
from onnxshap.graph.normalize import normalise
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.models import node, weights

HEADS, TOKENS, WIDTH = 2, 3, 4


def attention(
    *between: onnx.NodeProto, time_first: bool = False, gemm: bool = False
) -> onnx.ModelProto:
    """Self-attention with heads merged into the batch, [N, T, 8] -> [N, T, 8].

    ``time_first``: [T, N, 8] inside, as torch's own module has it, with a ``gemm`` on all rows and
    sizes that are read from merged values. ``between``: nodes on the
    merged scores, from "scores" to "weighed" [N heads, T, T].
    """
    full = HEADS * WIDTH
    held = weights(1, q=(full, full), k=(full, full), v=(full, full), o=(full, full))
    apart, merged = [0, 0, HEADS, WIDTH], [-1, TOKENS, WIDTH]
    out = [-1, HEADS, TOKENS, WIDTH]
    lead = [node("Identity", ["x"], ["in"], "in")]
    order, back = [0, 2, 1, 3], [0, 2, 1, 3]
    if time_first:
        lead = [node("Transpose", ["x"], ["in"], "time_first", perm=[1, 0, 2])]
        merged, out = [TOKENS, -1, WIDTH], [-1, full]
    held |= {k: np.array(a) for k, a in {"apart": apart, "merged": merged, "out": out}.items()}
    held |= {"joined": np.array([-1, TOKENS, full]), "half": np.array(0.5, np.float32)}
    held |= {"again": np.array([TOKENS, -1, full]), "two": np.full((TOKENS,), 2, np.float32)}
    held |= {"first": np.array(0), "one": np.array([1]), "three": np.array([3])}
    held |= weights(2, b=(full,))
    nodes = [*lead, *(node("MatMul", ["in", w], [f"{w}0"], w) for w in "qkv")]
    for w in "qkv":
        if time_first:
            nodes.append(node("Reshape", [f"{w}0", "merged"], [f"{w}1"], f"merge_{w}"))
            nodes.append(node("Transpose", [f"{w}1"], [f"{w}3"], f"heads_{w}", perm=[1, 0, 2]))
            continue
        nodes.append(node("Reshape", [f"{w}0", "apart"], [f"{w}1"], f"split_{w}"))
        nodes.append(node("Transpose", [f"{w}1"], [f"{w}2"], f"heads_{w}", perm=order))
        nodes.append(node("Reshape", [f"{w}2", "merged"], [f"{w}3"], f"merge_{w}"))
    nodes += [
        node("Transpose", ["k3"], ["kt"], "turn", perm=[0, 2, 1]),
        node("MatMul", ["q3", "kt"], ["products"], "products"),
        node("Mul", ["products", "half"], ["scores"], "scale"),
        *(between or [node("Softmax", ["scores"], ["weighed"], "softmax", axis=-1)]),
        node("MatMul", ["weighed", "v3"], ["mixed"], "mix"),
    ]
    if time_first:
        nodes += [
            node("Transpose", ["mixed"], ["m1"], "times", perm=[1, 0, 2]),
            node("Reshape", ["m1", "out"], ["m2"], "join"),
            node("Gemm", ["m2", "o", "b"], ["m3"], "o", transB=1)
            if gemm
            else node("MatMul", ["m2", "o"], ["m3"], "o"),
            *(_read_size("v3", "again") if gemm else []),
            node("Reshape", ["m3", "read" if gemm else "again"], ["m4"], "unmerge"),
            node("Transpose", ["m4"], ["y"], "batch_first", perm=[1, 0, 2]),
        ]
    else:
        nodes += [
            node("Reshape", ["mixed", "out"], ["m1"], "unmerge"),
            node("Transpose", ["m1"], ["m2"], "tokens", perm=back),
            node("Reshape", ["m2", "joined"], ["m3"], "join"),
            node("MatMul", ["m3", "o"], ["y"], "o"),
        ]
    sizes = ["N", TOKENS, full]
    ends = {"x": (np.float32, sizes)}, {"y": (np.float32, sizes)}
    return models.graph(nodes, *ends, held)


def _read_size(merged: str, rest: str) -> list[onnx.NodeProto]:
    """The shape "read", its number of tokens taken from a merged value."""
    return [
        node("Shape", [merged], ["sizes"], "sizes", start=1, end=2),
        node("Slice", [rest, "one", "three"], ["others"], "others"),
        node("Concat", ["sizes", "others"], ["read"], "read", axis=0),
    ]


def flattened() -> onnx.ModelProto:
    """A softmax over the last axis as it was up to opset 12: of a matrix."""
    nodes = [
        node("MatMul", ["x", "w"], ["scores"], "in"),
        node("Flatten", ["scores"], ["rows"], "flatten", axis=2),
        node("Softmax", ["rows"], ["p"], "softmax", axis=1),
        node("Shape", ["scores"], ["shape"], "shape"),
        node("Reshape", ["p", "shape"], ["y"], "back"),
    ]
    ends = {"x": (np.float32, ["N", 4, 6])}, {"y": (np.float32, ["N", 4, 5])}
    return models.graph(nodes, *ends, models.weights(0, w=(6, 5)))


KEPT_APART = {
    "flattened": flattened(),
    "softmax": attention(),
    "time first": attention(time_first=True),
    "elementwise": attention(
        node("Mul", ["scores", "two"], ["s1"], "twice"),
        node("Tanh", ["s1"], ["s2"], "tanh"),
        node("Add", ["s2", "s1"], ["weighed"], "add"),
    ),
    "time first, a Gemm": attention(time_first=True, gemm=True),
    "softmax over queries": attention(node("Softmax", ["scores"], ["weighed"], "soft", axis=1)),
}


@pytest.mark.parametrize("name", KEPT_APART)
def test_a_batch_merged_for_a_while_stays_separate(name: str) -> None:
    model = KEPT_APART[name]
    assert onnxshap.check(model).batch.startswith("samples stay separate")
    x, references = models.samples(model, 5), models.samples(model, 3, seed=1)
    explainer = Explainer(model, references, target=(1, 2))
    found = explainer(x)
    own = models.run(model, x)["y"]
    np.testing.assert_allclose(found.outputs, own[:, 1, 2], rtol=1e-5, atol=1e-6)
    assert found.residual is not None
    assert np.abs(found.residual).max() < 1e-5 * np.abs(found.attributions[0]).sum()
    single = [explainer(x["x"][i : i + 1]).attributions[0] for i in range(5)]
    close(found.attributions, np.array(single), 1e-6)


@pytest.mark.parametrize("name", KEPT_APART)
def test_the_numbers_are_those_of_one_pair_at_a_time(name: str) -> None:
    model = KEPT_APART[name]
    x, references = models.samples(model, 2), models.samples(model, 2, seed=1)
    together = Explainer(model, references, target=(0, 1))
    alone = Explainer(model, references, target=(0, 1))
    alone._engine._build(separable=False)
    assert not alone._engine.program.separable
    close(together(x).attributions, alone(x).attributions, 1e-6)


@pytest.mark.parametrize("name", KEPT_APART)
def test_a_merged_graph_computes_the_same(name: str) -> None:
    model = KEPT_APART[name]
    copy = normalise(model)
    analyse(copy.graph, list(copy.graph.inputs))
    x = models.samples(model, 3)
    rewritten = models.run(ir.serde.serialize_model(copy), x)["y"]
    np.testing.assert_allclose(rewritten, models.run(model, x)["y"], rtol=1e-6, atol=1e-6)
    assert not [
        n for n in copy.graph if not any(o.uses() or o.is_graph_output() for o in n.outputs)
    ]


@pytest.mark.parametrize(
    "between",
    [
        node("Softmax", ["scores"], ["weighed"], "soft", axis=0),  # along heads and samples
        node("CumSum", ["scores", "first"], ["weighed"], "sum"),
    ],
    ids=["softmax", "cumsum"],
)
def test_what_runs_along_the_merged_axis_mixes(between: onnx.NodeProto) -> None:
    assert onnxshap.check(attention(between)).batch.startswith("one pair at a time")


def test_a_merge_that_is_never_undone_is_left_alone() -> None:
    nodes = [
        node("Reshape", ["x", "rows"], ["flat"], "merge"),
        node("Tanh", ["flat"], ["y"], "tanh"),
    ]
    held = {"rows": np.array([-1, 3])}
    ends = {"x": (np.float32, ["N", 2, 3])}, {"y": (np.float32, ["M", 3])}
    copy = normalise(models.graph(nodes, *ends, held))
    before = [(n.name, n.op_type) for n in copy.graph], set(copy.graph.initializers)
    assert not analyse(copy.graph, list(copy.graph.inputs)).separable
    assert ([(n.name, n.op_type) for n in copy.graph], set(copy.graph.initializers)) == before


@pytest.mark.parametrize("ends", [{"inputs": "scores"}, {"output": "scores"}])
def test_merged_values_that_are_asked_for_are_not_led_around(ends: dict[str, str]) -> None:
    model = attention()
    x, references = models.samples(model, 2), models.samples(model, 2, seed=1)
    target = (0, 1) if "inputs" in ends else (0, 1, 1)
    found = Explainer(model, references, target=target, **ends)(x)  # type: ignore[arg-type]
    assert np.abs(found.attributions).max() > 0
