"""The table of one-node models that every derivative rule is tested on: a file a family."""

from tests.helpers.cases.activations import activations
from tests.helpers.cases.case import DTYPE, Case, N, Rows, Sizes, ints, normal, positive, scalar
from tests.helpers.cases.convolutions import convolutions
from tests.helpers.cases.elementwise import elementwise
from tests.helpers.cases.functions import functions
from tests.helpers.cases.indices import indices
from tests.helpers.cases.normalisations import normalisations
from tests.helpers.cases.pools import pools
from tests.helpers.cases.products import products
from tests.helpers.cases.reductions import reductions
from tests.helpers.cases.sampling import sampling, signals
from tests.helpers.cases.shapes import shapes
from tests.helpers.cases.trigonometry import trigonometry

__all__ = [
    "CASES",
    "DTYPE",
    "FLOAT32_ALONE",
    "Case",
    "N",
    "Rows",
    "Sizes",
    "ints",
    "normal",
    "positive",
    "scalar",
]

FLOAT32_ALONE = {"DequantizeLinear", "QuantizeLinear"}
"""Operators without rows, since ONNX knows no float64 of them: see tests/autodiff/test_quantise."""

CASES: list[Case] = [
    *activations(),
    *trigonometry(),
    *elementwise(),
    *convolutions(),
    *pools(),
    *normalisations(),
    *functions(),
    *products(),
    *reductions(),
    *shapes(),
    *indices(),
    *sampling(),
    *signals(),
]
