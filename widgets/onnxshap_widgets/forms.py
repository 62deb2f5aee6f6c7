"""The methods and their parameters, read off their classes, for forms to be made of."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import onnxshap.methods
from onnxshap.methods import Method

_TITLES = {
    "deepshap": "DeepSHAP",
    "input_x_gradient": "Input x Gradient",
    "smoothgrad": "SmoothGrad",
    "x_gradient": "X-Gradient",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method."""

    name: str
    type: type
    default: Any
    doc: str
    """A sentence; may be empty."""
    choices: tuple[str, ...] = ()
    """What it takes, where that is one of a few names."""


@dataclass(frozen=True)
class MethodForm:
    """A method and its parameters."""

    name: str
    title: str
    doc: str
    needs_background: bool
    parameters: tuple[Parameter, ...]
    make: Callable[..., Method] = field(repr=False)
    """Called with parameters by name; raises InputError where one does not fit."""


def methods() -> list[MethodForm]:
    """Every method of `onnxshap.methods`, with the parameters its class declares."""
    classes = [getattr(onnxshap.methods, name) for name in onnxshap.methods.__all__]
    return [
        _form(one)
        for one in classes
        if inspect.isclass(one) and is_dataclass(one) and hasattr(one, "needs_background")
    ]


def _form(method: Any) -> MethodForm:
    text = inspect.cleandoc(method.__doc__ or "")
    summary = " ".join(text.partition("\n\n")[0].split()).replace("``", "")
    types = get_type_hints(method)
    names = {n: get_args(t) if get_origin(t) is Literal else () for n, t in types.items()}
    parameters = [
        Parameter(f.name, type(f.default), f.default, _sentence(text, f.name), names[f.name])
        for f in fields(method)
    ]
    return MethodForm(
        method.name,
        _TITLES.get(method.name, method.name.replace("_", " ").title()),
        summary,
        method.needs_background,
        tuple(parameters),
        method,
    )


def _sentence(text: str, parameter: str) -> str:
    """Return the sentence of a docstring that mentions a parameter."""
    sentences = re.split(r"(?<=[.:;])\s+", " ".join(text.split()))
    found = next((s for s in sentences if f"``{parameter}``" in s), "")
    return (found[:1].upper() + found[1:]).rstrip(":;").replace("``", "")
