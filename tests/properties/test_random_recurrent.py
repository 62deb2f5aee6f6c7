"""LSTM, GRU and RNN under any setting."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, N, Rows
from tests.helpers.cases.sequences import GATES, WAYS, row
from tests.properties.judge import judge, lists, numbers

FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
"""Activations of one direction."""
ALPHA = {"Elu": 0.7, "LeakyRelu": 0.1, "ThresholdedRelu": 0.2}
ALPHA |= {"Affine": 0.8, "HardSigmoid": 0.25, "ScaledTanh": 1.5}
BETA = {"Affine": 0.1, "HardSigmoid": 0.45, "ScaledTanh": 0.5}
PLAIN = ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")


@st.composite
def recurrent(draw: st.DrawFn, op: str) -> Case:
    """A node whose sequence and states are explained, or its weights, too."""
    every = draw(st.booleans())
    way, steps = draw(st.sampled_from(WAYS)), draw(st.integers(1 + every, 4))
    settings: dict[str, Any] = {"direction": way, "biased": draw(st.booleans())}
    settings |= {"initial": draw(st.booleans()), "shown": draw(st.integers(0, 1 + (op == "LSTM")))}
    if draw(st.booleans()):
        settings["lengths"] = np.array(draw(lists(3, 1, steps)), np.int32)
    if op == "LSTM" and draw(st.booleans()):
        settings["peephole"] = True
    if op == "LSTM" and draw(st.booleans()):
        settings["input_forget"] = 1
    if op == "GRU" and draw(st.booleans()):
        settings["linear_before_reset"] = 1
    if draw(st.booleans()):
        settings["clip"] = draw(st.sampled_from((0.3, 1.0)))
    if not every and draw(st.booleans()):
        settings["layout"] = 1
    if draw(st.booleans()):
        count = FUNCTIONS[op] * (2 if way == "bidirectional" else 1)
        names = draw(st.lists(st.sampled_from((*PLAIN, *ALPHA)), min_size=count, max_size=count))
        settings["activations"] = names
        for name, values in (("activation_alpha", ALPHA), ("activation_beta", BETA)):
            own = [values[n] for n in names if n in values]
            if own:
                settings[name] = own
    case = row(op, "random", steps, **settings)
    return _weights(case) if every else case


def _weights(case: Case) -> Case:
    """The same with every input explained: of one sequence, as weights have no batch axis."""
    given: list[Any] = []
    for own in case.inputs:
        if isinstance(own, tuple):  # X [T, 1, I], states [directions, 1, H]
            own = (N, own[1], 1, own[2])
        elif isinstance(own, Rows):
            own = own.values[:1]
        elif own is not None:
            own = (N, *own.shape)
        given.append(own)
    return replace(case, inputs=given, batch=0, alone=True, domain=(-0.8, 0.8))


@given(st.sampled_from(sorted(GATES)).flatmap(recurrent), numbers)
def test_recurrent(case: Case, seed: int) -> None:
    judge(case, seed)
