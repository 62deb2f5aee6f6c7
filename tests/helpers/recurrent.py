"""LSTM, GRU and RNN in numpy, by ONNX's text: one sample, one step at a time.

ONNX's own reference evaluator leaves out lengths, clipping and activations. A sequence of its own
length is run alone here, so that nothing is masked.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Function = Callable[[np.ndarray], np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def activations(
    names: list[str], alphas: list[float] | None, betas: list[float] | None
) -> list[Function]:
    a, b = iter(alphas or []), iter(betas or [])

    def one(name: str) -> Function:
        match name.lower():
            case "relu":
                return lambda x: np.maximum(x, 0)
            case "tanh":
                return np.tanh
            case "sigmoid":
                return sigmoid
            case "softsign":
                return lambda x: x / (1 + abs(x))
            case "softplus":
                return lambda x: np.log1p(np.exp(x))
            case "leakyrelu":
                slope = next(a, 0.01)
                return lambda x: np.where(x < 0, slope * x, x)
            case "elu":
                scale = next(a, 1.0)
                return lambda x: np.where(x < 0, scale * np.expm1(x), x)
            case "thresholdedrelu":
                bound = next(a, 1.0)
                return lambda x: np.where(x > bound, x, 0)
            case "affine":
                first, second = next(a, 1.0), next(b, 0.0)
                return lambda x: first * x + second
            case "scaledtanh":
                first, second = next(a, 1.0), next(b, 1.0)
                return lambda x: first * np.tanh(second * x)
            case "hardsigmoid":
                first, second = next(a, 0.2), next(b, 0.5)
                return lambda x: np.clip(first * x + second, 0, 1)
        raise ValueError(name)

    return [one(name) for name in names]


class Recurrent(OpRun):
    """What the three operators share: directions, lengths, layouts."""

    defaults: tuple[str, ...]
    cells = 0
    gates: int

    def run_all(self, x: Any, weights: list[Any], lengths: Any, states: list[Any], a: Any) -> Any:
        layout, ways = a.get("layout") or 0, len(weights[0])
        if layout:
            x = x.swapaxes(0, 1)
            states = [None if s is None else s.swapaxes(0, 1) for s in states]
        steps, batch, _ = x.shape
        hidden = weights[1].shape[-1]
        names = a.get("activations") or list(self.defaults) * ways
        called = activations(names, a.get("activation_alpha"), a.get("activation_beta"))
        each = len(self.defaults)
        y = np.zeros((steps, ways, batch, hidden), x.dtype)
        last = [np.zeros((ways, batch, hidden), x.dtype) for _ in states]
        for d, n in np.ndindex(ways, batch):
            length = steps if lengths is None else int(lengths[n])
            backward = a.get("direction") == "reverse" or d == 1
            order = range(length)[::-1] if backward else range(length)
            own = [np.zeros(hidden, x.dtype) if s is None else s[d, n] for s in states]
            parts = [None if w is None else w[d] for w in weights]
            own_functions = self._clipped(called[d * each : (d + 1) * each], a.get("clip"))
            for t in order:
                own = self.step(x[t, n], own, parts, own_functions, a)
                y[t, d, n] = own[0]
            for k, state in enumerate(own):
                last[k][d, n] = state
        if layout:
            y, last = y.transpose(2, 0, 1, 3), [v.swapaxes(0, 1) for v in last]
        return tuple(v.astype(x.dtype) for v in (y, *last))[: len(self.onnx_node.output)]

    @staticmethod
    def _clipped(functions: list[Function], clip: float | None) -> list[Function]:
        if not clip:
            return functions
        clipped = [lambda x, f=f: f(np.clip(x, -clip, clip)) for f in functions]  # type: ignore[misc]
        return [*clipped[:2], *functions[2:]]  # onnxruntime leaves an LSTM's cell as it is

    def step(self, x: Any, states: Any, weights: Any, functions: Any, a: Any) -> Any:
        raise NotImplementedError


class LSTM(Recurrent):
    defaults, cells, gates = ("Sigmoid", "Tanh", "Tanh"), 1, 4

    def _run(
        self, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None,
        h: Any = None, c: Any = None, p: Any = None, **a: Any,
    ) -> Any:  # fmt: skip
        return self.run_all(x, [w, r, b, p], lengths, [h, c], a)

    def step(self, x: Any, states: Any, weights: Any, functions: Any, a: Any) -> Any:
        (w, r, b, p), (h, c), (f, g, last) = weights, states, functions
        size = len(h)
        b = np.zeros(8 * size) if b is None else b
        p_i, p_o, p_f = np.split(np.zeros(3 * size) if p is None else p, 3)
        i, o, forget, new = (
            w[k * size : (k + 1) * size] @ x
            + r[k * size : (k + 1) * size] @ h
            + b[k * size : (k + 1) * size]
            + b[(4 + k) * size : (5 + k) * size]
            for k in range(4)
        )
        i = f(i + p_i * c)
        forget = 1 - i if a.get("input_forget") else f(forget + p_f * c)
        c = forget * c + i * g(new)
        return [f(o + p_o * c) * last(c), c]


class GRU(Recurrent):
    defaults, gates = ("Sigmoid", "Tanh"), 3

    def _run(
        self, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h: Any = None, **a: Any
    ) -> Any:
        return self.run_all(x, [w, r, b], lengths, [h], a)

    def step(self, x: Any, states: Any, weights: Any, functions: Any, a: Any) -> Any:
        (w, r, b), (h,), (f, g) = weights, states, functions
        w_z, w_r, w_h = np.split(w, 3)
        r_z, r_r, r_h = np.split(r, 3)
        b = np.zeros(6 * len(h)) if b is None else b
        b_z, b_r, b_h, c_z, c_r, c_h = np.split(b, 6)
        z = f(w_z @ x + r_z @ h + b_z + c_z)
        reset = f(w_r @ x + r_r @ h + b_r + c_r)
        if a.get("linear_before_reset"):
            new = g(w_h @ x + reset * (r_h @ h + c_h) + b_h)
        else:
            new = g(w_h @ x + r_h @ (reset * h) + b_h + c_h)
        return [(1 - z) * new + z * h]


class RNN(Recurrent):
    defaults, gates = ("Tanh",), 1

    def _run(
        self, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h: Any = None, **a: Any
    ) -> Any:
        return self.run_all(x, [w, r, b], lengths, [h], a)

    def step(self, x: Any, states: Any, weights: Any, functions: Any, a: Any) -> Any:
        (w, r, b), (h,), (f,) = weights, states, functions
        b = np.zeros(2 * len(h)) if b is None else b
        return [f(w @ x + r @ h + b[: len(h)] + b[len(h) :])]


RECURRENT: tuple[type[OpRun], ...] = (GRU, LSTM, RNN)
