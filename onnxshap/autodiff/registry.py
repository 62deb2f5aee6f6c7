"""The rule sets, keyed by (domain, operator, since-version), open to a user's own rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx
import onnx_ir as ir

from onnxshap.graph.normalize import OPSETS

Cotangents = Sequence[ir.Value | None]
RuleFunction = Callable[..., Cotangents]

Form = Literal["elementwise", "paired", "flat"]
"""How a rule sees batches.

elementwise: samples and references are separate axes that broadcast; the engine sums each returned
             cotangent back from the output's shape to the input's.
paired:      the same axes, but the rule returns each cotangent in its input's shape, and asks
             ``ctx.axis`` for the place of the operator's own axes.
flat:        all pairs are one true batch, axes are the operator's own.
"""

Family = Literal[
    "exact-linear", "rescale", "product", "max", "decomposed", "fallback", "blocked", "unsupported"
]

MEANING: dict[Family, str] = {
    "exact-linear": "linear: the multiplier is the gradient",
    "rescale": "output difference over input difference",
    "product": "two-player Shapley value, exact",
    "max": "cross-max, contributions accumulate",
    "decomposed": "split into exact parts",
    "fallback": "least-norm completion: complete by construction",
    "blocked": "no derivative, nothing flows back",
    "unsupported": "no rule",
}
"""What each kind of multiplier is, in the order that reports list them."""


@dataclass(frozen=True)
class Rule:
    """One operator's reverse rule, for all ``since`` versions alike."""

    name: str
    function: RuleFunction
    domain: str
    op_type: str
    since: tuple[int, ...]
    form: Form
    inputs: tuple[int, ...] | None  # the differentiable ones; None: all
    outputs: int | None  # how many leading outputs cotangents may come from; None: all
    family: Family
    linear: Callable[[ir.Node, set[int]], bool] | None = None
    """Whether the operator is linear while only these of its inputs move."""

    @property
    def formula(self) -> str:
        """The first line of the rule's docstring: what a reader of the graph is shown."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


class RuleSet:
    """Rules of one kind: ``vjp`` (gradients) or ``multiplier`` (DeepLIFT).

    A multiplier of a linear operator is its vjp, and of a bilinear one its vjp at the midpoint, so
    a set can name another whose linear and bilinear rules are its own. A set laid over a ``parent``
    holds only what differs; every other rule is the parent's, a user's own included.
    """

    def __init__(
        self, name: str, linear: "RuleSet | None" = None, parent: "RuleSet | None" = None
    ) -> None:
        self.name, self._linear, self._parent = name, linear, parent
        self.kind: str = name if parent is None else parent.kind
        """What flows backward by these rules, and the decorator that users register theirs with."""
        self.rules: dict[tuple[str, str, int], Rule] = {}

    def __call__(
        self,
        op_type: str,
        *,
        since: Sequence[int] | None = None,
        domain: str = "",
        form: Form = "elementwise",
        inputs: Sequence[int] | None = None,
        outputs: int | None = 1,
        family: Family = "rescale",
        linear: Callable[[ir.Node, set[int]], bool] | None = None,
    ) -> Callable[[RuleFunction], RuleFunction]:
        """Register the decorated function as the rule of an operator.

        Parameters
        ----------
        op_type : str
            Operator name, e.g. ``"Tanh"``.
        since : sequence of int, optional
            Since-versions whose definition the rule was written for. By default all that opsets
            18 to 26 know; for operators ONNX does not know, every version.
        domain : str
            ``""`` is ai.onnx.
        form : {"elementwise", "paired", "flat"}
            How the rule sees batches, see `Form`.
        inputs : sequence of int, optional
            The inputs the rule differentiates; by default all.
        outputs : int or None
            How many leading outputs the rule takes a cotangent for; None: every output, each as
            an argument of its own.
        family : str
            How `onnxshap.check` describes the rule.
        linear : function, optional
            ``linear(node, moving)`` says whether the operator is linear, and the rule exact, while
            only its inputs at the places ``moving`` differ between the sides.

        Raises
        ------
        ValueError
            If ``since`` is not a since-version of the operator, or the rule exists already.
        """
        known = since_versions(op_type, domain)
        versions = tuple(since) if since is not None else known
        if known != (0,) and not set(versions) <= set(known):
            raise ValueError(
                f"{domain or 'ai.onnx'}::{op_type} has since-versions {known} in opsets "
                f"{OPSETS[0]} to {OPSETS[-1]}, not {versions}"
            )

        def register(function: RuleFunction) -> RuleFunction:
            taken = None if inputs is None else tuple(inputs)
            self.add(
                Rule(
                    self.name,
                    function,
                    domain,
                    op_type,
                    versions,
                    form,
                    taken,
                    outputs,
                    family,
                    linear,
                )
            )
            return function

        return register

    def add(self, rule: Rule) -> None:
        """Add ``rule``; refuses a second rule for the same operator and version."""
        for version in rule.since:
            key = (rule.domain, rule.op_type, version)
            if key in self.rules:
                raise ValueError(f"a {self.name} rule for {spell(*key)} is registered already")
            self.rules[key] = rule

    def find(self, node: ir.Node, opsets: dict[str, int]) -> Rule | None:
        """Return the rule for ``node`` under the model's opset imports, if there is one."""
        key = (node.domain, node.op_type, since_version(node, opsets))
        found = self.rules.get(key)
        if found is None and self._parent is not None:
            return self._parent.find(node, opsets)
        if found is None and self._linear is not None:
            shared = self._linear.rules.get(key)
            found = shared if shared and shared.family in ("exact-linear", "product") else None
        return found


def since_versions(op_type: str, domain: str = "") -> tuple[int, ...]:
    """Since-versions of an operator that opsets 18 to 26 resolve to; (0,) for unknown operators."""
    if domain not in ("", "ai.onnx") or not onnx.defs.has(op_type, OPSETS[-1], domain):
        return (0,)
    found = {
        onnx.defs.get_schema(op_type, opset, domain).since_version
        for opset in OPSETS
        if onnx.defs.has(op_type, opset, domain)
    }
    return tuple(sorted(found))


def since_version(node: ir.Node, opsets: dict[str, int]) -> int:
    """Since-version of ``node``'s operator definition; 0 where ONNX does not know the operator."""
    opset = opsets.get(node.domain)
    if opset is None or not onnx.defs.has(node.op_type, opset, node.domain):
        return 0
    version: int = onnx.defs.get_schema(node.op_type, opset, node.domain).since_version
    return version


def spell(domain: str, op_type: str, version: int) -> str:
    """Spell an operator the one way messages do: ``ai.onnx@13::Tanh``."""
    return f"{domain or 'ai.onnx'}@{version}::{op_type}"


vjp = RuleSet("vjp")
multiplier = RuleSet("multiplier", linear=vjp)
shap = RuleSet("shap", parent=multiplier)

WITH_ANOTHER = ir.Value(name="with another")
"""What a rule returns for an input whose share it returned with another input's."""

BLOCKED: set[str] = set()
"""ai.onnx operators whose derivative is zero on purpose; see rules/vjp/nondiff.py."""
