"""Operators that are not homogeneous, each with the sentence that says why."""

from onnxshap.graph.inference import RANDOM
from onnxshap.homogeneity.context import Context
from onnxshap.homogeneity.degrees import CONSTANT, Degree, Offence, largest
from onnxshap.homogeneity.registry import rule


@rule("Erf", "HardSigmoid", "Sigmoid", "Softmax", "Softsign", "Tanh")
def bounded(ctx: Context) -> Degree:
    """Bounded, so no power of a scales it, yet not the same for every a."""
    raise Offence(_sentence(ctx), CONSTANT)


@rule(
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cos",
    "Cosh",
    "Elu",
    "Exp",
    "Gelu",
    "HardSwish",
    "Log",
    "LogSoftmax",
    "Mish",
    "Mod",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "Selu",
    "Sin",
    "Sinh",
    "Softplus",
    "Swish",
    "Tan",
)
def curved(ctx: Context) -> Degree:
    """No power of a."""
    raise Offence(_sentence(ctx), ctx.degree())


def _sentence(ctx: Context) -> str:
    name = ctx.node.op_type
    return f"{name}(a x) is no power of a times {name}(x)"


@rule("Ceil", "Floor", "Round")
def rounded(ctx: Context) -> Degree:
    """Rounding has a scale of its own."""
    raise Offence("rounds", ctx.degree())


@rule("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")
def quantized(ctx: Context) -> Degree:
    """Rounding again; and integers cannot be scaled by every a."""
    raise Offence("rounds to integers, or reads them", ctx.degree())


@rule("GRU", "LSTM", "RNN")
def recurrent(ctx: Context) -> Degree:
    """Their gates are sigmoids and the like."""
    raise Offence("has gates that are no power of a", ctx.degree())


@rule("Attention")
def attention(ctx: Context) -> Degree:
    """A softmax in between."""
    raise Offence("weighs by a softmax", ctx.degree(2))


@rule("CumProd")
def cumprod(ctx: Context) -> Degree:
    """One element more each step."""
    raise Offence("multiplies ever more elements: each has a degree of its own", ctx.degree())


@rule(*sorted(RANDOM))
def random(ctx: Context) -> Degree:
    """Another number each time it is asked."""
    raise Offence("draws random numbers", CONSTANT, always=True)


@rule("If", "Loop", "Scan")
def control_flow(ctx: Context) -> Degree:
    """What happens inside is not looked at."""
    raise Offence("control flow that values of a degree other than 0 enter", largest(ctx.degrees))
