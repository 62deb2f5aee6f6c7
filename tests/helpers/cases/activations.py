"""Activations."""

from collections.abc import Iterator

from tests.helpers.cases.case import ROW, WIDE, Case, N, scalar, unary


def activations() -> Iterator[Case]:
    yield Case("Clip", [ROW, scalar(-1), scalar(1.5)], note="both", special=(*WIDE, -1.0, 1.5))
    yield Case("Clip", [ROW, scalar(0.25)], note="min", special=(*WIDE, 0.25))
    yield Case("Clip", [ROW, None, scalar(0.25)], note="max", special=(*WIDE, 0.25))
    yield unary("Clip", "unbounded")
    yield unary("Elu")
    yield unary("Elu", attrs={"alpha": 0.3})
    yield unary("Erf")
    yield unary("Gelu", "exact", opset=20)
    yield unary("Gelu", "tanh", attrs={"approximate": "tanh"}, opset=20)
    yield unary("HardSigmoid", domain=(-4, 4), special=(*WIDE, 2.5, -2.5))
    yield unary("HardSigmoid", attrs={"alpha": 0.5, "beta": 0.25})
    yield unary("HardSwish", domain=(-5, 5), special=(*WIDE, -3.0, 3.0))
    yield unary("LeakyRelu")
    yield unary("LeakyRelu", attrs={"alpha": 0.3})
    for op in ("LogSoftmax", "Softmax"):
        yield Case(op, [(N, 4)], special=(-30.0, 0.0, 0.5, 30.0))
        yield Case(op, [(N, 3, 4)], {"axis": 1}, special=(-30.0, 0.0, 0.5, 30.0))
        yield Case(op, [(N, 2, 3, 4)], {"axis": -2}, domain=(-4, 4))
        yield Case(op, [(N, 3, 4)], {"axis": 0}, batch=1)
        yield Case(op, [(N, 3, 4)], {"axis": 2}, batch=1)
        yield Case(op, [(N, 3, 1)], {"axis": -1}, note="one class")
    yield unary("Relu")
    yield Case("Relu", [(N, 3, 2)], special=WIDE, batch=2)
    yield unary("Selu")
    yield unary("Selu", attrs={"alpha": 1.2, "gamma": 0.8})
    yield unary("Sigmoid")
    yield unary("Softplus")
    yield unary("Tanh")
    yield Case("Tanh", [(N,)], note="scalar samples", special=WIDE)
