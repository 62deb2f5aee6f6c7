"""Uses of com.microsoft's operators, a row a use."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.helpers.cases.case import Case, N, Rows, Shape, ints, normal, positive

COM = "com.microsoft"
TOKENS, HEADS, HEAD = 5, 2, 4
WIDTH = HEADS * HEAD
SEQUENCE = (N, TOKENS, WIDTH)


@dataclass(frozen=True, eq=False)
class Use(Case):
    """One use of an operator that ONNX does not know."""

    result: Shape = ()
    """Shape of the output, which ONNX cannot infer."""
    more: tuple[tuple[Any, Shape], ...] = ()
    """Types and shapes of further outputs; a type of None is the run's own."""
    vendor: str = COM

    def model(self, dtype: np.dtype) -> onnx.ModelProto:
        """One node; constants and inputs of float64 become ``dtype``."""
        inputs, held, names = [], [], []
        for i, given in enumerate(self.inputs):
            names.append("" if given is None else f"x{i}")
            if isinstance(given, np.ndarray):
                array = given.astype(dtype) if given.dtype == np.float64 else given
                held.append(numpy_helper.from_array(array, names[-1]))
            elif isinstance(given, Rows):
                shape = (N, *given.values.shape[1:])
                inputs.append(self._value(names[-1], given.values.dtype, shape))
            elif given is not None:
                inputs.append(self._value(names[-1], dtype, given))
        results = [(None, self.result), *self.more]
        ends = [self._value(f"y{k}", of or dtype, shape) for k, (of, shape) in enumerate(results)]
        named = [end.name for end in ends]
        node = helper.make_node(self.op, names, named, "node", domain=self.vendor, **self.attrs)
        graph = helper.make_graph([node], self.op, inputs, ends, held)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(COM, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def _value(self, name: str, dtype: Any, shape: Shape) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, shape[1:] if self.alone else shape)


def uses() -> list[Use]:
    """Every use that takes floats; those of words are in `embeddings`."""
    families = (_convolutions, _gemms, _matmuls, _few_bits, _activations, _norms, _groups)
    families += (_attention, _multi_head, _grouped, _rotary)
    return [use for family in families for use in family()]


# Products -----------------------------------------------------------------------------------------


def _convolutions() -> list[Use]:
    conv, result = [(N, 2, 5, 5), normal(3, 2, 3, 3), normal(3)], (N, 3, 5, 5)
    shape = {"kernel_shape": [3, 3], "pads": [1] * 4}
    activations: list[dict[str, Any]] = [
        {"activation": "Relu"},
        {"activation": "Tanh"},
        {"activation": "Sigmoid"},
        {"activation": "LeakyRelu", "activation_params": [0.2]},
        {"activation": "Clip", "activation_params": [-0.3, 0.6]},
        {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]},
        {},
    ]
    strided = {"strides": [2, 1], "dilations": [1, 2], "group": 2, "activation": "Relu"}
    residual = [(N, 4, 7, 7), normal(6, 2, 3, 3), None, (N, 6, 3, 3)]
    silu = shape | {"activation": "Silu"}  # of newer runtimes
    return [
        *(Use("FusedConv", conv, shape | given, result=result) for given in activations),
        Use("FusedConv", conv, silu, result=result, on_runtime=False),
        Use("FusedConv", residual, strided, "residual", result=(N, 6, 3, 3)),
    ]


def _gemms() -> list[Use]:
    activations: dict[str, dict[str, float]] = {
        "Relu": {},
        "Tanh": {},
        "Sigmoid": {},
        "Softplus": {},
        "Softsign": {},
        "LeakyRelu": {"alpha": 0.2},
        "Elu": {"alpha": 0.7},
        "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
        "ThresholdedRelu": {"alpha": 0.5},
        "Selu": {"alpha": 1.5, "gamma": 1.1},
        "ScaledTanh": {"alpha": 0.5, "beta": 0.7},
        "ParametricSoftplus": {"alpha": 0.5, "beta": 0.7},
    }
    inputs, scaled = [(N, 3), normal(4, 3), normal(4)], {"alpha": 0.5, "beta": 0.7, "transB": 1}
    found = []
    for name, given in activations.items():
        attrs = scaled | {"activation": name} | {f"activation_{k}": v for k, v in given.items()}
        found.append(Use("FusedGemm", inputs, attrs, name, result=(N, 4)))
    return found


def _matmuls() -> list[Use]:
    found = []
    for op in ("FusedMatMul", "TransposeMatMul"):
        attrs = {"transB": 1, "alpha": 0.3}
        found.append(Use(op, [(N, 3, 4), normal(5, 4)], attrs, result=(N, 3, 5)))
        found.append(Use(op, [(N, 4, 3), (N, 4, 5)], {"transA": 1}, "two", result=(N, 3, 5)))
    turned = {"transBatchA": 1, "transA": 1, "transBatchB": 1}
    batches = [(N, 4, 2, 6, 3), normal(4, 2, 6, 5)]
    relu = {"activation": "Relu", "transB": 1}
    rows, weights = (N, 3), normal(3, 4)
    found += [
        Use("FusedMatMul", [(N, 2, 4), normal(2, 4, 5)], {"transBatchA": 1}, result=(2, N, 5)),
        Use("FusedMatMul", batches, turned, "batches", result=(N, 2, 6, 3, 5), alone=True),
        Use("FusedMatMul", [(N, 4), normal(4, 5)], {"transA": 1}, result=(N, 5), alone=True),
        Use("FusedMatMulActivation", [rows, normal(4, 3)], relu, result=(N, 4), on_runtime=False),
        Use("GemmFastGelu", [rows, weights, normal(4)], result=(N, 4), on_runtime=False),
    ]
    return found


def _few_bits() -> list[Use]:
    rng, count, size = np.random.default_rng(0), 5, 16
    found = []
    for bits, width, zero in [
        (4, 32, None),
        (4, 40, "packed"),
        (4, 48, "unpacked"),
        (8, 32, None),
        (8, 40, "packed"),
        (2, 32, None),
        (2, 80, "packed"),
    ]:
        blocks = -(-width // size)
        packed = rng.integers(0, 256, (count, blocks, size * bits // 8)).astype(np.uint8)
        zeros: Any = None
        if zero == "packed":
            zeros = rng.integers(0, 256, (count, -(-blocks * bits // 8))).astype(np.uint8)
        elif zero == "unpacked":
            zeros = 7 + normal(count, blocks)
        inputs = [(N, 2, width), packed, positive(count, blocks) / 10, zeros, None, normal(count)]
        attrs = {"K": width, "N": count, "bits": bits, "block_size": size}
        note = f"{bits} bits, {zero or 'no'} zeros"
        found.append(Use("MatMulNBits", inputs, attrs, note, result=(N, 2, count)))
    return found


# Activations --------------------------------------------------------------------------------------


def _activations() -> list[Use]:
    row, bias = (N, 5), normal(5)
    scores, mask = (N, 3, 4, 5), (N, 1, 1, 5)
    inner, outer = {"axis": 3, "is_inner_broadcast": 1}, {"axis": 2, "is_inner_broadcast": 0}
    found = []
    for opset in (18, 20):
        found += [
            Use("Gelu", [row], {}, f"opset {opset}", result=row, opset=opset),
            Use("BiasGelu", [row, bias], {}, f"opset {opset}", result=row, opset=opset),
            Use("FastGelu", [row, bias], {}, f"opset {opset}", result=row, opset=opset),
        ]
    return [
        *found,
        Use("FastGelu", [row], {}, "no bias", result=row),
        Use("QuickGelu", [row], result=row),
        Use("QuickGelu", [row], {"alpha": 1.0}, result=row),
        Use("GatedAdd", [(N, 3, 5), (N, 3, 5), (N, 3, 1)], result=(N, 3, 5)),
        Use("BiasSplitGelu", [(N, 3, 6), normal(6)], result=(N, 3, 3), on_runtime=False),
        Use("BiasSoftmax", [scores, mask], inner, "inner", result=scores, on_runtime=False),
        Use("BiasSoftmax", [scores, normal(4, 5)], outer, "outer", result=scores, on_runtime=False),
        Use("BiasDropout", [row, bias, row], result=row, on_runtime=False),
        Use("BitmaskBiasDropout", [row, bias], result=row, on_runtime=False),
    ]


# Normalisations -----------------------------------------------------------------------------------


def _norms() -> list[Use]:
    x, scale, shift = (N, 3, 6), normal(6), normal(6) + 1
    attrs = {"epsilon": 1e-3}
    skip, simple = "SkipLayerNormalization", "SimplifiedLayerNormalization"
    own: dict[str, Any] = {"result": x, "vendor": ""}
    named = ((np.float32, (N, 3, 1)), (np.float32, (N, 3, 1)), (None, x))
    return [
        Use(skip, [x, x, scale, shift, normal(6) / 2], attrs, "bias", result=x),
        Use(skip, [x, normal(3, 6), scale], attrs, "one skip for all", result=x),
        Use(skip, [x, normal(1, 3, 6), scale, shift], attrs, "sum", result=x, more=named),
        Use(f"Skip{simple}", [x, x, scale, normal(6) / 2], attrs, "bias", result=x),
        Use(f"Skip{simple}", [x, x, scale], attrs, result=x),
        Use(simple, [x, scale], {"axis": -1, **attrs}, **own),
        Use(simple, [x, normal(3, 6)], {"axis": 1, **attrs}, "two axes", **own),
        Use(simple, [x, scale], {"axis": -1, **attrs}, "opset 13", opset=13, **own),
        Use("LayerNormalization", [x, scale, shift], attrs, "opset 13", opset=13, **own),
    ]


def _groups() -> list[Use]:
    last, first = (N, 3, 4, 6), (N, 6, 3, 4)
    scale, shift = positive(6), normal(6)
    silu = {"groups": 3, "activation": 1, "epsilon": 1e-3}
    plain = {"groups": 2, "activation": 0, "channels_last": 0}
    none: dict[str, Any] = {"on_runtime": False}
    skipped = [last, scale, shift, (N, 6), normal(6)]
    skipped_first = [first, scale, shift, first, normal(6)]
    return [
        Use("GroupNorm", [last, scale, shift], silu, "channels last", result=last, **none),
        Use("GroupNorm", [first, scale, shift], plain, "channels first", result=first, **none),
        Use("SkipGroupNorm", skipped, silu, "channels last", result=last, **none),
        Use("SkipGroupNorm", skipped_first, plain, "channels first", result=first, **none),
    ]


# Attention ----------------------------------------------------------------------------------------


def _masks() -> dict[str, Any]:
    """Masks of the keys, of three samples each."""
    seen = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1], [1] * 5], np.int32)
    cube = np.random.default_rng(2).integers(0, 2, (3, TOKENS, TOKENS)).astype(np.int32)
    return {
        "no mask": None,
        "lengths": Rows(np.array([3, 5, 4], np.int32)),
        "keys": Rows(seen),
        "pairs": Rows(cube),
    }


def _attention() -> list[Use]:
    x, weights, bias = (N, TOKENS, 6), normal(6, 3 * WIDTH) / 2, normal(3 * WIDTH)
    heads = {"num_heads": HEADS}
    masks = _masks()
    found = [
        Use("Attention", [x, weights, bias, mask], heads, name, result=SEQUENCE)
        for name, mask in masks.items()
    ]
    sizes = heads | {"qkv_hidden_sizes": [WIDTH, WIDTH, 6]}
    uneven = [x, normal(6, 2 * WIDTH + 6) / 2, normal(2 * WIDTH + 6)]
    table = normal(1, HEADS, TOKENS, TOKENS)
    causal, level = heads | {"unidirectional": 1}, heads | {"mask_filter_value": -2.0, "scale": 0.3}
    both = [x, weights, bias, masks["keys"], None, table]
    present = ((None, (2, N, HEADS, TOKENS, HEAD)),)
    return [
        *found,
        Use("Attention", uneven, sizes, "uneven", result=(N, TOKENS, 6)),
        Use("Attention", [x, weights, bias], causal, "causal", result=SEQUENCE),
        Use("Attention", [x, weights, bias, masks["keys"]], causal, "both", result=SEQUENCE),
        Use("Attention", [x, weights, bias, masks["lengths"]], level, "level", result=SEQUENCE),
        Use("Attention", both, heads, "table", result=SEQUENCE),
        Use("Attention", [x, weights, bias], heads, "present", result=SEQUENCE, more=present),
    ]


def _multi_head() -> list[Use]:
    keys = 7
    q, k, v, wide = SEQUENCE, (N, keys, WIDTH), (N, keys, 6), normal(2 * WIDTH + 6)
    heads, result = {"num_heads": HEADS}, (N, TOKENS, 6)
    masks = _masks()
    seen = Rows(np.pad(masks["keys"].values, ((0, 0), (0, 2)), constant_values=1))
    table = normal(1, 1, TOKENS, keys)
    stacked, folded = (N, TOKENS, HEADS, 3, HEAD), (N, keys, HEADS, 2, HEAD)
    ready = (N, HEADS, keys, HEAD)
    causal = heads | {"unidirectional": 1}
    past = ((None, (N, HEADS, keys, HEAD)), (None, (N, HEADS, keys, 3)))
    op = "MultiHeadAttention"
    apart = [q, ready, ready, normal(3 * WIDTH)]
    return [
        Use(op, [q, k, v], heads, "cross", result=result),
        Use(op, [q, q, q], causal, "causal", result=SEQUENCE),
        Use(op, [q, k, v, wide], heads, "bias", result=result),
        Use(op, [q, k, v, None, masks["lengths"]], heads, "lengths", result=result),
        Use(op, [q, k, v, None, seen], heads, "keys", result=result),
        Use(op, [q, q, q, None, masks["pairs"]], heads, "pairs", result=SEQUENCE),
        Use(op, [q, k, v, None, seen, table], heads, "table", result=result),
        Use(op, [q, k, v, wide], heads, "present", result=result, more=past),
        Use(op, apart, heads, "keys apart", result=SEQUENCE),
        Use(op, [stacked], heads, "stacked", result=SEQUENCE, on_runtime=False),
        Use(op, [q, folded], heads, "keys stacked", result=SEQUENCE, on_runtime=False),
    ]


def _grouped() -> list[Use]:
    heads, shared, head, tokens = 4, 2, 16, 4
    q, kv = (N, tokens, heads * head), (N, tokens, shared * head)
    stacked = (N, tokens, (heads + 2 * shared) * head)
    lengths, total = Rows(np.full(3, tokens - 1, np.int32)), np.array(tokens, np.int32)
    cos, sin = _angles(head)
    at = Rows(np.tile(np.arange(2, 2 + tokens), (3, 1)))
    table, sink = normal(1, heads, tokens, tokens), normal(heads)

    def use(note: str, given: dict[str, Any], behind: list[Any], packed: bool = False) -> Use:
        inputs: list[Any] = [stacked, None, None] if packed else [q, kv, kv]
        attrs = {"num_heads": heads, "kv_num_heads": shared} | given
        inputs += [None, None, lengths, total, *behind]
        more = ((None, (N, shared, tokens, head)),) * 2
        return Use("GroupQueryAttention", inputs, attrs, note, result=q, more=more)

    return [
        use("plain", {}, []),
        use("packed", {"scale": 0.3}, [], packed=True),
        use("capped", {"softcap": 2.0}, [None, None, None, table]),
        use("window", {"local_window_size": 2}, []),
        use("turned", {"do_rotary": 1}, [cos, sin]),
        use("turned from 2", {"do_rotary": 1}, [cos, sin, at]),
        use("turned neighbours", {"do_rotary": 1, "rotary_interleaved": 1}, [cos, sin], True),
        use("sink", {}, [None, None, None, None, sink]),
        use("smooth", {"smooth_softmax": 1}, []),
        use("not causal", {"causal": 0}, []),
    ]


def _rotary() -> list[Use]:
    op, (cos, sin) = "RotaryEmbedding", _angles(HEAD)
    at = Rows(np.random.default_rng(3).integers(0, 12, (3, TOKENS)))
    apart, wide = (N, HEADS, TOKENS, HEAD), (N, TOKENS, 16)
    part: dict[str, Any] = {"rotary_embedding_dim": HEAD, "num_heads": 2}
    swapped = {"interleaved": 1}
    return [
        Use(op, [SEQUENCE, at, cos, sin], result=SEQUENCE),
        Use(op, [SEQUENCE, at, cos, sin], swapped, result=SEQUENCE),
        Use(op, [SEQUENCE, ints(3), cos, sin], {}, "from 3", result=SEQUENCE),
        Use(op, [apart, at, cos, sin], {}, "heads apart", result=apart),
        Use(op, [wide, at, cos, sin], part, "part of a head", result=wide),
        Use(op, [wide, at, cos, sin], part | swapped, "part, neighbours", result=wide),
    ]


def _angles(head: int) -> tuple[np.ndarray, np.ndarray]:
    angles = normal(12, head // 2)
    return np.cos(angles), np.sin(angles)


# Words --------------------------------------------------------------------------------------------


def embeddings() -> list[Use]:
    """EmbedLayerNormalization, whose words are whole numbers."""
    rng, width = np.random.default_rng(4), 6
    ids, at = Rows(_whole(rng, 10)), Rows(_whole(rng, 8))
    kinds, mask = Rows(_whole(rng, 2)), _masks()["keys"]
    words, places, segments = normal(10, width), normal(8, width), normal(2, width)
    scale, shift, attrs = normal(width), normal(width) + 1, {"epsilon": 1e-3}
    whole = [ids, kinds, words, places, segments, scale, shift]
    result, count = (N, TOKENS, width), (np.int32, (N,))
    op, no_kinds = "EmbedLayerNormalization", [ids, None, words, places, None, scale, shift]
    summed = attrs | {"mask_index_type": 1}
    return [
        Use(op, [*whole, mask], summed, "mask", result=result, more=(count, (None, result))),
        Use(op, whole, attrs, "no mask", result=result, more=(count,)),
        Use(op, no_kinds, attrs, "no segments", result=result, more=(count,)),
        Use(op, [*whole, mask, at], summed, "places", result=result, more=(count,)),
    ]


def _whole(rng: np.random.Generator, below: int) -> np.ndarray:
    return rng.integers(0, below, (3, TOKENS)).astype(np.int32)
