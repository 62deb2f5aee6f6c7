"""The table of one-node models that every derivative rule is tested on: a file a family."""

from tests.helpers.cases.activations import activations
from tests.helpers.cases.case import DTYPE, Case, N, Rows, Sizes, ints, normal, positive, scalar
from tests.helpers.cases.convolutions import convolutions
from tests.helpers.cases.elementwise import elementwise
from tests.helpers.cases.indices import indices
from tests.helpers.cases.normalisations import normalisations
from tests.helpers.cases.pools import pools
from tests.helpers.cases.products import products
from tests.helpers.cases.reductions import reductions
from tests.helpers.cases.shapes import shapes

__all__ = ["CASES", "DTYPE", "Case", "N", "Rows", "Sizes", "ints", "normal", "positive", "scalar"]

CASES: list[Case] = [
    *activations(),
    *elementwise(),
    *convolutions(),
    *pools(),
    *normalisations(),
    *products(),
    *reductions(),
    *shapes(),
    *indices(),
]
