"""The rule of every operator: degrees of its inputs in, degrees of its outputs out."""

from collections.abc import Callable

from onnxshap.homogeneity.context import Context
from onnxshap.homogeneity.degrees import Degree

RuleFunction = Callable[[Context], Degree | list[Degree]]
"""Returns one degree for all outputs, or one for each; raises `Offence` where there is none."""

RULES: dict[str, RuleFunction] = {}
"""By operator of ai.onnx. All since-versions that opsets 18 to 26 know share one rule."""


def rule(*op_types: str) -> Callable[[RuleFunction], RuleFunction]:
    """Register the decorated function for one or more operators; refuses a second rule."""

    def register(function: RuleFunction) -> RuleFunction:
        for op_type in op_types:
            if op_type in RULES:
                raise ValueError(f"a homogeneity rule for {op_type} is registered already")
            RULES[op_type] = function
        return function

    return register
