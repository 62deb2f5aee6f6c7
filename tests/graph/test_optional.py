"""Optional values: what is known of them before the run leaves plain tensors."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import checker, parser

from onnxshap.graph.model import load
from tests.helpers.gradcheck import evaluator

HEAD = """<ir_version: 8, opset_import: ["": 18]> g (float[N, 3] x) => (float[N, 3] y) {"""
USES = {
    "a tensor": "a = Tanh(x) y = OptionalGetElement(a)",
    "an input": "y = OptionalGetElement(x)",
    "wrapped": "a = Tanh(x) o = Optional(a) b = OptionalGetElement(o) y = Sinh(b)",
    "handed on": "o = Optional(x) p = Identity(o) y = OptionalGetElement(p)",
    "asked for": """o = Optional(x) there = OptionalHasElement(o) a = Tanh(x)
                    y = Where(there, x, a)""",
    "asked for in vain": "there = OptionalHasElement() a = Tanh(x) y = Where(there, x, a)",
    "asked for of a tensor": "there = OptionalHasElement(x) a = Tanh(x) y = Where(there, x, a)",
}


@pytest.mark.parametrize("use", USES)
def test_the_element_takes_its_place(use: str) -> None:
    model = parser.parse_model(f"{HEAD} {USES[use]} }}")
    plain = ir.serde.serialize_model(load(model).normalised)
    checker.check_model(plain, full_check=True)
    assert not [n.op_type for n in plain.graph.node if n.op_type.startswith("Optional")]
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    expected = {
        "wrapped": np.sinh(np.tanh(x)),
        "a tensor": np.tanh(x),
        "asked for in vain": np.tanh(x),
    }
    np.testing.assert_allclose(evaluator(plain)({"x": x})["y"], expected.get(use, x), rtol=1e-6)


def test_what_a_body_gives_is_left_as_it_is() -> None:
    body = """y = If(c) <then_branch = t () => (optional(float[N, 3]) o) { o = Optional(x) },
              else_branch = e () => (optional(float[N, 3]) p) { p = Optional(x) }>"""
    source = f"{HEAD} s = ReduceSum(x) z = Sub(s, s) c = Cast<to = 9>(z) {body} }}"
    source = source.replace("y = If", "o = If").replace("> }", "> y = OptionalGetElement(o) }")
    graph = load(parser.parse_model(source)).normalised.graph
    assert "OptionalGetElement" in [node.op_type for node in graph]
