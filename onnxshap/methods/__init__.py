"""Methods: each is a graph transformation, from a model to a program that explains it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from onnxshap.errors import InputError
from onnxshap.graph.model import Model
from onnxshap.methods.deepshap import DeepShap, Rules
from onnxshap.methods.draft import Draft
from onnxshap.methods.gradient import Gradient, InputXGradient
from onnxshap.methods.noise import Random, SmoothGrad
from onnxshap.methods.path import ExpectedGradients, IntegratedGradients
from onnxshap.methods.program import Program
from onnxshap.methods.x_gradient import XGradient

__all__ = [
    "DeepShap",
    "ExpectedGradients",
    "Gradient",
    "InputXGradient",
    "IntegratedGradients",
    "Method",
    "Random",
    "Rules",
    "SmoothGrad",
    "XGradient",
    "build_program",
    "named",
]


class Method(Protocol):
    """What an `Explainer` asks of a method: a name, whether it compares, and a graph."""

    @property
    def name(self) -> str:
        """The name users pass as ``method=``."""

    @property
    def needs_background(self) -> bool:
        """Whether the method compares with references."""

    def build(self, draft: Draft) -> Program:
        """Turn a draft into a program."""


_METHODS: dict[str, Callable[[], Method]] = {
    m.name: m
    for m in (
        DeepShap,
        ExpectedGradients,
        Gradient,
        InputXGradient,
        IntegratedGradients,
        Random,
        SmoothGrad,
        XGradient,
    )
}


def named(method: str | Method, rules: Rules | None = None) -> Method:
    """Return the method object a name stands for; objects are returned as they are.

    ``rules``: of its multipliers, in place of the method's own.
    """
    found = _named(method)
    if rules is None:
        return found
    if isinstance(found, DeepShap):
        return replace(found, rules=rules)
    if DeepShap(rules) == DeepShap():
        return found  # exact is what every method is
    raise InputError(
        f"rules={rules!r}: these are rules for DeepLIFT multipliers, and method {found.name!r} has "
        "none; take method='deepshap', or leave out rules="
    )


def _named(method: str | Method) -> Method:
    if not isinstance(method, str):
        wanted = ("name", "needs_background", "build")
        if isinstance(method, type) or not all(hasattr(method, w) for w in wanted):
            raise InputError(
                f"method {method!r}: give a name ({', '.join(sorted(_METHODS))}) or an object of "
                "onnxshap.methods such as DeepShap()"
            )
        return method
    if method not in _METHODS:
        raise InputError(f"no method {method!r}; there are {', '.join(sorted(_METHODS))}")
    return _METHODS[method]()


def build_program(
    model: Model,
    method: Method,
    *,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    varying: Iterable[str] | None = None,
    separable: bool = True,
) -> Program:
    """Build the explanation graph of ``method`` for ``model``.

    ``varying``: inputs that references are given for; None: every float input.
    """
    draft = Draft(model, output, inputs, varying, separable, method.name)
    if method.needs_background:
        floats = [v for v in draft.model_inputs if v.dtype and v.dtype.is_floating_point()]
        names = [str(v.name) for v in floats] if varying is None else list(varying)
        draft.add_references(names)
    return method.build(draft)
