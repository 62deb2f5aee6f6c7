"""Activations."""

from collections.abc import Iterator

from tests.helpers.cases.case import ROW, WIDE, Case, N, normal, scalar, unary


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
    yield Case("Hardmax", [(N, 4)], special=(0.0, 1.0))
    yield Case("Hardmax", [(N, 3, 4)], {"axis": 1})
    yield Case("Hardmax", [(N, 3, 4)], {"axis": 0}, batch=1)
    for op in ("LogSoftmax", "Softmax"):
        yield Case(op, [(N, 4)], special=(-30.0, 0.0, 0.5, 30.0))
        yield Case(op, [(N, 3, 4)], {"axis": 1}, special=(-30.0, 0.0, 0.5, 30.0))
        yield Case(op, [(N, 2, 3, 4)], {"axis": -2}, domain=(-4, 4))
        yield Case(op, [(N, 3, 4)], {"axis": 0}, batch=1)
        yield Case(op, [(N, 3, 4)], {"axis": 2}, batch=1)
        yield Case(op, [(N, 3, 1)], {"axis": -1}, note="one class")
    yield unary("Mish")
    slopes = [(-2.0, 2.0), (0.1, 0.9)]
    yield Case("PRelu", [ROW, scalar(0.25)], note="constant slope", special=WIDE)
    yield Case("PRelu", [(N, 3, 4), normal(3, 1)], note="slopes of channels", special=WIDE)
    yield Case("PRelu", [(N, 3, 4), (N, 1, 4)], note="both", domain=slopes)
    yield Case("PRelu", [(N, 3, 4), (N, 3, 1)], note="both alone", domain=slopes, alone=True)
    yield unary("Relu")
    yield Case("Relu", [(N, 3, 2)], special=WIDE, batch=2)
    yield unary("Selu")
    yield unary("Selu", attrs={"alpha": 1.2, "gamma": 0.8})
    yield unary("Shrink", special=(*WIDE, -0.5))
    yield unary("Shrink", attrs={"lambd": 1.0, "bias": 1.0}, special=(*WIDE, 1.0, -1.0))
    yield unary("Shrink", attrs={"lambd": -0.25, "bias": 0.5}, special=(*WIDE, 0.25))
    yield unary("Sigmoid")
    yield unary("Softplus")
    yield unary("Softsign")
    yield unary("Swish", opset=24)
    yield unary("Swish", attrs={"alpha": -1.7}, opset=24)
    yield unary("Tanh")
    yield Case("Tanh", [(N,)], note="scalar samples", special=WIDE)
    yield unary("ThresholdedRelu", special=(*WIDE, 1.0, 2.0))
    yield unary("ThresholdedRelu", attrs={"alpha": 0.25}, special=(*WIDE, 0.25))
