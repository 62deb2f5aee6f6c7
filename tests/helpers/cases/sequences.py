"""Recurrent operators and attention, which are rewritten before anything is differentiated.

X [T, N, I], or [N, T, I] under ``layout``; one sample X [T, 1, I] where weights are inputs too.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.helpers.cases.case import Case, N, Rows, normal

STEPS, FEATURES, HIDDEN = 4, 2, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTHS = np.array([3, 1, 4, 2], np.int32)
WAYS = ("forward", "reverse", "bidirectional")


def recurrent() -> Iterator[Case]:
    for op in GATES:
        for way in WAYS:
            yield row(op, f"{way}, biased", biased=True, direction=way)
            yield row(op, f"{way}, last state", shown=1, direction=way, initial=True)
            yield row(op, f"{way}, lengths", direction=way, lengths=LENGTHS, biased=True)
            yield row(
                op,
                f"{way}, lengths, last state",
                shown=1,
                direction=way,
                lengths=LENGTHS,
                initial=True,
            )
        yield row(op, "plain")
        yield row(op, "clipped", clip=0.3, biased=True)
        yield row(op, "layout 1", layout=1, biased=True, initial=True)
        yield row(op, "layout 1, both ways", layout=1, direction="bidirectional", initial=True)
        yield row(op, "layout 1, lengths", layout=1, lengths=LENGTHS, shown=1)
        yield row(op, "one step", steps=1, direction="bidirectional", biased=True)
        yield weights(op)
    yield row("LSTM", "peepholes", peephole=True, biased=True, initial=True)
    yield row("LSTM", "peepholes, both ways", peephole=True, direction="bidirectional")
    yield row("LSTM", "peepholes, clipped", peephole=True, clip=0.4, initial=True)
    yield row("LSTM", "coupled gates", input_forget=1, initial=True)
    yield row("LSTM", "last cell", shown=2, initial=True, lengths=LENGTHS)
    yield row("LSTM", "last cell, both ways", shown=2, direction="bidirectional")
    for first in (0, 1):
        yield row("GRU", f"reset {first}", linear_before_reset=first, biased=True, initial=True)
        yield row("GRU", f"reset {first}, no bias", linear_before_reset=first, initial=True)
    yield row("GRU", "reset 1, lengths", linear_before_reset=1, lengths=LENGTHS, biased=True)
    yield row(
        "LSTM",
        "activations",
        direction="bidirectional",
        activations=["HardSigmoid", "Softsign", "LeakyRelu", "Sigmoid", "ScaledTanh", "Affine"],
        activation_alpha=[0.25, 0.1, 1.5, 0.8],
        activation_beta=[0.45, 0.5, 0.1],
    )
    yield row("LSTM", "relus", activations=["Sigmoid", "Relu", "Elu"], activation_alpha=[0.7])
    yield row(
        "GRU",
        "activations",
        activations=["hardsigmoid", "softplus"],
        activation_alpha=[0.25],
        activation_beta=[0.5],
    )
    yield row("RNN", "relu", activations=["Relu"], initial=True)
    yield row("RNN", "thresholded", activations=["ThresholdedRelu"], activation_alpha=[0.4])


def row(
    op: str,
    note: str,
    steps: int = STEPS,
    biased: bool = False,
    initial: bool = False,
    lengths: np.ndarray | None = None,
    peephole: bool = False,
    shown: int = 0,
    **attrs: Any,
) -> Case:
    """One use of an operator; ``initial``: its initial states are inputs of the model."""
    gates, ways = GATES[op], 2 if attrs.get("direction") == "bidirectional" else 1
    given: list[Any] = [(N, steps, FEATURES), scaled(ways, gates * HIDDEN, FEATURES)]
    given += [scaled(ways, gates * HIDDEN, HIDDEN)]
    given += [scaled(ways, 2 * gates * HIDDEN) if biased else None]
    given += [Rows(lengths) if lengths is not None else None]
    states = 2 if op == "LSTM" else 1
    given += [(N, ways, HIDDEN) if initial else None] * states
    if peephole:
        given += [scaled(ways, 3 * HIDDEN)]
    while given[-1] is None:
        given.pop()
    return Case(
        op,
        given,
        {"hidden_size": HIDDEN} | attrs,
        note=note,
        batch=0 if attrs.get("layout") else 1,
        outputs=1 + states,
        join=(shown,),
        on_runtime=not attrs.get("layout"),
    )


def weights(op: str) -> Case:
    """Everything is explained: a product of activations with weights that vary."""
    gates = GATES[op]
    shapes: list[Any] = [
        (N, STEPS, 1, FEATURES),
        (N, 1, gates * HIDDEN, FEATURES),
        (N, 1, gates * HIDDEN, HIDDEN),
        (N, 1, 2 * gates * HIDDEN),
        None,
        (N, 1, 1, HIDDEN),
    ]
    shapes += [(N, 1, 1, HIDDEN), (N, 1, 3 * HIDDEN)] if op == "LSTM" else []
    attrs = {"hidden_size": HIDDEN} | ({"linear_before_reset": 1} if op == "GRU" else {})
    outputs = 3 if op == "LSTM" else 2
    return Case(op, shapes, attrs, note="weights", outputs=outputs, alone=True, domain=(-0.8, 0.8))


def scaled(*shape: int) -> np.ndarray:
    """Weights for which gates neither saturate nor stay in the middle."""
    return 0.6 * normal(*shape)


B, H, S, D = N, 2, 3, 4
CAUSAL = {"is_causal": 1}
SEEN = np.array([[1, 0, 1, 1, 0], [1, 1, 0, 0, 1], [0, 1, 1, 1, 1]], bool)


def attentions() -> Iterator[Case]:
    q, k = (B, H, S, D), (B, H, 5, D)
    yield heads("plain", [q, k, k])
    yield heads("scaled", [q, k, k], scale=0.25)
    yield heads("keys constant", [q, normal(1, H, 5, D), normal(1, H, 5, D)], on_runtime=False)
    yield heads("causal", [q, q, q], **CAUSAL)
    yield heads("softcap", [q, k, k], softcap=1.5)
    yield heads("grouped", [(B, 6, S, D), k, (B, H, 5, 3)])
    yield heads("grouped, causal", [(B, 6, S, D), q, q], **CAUSAL)
    yield heads("one key head", [(B, 4, S, D), (B, 1, 5, D), (B, 1, 5, D)])
    yield heads("mask, boolean", [q, k, k, SEEN])
    yield heads("mask, added", [q, k, k, normal(1, H, S, 5)])
    yield heads("mask, infinite", [q, k, k, np.where(SEEN, 0.0, -np.inf)])
    yield heads("mask, added, explained", [q, k, k, (B, H, S, 5)])
    yield heads("mask of heads, grouped", [(B, 6, S, D), k, k, normal(6, S, 5)])
    yield heads("mask by sample", [q, k, k, Rows(np.stack([SEEN, ~SEEN, SEEN | True])[:, None])])
    yield heads("mask, short", [q, k, k, SEEN[:, :3]], on_runtime=False)
    yield heads("a query that sees nothing", [q, k, k, SEEN & (np.arange(3) != 1)[:, None]])
    yield heads("mask, causal", [q, k, k, normal(S, 5)], **CAUSAL)
    flat = {"q_num_heads": H, "kv_num_heads": H}
    yield heads("3-D", [(B, S, H * D), (B, 5, H * D), (B, 5, H * 3)], **flat)
    yield heads("3-D, grouped", [(B, S, 6 * D), (B, 5, H * D), (B, 5, H * 3)],
                q_num_heads=6, kv_num_heads=H)  # fmt: skip
    past = [(B, H, 2, D), (B, H, 2, D)]
    yield heads("past", [q, q, q, None, *past], outputs=3, **CAUSAL)
    yield heads("past, keys", [q, q, q, None, *past], outputs=3, shown=1, **CAUSAL)
    for mode in range(4):
        yield heads(
            f"scores {mode}",
            [q, k, k, SEEN if mode == 3 else normal(S, 5)],
            shown=3,
            opset=24,
            qk_matmul_output_mode=mode,
            **({"softcap": 2.0} if mode else {}),
        )
    yield heads("lengths", [q, k, k, None, None, None, Rows(np.array([4, 3, 5]))], opset=24)
    yield heads(
        "lengths, causal",
        [q, k, k, None, None, None, Rows(np.array([4, 3, 5]))],
        opset=24,
        **CAUSAL,
    )


def heads(
    note: str,
    given: list[Any],
    shown: int = 0,
    outputs: int = 1,
    opset: int = 23,
    on_runtime: bool = True,
    **attrs: Any,
) -> Case:
    """One use of Attention."""
    return Case(
        "Attention",
        given,
        attrs,
        note=note,
        opset=opset,
        outputs=max(outputs, shown + 1),
        join=(shown,),
        on_runtime=on_runtime,
    )
