"""The table of operator uses that every homogeneity rule is tested on: a row a use."""

from fractions import Fraction
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.helpers.scaling import Held, Row, X

HALF = Fraction(1, 2)


def f(*values: float) -> np.ndarray:
    """Floats, as the rows' models hold them."""
    return np.array(values, np.float64)


def i(*values: int) -> np.ndarray:
    """Integers: sizes, axes, places."""
    return np.array(values, np.int64)


def scalar(value: float) -> np.ndarray:
    return np.array(value, np.float64)


def w(*shape: int) -> np.ndarray:
    """Weights, drawn anew for every shape."""
    return np.random.default_rng(len(shape)).normal(size=shape)


def z(*shape: int) -> np.ndarray:
    """Zeros."""
    return np.zeros(shape)


V, OTHER, IMAGE = X(2, 3), X(2, 3), (1, 2, 4, 4)
SQUARE, SIGN, INVERSE = X(2, 3, k=2), X(2, 3, k=0), X(2, 3, k=-1)
POSITIVE = X(2, 3, low=0.5, high=2.0)
C, ZERO = w(2, 3), z(2, 3)
YES, TRUE = np.array([[True, False, True]] * 2), np.array(True)
SINGLE: dict[str, Any] = {"dtype": np.float32, "tolerance": 1e-5}
RUNTIME: dict[str, Any] = SINGLE | {"on_runtime": True}
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64

ADDS = "adds a constant (degree 0) to a value of degree 1"
BIAS = "adds a bias (degree 0) to a value of degree 1"
MIXES = "mixes a constant (degree 0) with a value of degree 1"


def several(ops: str, inputs: list[Any], expected: Any, **more: Any) -> list[Row]:
    """The same row for several operators."""
    return [Row(op, inputs, expected, **more) for op in ops.split()]


ELEMENTWISE = [
    *several("Abs Identity LeakyRelu Neg Relu", [V], 1),
    *several("Abs Identity LeakyRelu Neg Relu", [INVERSE], -1),
    Row("Relu", [SQUARE], 2),
    Row("PRelu", [V, f(0.1, 0.2, 0.3)], 1),
    Row("PRelu", [V, z(3)], 1),
    Row("PRelu", [V, SIGN], 1),
    Row("PRelu", [V, OTHER], 'its input 1 ("x1") has degree 1, not 0'),
    Row("Add", [V, OTHER], 1),
    Row("Add", [V, C], ADDS),
    Row("Add", [C, V], ADDS),
    Row("Add", [V, ZERO], 1),
    Row("Add", [V, Held(C)], ADDS),
    Row("Add", [V, SQUARE], "adds a value of degree 1 to a value of degree 2"),
    Row("Add", [V, SIGN], "adds a value of degree 1 to a value of degree 0"),
    Row("Add", [SIGN, C], 0),
    Row("Sub", [V, OTHER], 1),
    Row("Sub", [V, ZERO], 1),
    Row("Sub", [C, V], "takes the difference of a constant (degree 0) and a value of degree 1"),
    Row("Sub", [V, C], "takes the difference of a constant (degree 0) and a value of degree 1"),
    Row("Sum", [V, OTHER, ZERO], 1),
    Row("Sum", [V, OTHER, C], ADDS),
    Row("Sum", [V], 1),
    Row("Sum", [V, SQUARE, C], "adds a constant (degree 0), a value of degree 1 and a value of"),
    Row("Mean", [V, OTHER], 1),
    Row("Mean", [V, ZERO], 1),
    Row("Mean", [V, C], "averages a constant (degree 0) with a value of degree 1"),
    *several("Max Min", [V, OTHER], 1),
    *several("Max Min", [V, ZERO], 1),
    *several("Max Min", [INVERSE, ZERO], -1),
    *several("Max Min", [V, C], "compares a constant (degree 0) with a value of degree 1"),
    Row("Max", [V, SQUARE], "compares a value of degree 1 with a value of degree 2"),
    Row("Mul", [V, C], 1),
    Row("Mul", [V, OTHER], 2),
    Row("Mul", [SQUARE, INVERSE], 1),
    Row("Mul", [V, ZERO], 0),
    Row("Mul", [V, SIGN], 1),
    Row("Div", [V, C], 1),
    Row("Div", [C, POSITIVE], -1),
    Row("Div", [V, POSITIVE], 0),
    Row("Div", [SQUARE, POSITIVE], 1),
    Row("Div", [ZERO, POSITIVE], 0),
    Row("Pow", [V, scalar(2)], 2),
    Row("Pow", [V, i(3)], 3),
    Row("Pow", [V, f(2, 2, 2)], 2),
    Row("Pow", [V, scalar(0)], 0),
    Row("Pow", [POSITIVE, scalar(-1.5)], Fraction(-3, 2)),
    Row("Pow", [V, scalar(0.5)], HALF),  # NaN where x < 0, for every a
    Row("Pow", [V, f(1, 2, 3)], "its exponent is not one constant number"),
    Row("Pow", [POSITIVE, OTHER], "its exponent is not one constant number"),
    Row("Pow", [np.abs(C), OTHER], "its exponent is not one constant number"),
    Row("Pow", [V, Held(scalar(2))], "its exponent is not one constant number", breaks=False),
    Row("Sqrt", [POSITIVE], HALF),
    Row("Sqrt", [SQUARE], 1),
    Row("Reciprocal", [POSITIVE], -1),
    *several("IsNaN Sign", [V], 0),
    Row("IsInf", [V], 0),
    *several("Equal Greater GreaterOrEqual Less LessOrEqual", [V, OTHER], 0),
    *several("Equal Greater GreaterOrEqual Less LessOrEqual", [V, ZERO], 0),
    *several(
        "Greater GreaterOrEqual Less LessOrEqual",
        [V, C],
        "compares a constant (degree 0) with a value of degree 1",
    ),
    Row("Equal", [V, C], "compares a constant (degree 0) with a value", breaks=False),
    Row("Where", [YES, V, OTHER], 1),
    Row("Where", [YES, V, ZERO], 1),
    Row("Where", [Held(YES), V, OTHER], 1),
    Row("Where", [YES, V, C], MIXES),
    Row("Where", [YES, V, SQUARE], "mixes a value of degree 1 with a value of degree 2"),
    Row("Clip", [V], 1),
    Row("Clip", [V, scalar(0)], 1),
    Row("Clip", [V, scalar(0), scalar(np.inf)], 1),
    Row("Clip", [V, scalar(-np.inf)], 1),
    Row("Clip", [V, scalar(-np.finfo(np.float64).max), scalar(np.finfo(np.float64).max)], 1),
    Row("Clip", [V, scalar(np.finfo(np.float64).max)], "clips at 1.79769e+308", breaks=False),
    Row("Clip", [V, scalar(0), scalar(1)], "clips at 1"),
    Row("Clip", [V, scalar(-1), scalar(1)], "clips at -1 and 1"),
    Row("Clip", [V, None, scalar(1)], "clips at 1"),
    Row("Clip", [V, scalar(0), Held(scalar(1))], "clips at a constant (degree 0)"),
    Row("Clip", [V, X(low=-0.5, high=-0.2), X(low=0.2, high=0.5)], 1),
    Row("Clip", [SIGN, scalar(0), scalar(0.5)], 0),
    Row("ThresholdedRelu", [V], "cuts off at 1"),
    Row("ThresholdedRelu", [V], 1, {"alpha": 0.0}),
    Row("Shrink", [V], "shrinks by 0 and cuts off at 0.5"),
    Row("Shrink", [V], "shrinks by 1 and cuts off at 0", {"lambd": 0.0, "bias": 1.0}),
    Row("Shrink", [V], 1, {"lambd": 0.0}),
    Row("Dropout", [V], [1, 0], outputs=2),
    Row("Dropout", [V, scalar(0.5), np.array(False)], [1, 0], outputs=2),
    Row("Dropout", [V, scalar(0.5), TRUE], "is in training mode", {"seed": 3}, breaks=False),
    Row("Dropout", [V, scalar(0.5), Held(TRUE)], "or may be", {"seed": 3}, breaks=False),
    Row("Cast", [V], 1, {"to": FLOAT}, tolerance=1e-6),
    Row("Cast", [V], 0, {"to": TensorProto.BOOL}),
    Row("Cast", [V], "rounds to INT64", {"to": INT}),
    Row("Cast", [V], "rounds to FLOAT8E4M3FN", {"to": TensorProto.FLOAT8E4M3FN}, breaks=False),
    Row("Cast", [SIGN], 0, {"to": INT}),
    Row("CastLike", [V, C.astype(np.float32)], 1, tolerance=1e-6),
    Row("CastLike", [V, i(1)], "rounds to INT64"),
]

LINEAR = [
    Row("MatMul", [V, w(3, 2)], 1),
    Row("MatMul", [V, X(3, 2)], 2),
    Row("MatMul", [V, z(3, 2)], 0),
    Row("MatMul", [SIGN, X(3, 2)], 1),
    Row("Einsum", [V, X(3, 2)], 2, {"equation": "ij,jk->ik"}),
    Row("Einsum", [V], 1, {"equation": "ij->j"}),
    Row("Gemm", [V, w(3, 2)], 1),
    Row("Gemm", [V, w(3, 2), w(2)], BIAS),
    Row("Gemm", [V, w(3, 2), z(2)], 1),
    Row("Gemm", [V, w(3, 2), w(2)], 1, {"beta": 0.0}),
    Row("Gemm", [V, w(3, 2), X(2, 2)], 1),
    Row("Gemm", [V, X(3, 2), X(2, 2)], "adds a value of degree 2 to a value of degree 1"),
    Row("Conv", [X(*IMAGE), w(3, 2, 2, 2)], 1, {"pads": [1] * 4}),
    Row("Conv", [X(*IMAGE), w(3, 2, 2, 2), w(3)], BIAS),
    Row("Conv", [X(*IMAGE), w(3, 2, 2, 2), z(3)], 1),
    Row("Conv", [X(*IMAGE), X(3, 2, 2, 2)], 2),
    Row("Conv", [X(*IMAGE, k=2), w(3, 2, 2, 2), X(3, k=2)], 2),
    Row("ConvTranspose", [X(*IMAGE), w(2, 3, 2, 2)], 1),
    Row("ConvTranspose", [X(*IMAGE), w(2, 3, 2, 2), w(3)], BIAS),
    Row("DeformConv", [X(1, 1, 3, 3), w(1, 1, 2, 2), w(1, 8, 2, 2)], 1),
    Row("DeformConv", [X(1, 1, 3, 3), w(1, 1, 2, 2), w(1, 8, 2, 2), z(1), X(1, 4, 2, 2)], 2),
    Row("DeformConv", [X(1, 1, 3, 3), w(1, 1, 2, 2), w(1, 8, 2, 2), w(1)], BIAS),
    Row("DeformConv", [X(1, 1, 3, 3), w(1, 1, 2, 2), X(1, 8, 2, 2)], "its input 2 ("),
    Row("Det", [X(2, 3, 3)], 3),
    Row("Det", [X(2, 2, k=2)], 4),
    Row("AffineGrid", [X(1, 2, 3), i(1, 1, 2, 2)], 1, tolerance=1e-6),
    Row("DFT", [X(1, 4, 1)], 1),
    Row("STFT", [X(1, 8, 1), np.array(4), f(1, 2, 3, 4)], 1),
    Row("STFT", [X(1, 8, 1), np.array(4), X(4)], 2),
    Row("RotaryEmbedding", [X(1, 1, 2, 4), w(1, 2, 2), w(1, 2, 2)], 1, opset=23, **SINGLE),
    Row("RotaryEmbedding", [X(1, 1, 2, 4), X(1, 2, 2), X(1, 2, 2)], 2, opset=23, **SINGLE),
    Row(
        "RotaryEmbedding",
        [X(1, 1, 2, 6), X(1, 2, 2), X(1, 2, 2)],
        "joins a value of degree 2 to a value of degree 1",
        {"rotary_embedding_dim": 4},
        opset=23,
        **SINGLE,
    ),
]

POOL = [
    *several("AveragePool LpPool", [X(*IMAGE)], 1, attrs={"kernel_shape": [2, 2], "pads": [1] * 4}),
    Row("MaxPool", [X(*IMAGE)], [1, 0], {"kernel_shape": [2, 2]}, outputs=2),
    Row("MaxPool", [X(*IMAGE, k=-1)], -1, {"kernel_shape": [3, 3], "pads": [1] * 4}),
    *several("GlobalAveragePool GlobalMaxPool", [X(*IMAGE)], 1),
    Row("GlobalLpPool", [X(*IMAGE)], 1, **RUNTIME),
    Row("GridSample", [X(*IMAGE), w(1, 2, 2, 2)], 1),
    Row("GridSample", [X(*IMAGE), X(1, 2, 2, 2)], 'its input 1 ("x1") has degree 1, not 0'),
    Row(
        "MaxRoiPool",
        [X(*IMAGE), f(0, 0, 0, 3, 3).reshape(1, 5)],
        1,
        {"pooled_shape": [2, 2]},
        **RUNTIME,
    ),
    Row("RoiAlign", [X(*IMAGE), f(0, 0, 3, 3).reshape(1, 4), i(0)], 1),
    Row(
        "MaxUnpool",
        [X(1, 1, 2, 2), i(0, 3, 8, 15).reshape(1, 1, 2, 2)],
        1,
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    Row("Resize", [X(*IMAGE), None, f(1, 1, 2, 2).astype("f")], 1, {"mode": "cubic"}),
    Row(
        "Resize",
        [X(*IMAGE), f(0, 0, -1, 0, 1, 1, 2, 1), None, i(1, 2, 3, 3)],
        "fills with 5",
        {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 5.0},
    ),
    Row(
        "Resize",
        [X(*IMAGE), f(0, 0, -1, 0, 1, 1, 2, 1), None, i(1, 2, 3, 3)],
        1,
        {"coordinate_transformation_mode": "tf_crop_and_resize"},
    ),
]

CHANNELS = X(2, 3, 4)
GROUPS: dict[str, Any] = {"num_groups": 1, "stash_type": TensorProto.DOUBLE}
EPSILON = "adds a constant (degree 0) to a value of degree 2"
NORM = [
    Row("BatchNormalization", [CHANNELS, w(3), z(3), z(3), f(1, 2, 3)], 1),
    Row("BatchNormalization", [CHANNELS, w(3), w(3), z(3), f(1, 2, 3)], "its B is not zero"),
    Row("BatchNormalization", [CHANNELS, w(3), z(3), w(3), f(1, 2, 3)], "its mean is not zero"),
    Row(
        "BatchNormalization",
        [CHANNELS, w(3), w(3), w(3), f(1, 2, 3)],
        "its mean and B are not zero",
    ),
    Row("BatchNormalization", [CHANNELS, w(3), z(3), z(3), X(3, low=1, high=2)], "its input 4"),
    Row("BatchNormalization", [CHANNELS, X(3), z(3), z(3), f(1, 2, 3)], 2),
    Row(
        "BatchNormalization",
        [CHANNELS, w(3), z(3), z(3), f(1, 2, 3)],
        "is in training mode",
        {"training_mode": 1},
        outputs=3,
    ),
    *(
        row
        for op, given, more in (
            ("LayerNormalization", [w(4), w(4)], {}),
            ("InstanceNormalization", [w(3), w(3)], {}),
            ("RMSNormalization", [w(4)], {}),
        )
        for row in (
            Row(op, [CHANNELS, *given], 0, {"epsilon": 0.0, **more}, opset=23, tolerance=1e-6),
            Row(
                op,
                [CHANNELS, *given],
                "adds epsilon 0.01 to a mean square",
                {"epsilon": 0.01, **more},
                opset=23,
            ),
            Row(
                op,
                [CHANNELS, *given],
                "adds epsilon 1e-05 to a mean square",
                more,
                opset=23,
                tolerance=1e-6,
            ),
        )
    ),
    Row(
        "LayerNormalization",
        [CHANNELS, w(4), w(4)],
        [0, 1, -1],
        {"epsilon": 0.0},
        outputs=3,
        tolerance=1e-6,
    ),
    Row("LayerNormalization", [CHANNELS, X(4), z(4)], 1, {"epsilon": 0.0}, tolerance=1e-6),
    Row("LayerNormalization", [CHANNELS, X(4), w(4)], BIAS, {"epsilon": 0.0}),
    Row("LpNormalization", [V], 0),
    Row("LpNormalization", [V], 0, {"p": 1}),
    Row("GroupNormalization", [CHANNELS, w(3), w(3)], 0, GROUPS | {"epsilon": 0.0}, opset=23),
    Row("GroupNormalization", [CHANNELS, w(3), w(3)], EPSILON, GROUPS, opset=23),
    Row("MeanVarianceNormalization", [X(2, 3, 2, 2)], "to a value of degree 1", breaks=False),
    Row("LRN", [X(*IMAGE)], "adds bias 1 to a sum of squares", {"size": 3}),
    Row("LRN", [X(*IMAGE)], -HALF, {"size": 3, "bias": 0.0}),
    Row("LRN", [X(*IMAGE)], 1, {"size": 3, "alpha": 0.0}),
    Row("LRN", [X(*IMAGE)], 0, {"size": 3, "bias": 0.0, "beta": 0.5}),
]

REDUCE = [
    *several("ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum", [V, i(1)], 1),
    *several("ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum", [SQUARE], 2),
    Row("CumSum", [V, np.array(1)], 1),
    Row("ReduceSumSquare", [V, i(1)], 2),
    Row("ReduceSumSquare", [V], 2),
    Row("ReduceSumSquare", [V], "reduces no axis", {"noop_with_empty_axes": 1}, breaks=False),
    Row("ReduceProd", [V, i(1)], 3),
    Row("ReduceProd", [V, i(-2)], 2),
    Row("ReduceProd", [V], 6),
    Row("ReduceProd", [V], 1, {"noop_with_empty_axes": 1}),
    Row(
        "ReduceProd",
        [V, Held(i(1))],
        "multiplies a number of elements that is not known",
        breaks=False,
    ),
    *several("ArgMax ArgMin", [V], 0, attrs={"axis": 1}),
    Row("Hardmax", [V], 0),
    Row("TopK", [V, i(2)], [1, 0], outputs=2),
]

SHAPE = [
    Row("CenterCropPad", [V, i(4, 1)], 1),
    Row("Col2Im", [X(1, 4, 9), i(4, 4), i(2, 2)], 1),
    Row("DepthToSpace", [X(1, 4, 2, 2)], 1, {"blocksize": 2}),
    Row("SpaceToDepth", [X(1, 1, 4, 4)], 1, {"blocksize": 2}),
    Row("Expand", [V, i(4, 2, 3)], 1),
    *several("Flatten Transpose Trilu", [V], 1),
    Row("Reshape", [V, i(6)], 1),
    Row("ReverseSequence", [V, i(1, 2, 2)], 1),
    Row("Slice", [V, i(1), i(3), i(1)], 1),
    Row("Split", [V], [1, 1], {"num_outputs": 2, "axis": 1}, outputs=2),
    Row("Squeeze", [X(2, 1), i(1)], 1),
    Row("Tile", [V, i(2, 2)], 1),
    Row("Unsqueeze", [V, i(0)], 1),
    Row("Concat", [V, OTHER], 1, {"axis": 0}),
    Row("Concat", [V, ZERO], 1, {"axis": 0}),
    Row("Concat", [V, C], "joins a constant (degree 0) to a value of degree 1", {"axis": 0}),
    Row("Concat", [V, SQUARE], "joins a value of degree 1 to a value of degree 2", {"axis": 0}),
    Row("Pad", [V, i(0, 1, 0, 1)], 1),
    Row("Pad", [V, i(0, 1, 0, 1), scalar(0)], 1),
    Row("Pad", [V, i(0, 1, 0, 1), X()], 1),
    Row("Pad", [V, i(0, 1, 0, 1), scalar(2)], "pads with a constant (degree 0) around a value"),
    *(
        Row("Pad", [V, i(0, 1, 0, 1), scalar(2)], 1, {"mode": m})
        for m in ("reflect", "edge", "wrap")
    ),
    *several("EyeLike NonZero Shape Size", [V], 0),
    Row("ConstantOfShape", [i(2, 3)], 0),
]

INDEX = [
    Row("Compress", [V, np.array([True, False])], 1, {"axis": 0}),
    Row("Gather", [V, i(1, 0)], 1),
    Row("GatherElements", [V, i(1, 0, 1).reshape(1, 3)], 1),
    Row("GatherND", [V, i(1, 0).reshape(1, 2)], 1),
    *(
        row
        for op, at in (
            ("ScatterElements", i(1, 0, 1).reshape(1, 3)),
            ("ScatterND", i(1, 0).reshape(2, 1)[:1]),
        )
        for row in (
            Row(op, [V, at, X(1, 3)], 1),
            Row(op, [V, at, z(1, 3)], 1),
            Row(op, [V, at, w(1, 3)], MIXES),
            Row(op, [C, at, X(1, 3)], MIXES),
            Row(op, [V, at, X(1, 3)], 1, {"reduction": "add"}),
            Row(op, [V, at, X(1, 3)], 1, {"reduction": "max"}),
            Row(op, [V, at, w(1, 3)], 1, {"reduction": "mul"}),
            Row(op, [V, at, X(1, 3)], "its input 2", {"reduction": "mul"}),
        )
    ),
    Row("TensorScatter", [X(1, 3, 2), X(1, 1, 2), i(1)], 1, opset=24),
    Row("TensorScatter", [X(1, 3, 2), w(1, 1, 2), i(1)], MIXES, opset=24),
    Row("OneHot", [i(1, 0), np.array(3), X(2)], 1),
    Row("OneHot", [X(3, low=0, high=1), np.array(3), f(0, 1)], "its input 0", breaks=False),
    Row("Unique", [X(6)], [1, 0, 0, 0], outputs=4),
]

REFUSED = [
    *(
        Row(op, [V], f"{op}(a x) is no power of a times {op}(x)")
        for op in [
            "Asinh",
            "Atan",
            "Cos",
            "Cosh",
            "Elu",
            "Erf",
            "Exp",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LogSoftmax",
            "Mish",
            "Selu",
            "Sigmoid",
            "Sin",
            "Sinh",
            "Softmax",
            "Softplus",
            "Softsign",
            "Tan",
            "Tanh",
        ]
    ),
    *(
        Row(op, [X(2, 3, low=low, high=high)], f"{op}(a x) is no power of a times {op}(x)")
        for op, low, high in (
            ("Acos", -0.01, 0.01),
            ("Acosh", 150.0, 200.0),
            ("Asin", -0.01, 0.01),
            ("Atanh", -0.01, 0.01),
            ("Log", 0.5, 2.0),
            ("ReduceLogSum", 0.5, 2.0),
            ("ReduceLogSumExp", -2.0, 2.0),
        )
    ),
    Row("Celu", [V], "Elu(a x) is no power of a times Elu(x)", **SINGLE),
    Row("Swish", [V], "Swish(a x) is no power", opset=24),
    Row("Mod", [V, C], "Mod(a x) is no power of a times Mod(x)", {"fmod": 1}),
    *several("Ceil Floor Round", [V], "rounds"),
    Row("QuantizeLinear", [V, scalar(0.1)], "rounds to integers", **SINGLE),
    Row("DynamicQuantizeLinear", [V], "rounds to", outputs=3, breaks=False, **SINGLE),
    Row("CumProd", [V, np.array(1)], "multiplies ever more elements", opset=26),
    Row(
        "Attention", [X(1, 1, 2, 4), X(1, 1, 2, 4), X(1, 1, 2, 4)], "weighs by a softmax", opset=23
    ),
    *several("GRU", [X(2, 1, 3), w(1, 6, 3), w(1, 6, 2)], "has gates", attrs={"hidden_size": 2}),
    *several("LSTM", [X(2, 1, 3), w(1, 8, 3), w(1, 8, 2)], "has gates", attrs={"hidden_size": 2}),
    *several("RNN", [X(2, 1, 3), w(1, 2, 3), w(1, 2, 2)], "has gates", attrs={"hidden_size": 2}),
    *several(
        "Bernoulli RandomNormalLike RandomUniformLike",
        [POSITIVE],
        "draws random numbers",
        breaks=False,
    ),
]

ROWS = [*ELEMENTWISE, *LINEAR, *POOL, *NORM, *REDUCE, *SHAPE, *INDEX, *REFUSED]
