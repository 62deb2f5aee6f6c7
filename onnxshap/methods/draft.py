"""A program in the making: the model's graph, the ends that were asked for, and a builder."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

import onnxshap.autodiff.rules.multiplier
import onnxshap.autodiff.rules.shap
import onnxshap.autodiff.rules.vjp  # noqa: F401  registers the rules
from onnxshap.autodiff.engine import Walk
from onnxshap.autodiff.lift import Lead, Lift
from onnxshap.autodiff.registry import RuleSet
from onnxshap.errors import InputError, UnknownShapeError
from onnxshap.graph.batch import Layouts, analyse, batched_inputs, is_half
from onnxshap.graph.builder import Builder
from onnxshap.graph.dependence import (
    ancestors,
    carries_numbers,
    cut_every_path,
    node_inputs,
    reachable,
    rebound,
)
from onnxshap.graph.lower import lower
from onnxshap.graph.model import Model
from onnxshap.methods.program import Completeness, Fill, Filled, Precision, Program, Steps

_COARSE_FIRST: list[tuple[ir.DataType, Precision]] = [
    (ir.DataType.BFLOAT16, "bfloat16"),
    (ir.DataType.FLOAT16, "float16"),
    (ir.DataType.FLOAT, "float32"),
    (ir.DataType.DOUBLE, "float64"),
]


class Draft:
    """A program in the making: the model's graph, the ends that were asked for, a builder."""

    def __init__(
        self,
        model: Model,
        output: str | None,
        inputs: Sequence[str] | None,
        referenced: Iterable[str] | None = None,
        separable: bool = True,
        method: str = "",
    ) -> None:
        self.method = method
        self.model = model.normalised.clone()
        graph = self.graph = self.model.graph
        self.model_inputs = list(graph.inputs)
        by_name = {v.name: v for v in graph.inputs}
        by_name |= {o.name: o for node in graph for o in node.outputs}
        self.target = self._named(by_name, output, "output") if output else graph.outputs[0]
        floats = [v for v in graph.inputs if v.dtype is not None and v.dtype.is_floating_point()]
        if referenced is not None and inputs is None:
            known = set(referenced)
            floats = [v for v in floats if v.name in known]
        self.sources = (
            [self._named(by_name, name, "input") for name in inputs] if inputs else floats
        )
        if not self.sources:
            raise InputError("the model has no float input to explain; name one with inputs=")
        lowered = lower(graph, self.sources, self.target)
        self.sources = [lowered.get(v, v) for v in self.sources]
        self.target = lowered.get(self.target, self.target)
        layouts = analyse(graph, list(graph.inputs), separable, self.target, self.sources)
        self._require_float_target()
        self.output_batch = layouts.batch_axis(self.target)
        self.batched = bool(batched_inputs(graph))
        self.layouts: Layouts = layouts
        between = reachable(graph, self.sources) & ancestors(graph, [self.target])
        types = {v.dtype for v in between}
        self.precision: Precision = next((p for t, p in _COARSE_FIRST if t in types), "float32")
        # The runtime infers inner shapes better than a file declares them: a declared batch name
        # would tie explicands to references.
        for node in graph:
            node.metadata_props["onnxshap.side"] = "forward"
            for value in node.outputs:
                value.shape = value.shape if value.is_graph_output() else None
        self.op = Builder(graph)
        self.references: dict[ir.Value, ir.Value] = {}
        self.counterparts: dict[ir.Value, ir.Value] = {}
        self.seed = self._add_input("seed", self.number, self._seed_dims())
        self._filled: dict[str, Filled] = {}
        self._steps: Steps | None = None
        self._rules_hash = ""

    def _require_float_target(self) -> None:
        dtype = self.target.dtype
        if dtype is not None and not dtype.is_floating_point():
            floats = [o for o in self.graph.outputs if o.dtype and o.dtype.is_floating_point()]
            listed = ", ".join(str(o.name) for o in floats) or "none of the model's outputs"
            raise InputError(
                f'output "{self.target.name}" is {dtype.name}, which has no derivative; name a '
                f"float value with output= (float outputs: {listed})"
            )

    def _named(self, by_name: dict[str | None, ir.Value], name: str, what: str) -> ir.Value:
        if name not in by_name:
            close = ", ".join(str(v.name) for v in [*self.graph.inputs, *self.graph.outputs])
            raise InputError(
                f'the model has no value "{name}" to take as {what}. Its inputs and outputs are '
                f"{close}; inner values go by the names they have in the file."
            )
        return by_name[name]

    def _seed_dims(self) -> list[int | str | None]:
        """[K, batch, *output], or one output's shape: sizes a second derivative needs."""
        layout = self.layouts[self.target]
        if layout.batch is None:
            return list(layout.dims)
        shape = batched_inputs(self.graph)[0].shape
        assert shape is not None
        batch = shape[0]
        assert isinstance(batch, ir.SymbolicDim)
        return ["targets", batch.value, *self.sample_dims(self.target)]

    def _add_input(
        self, name: str, dtype: ir.DataType, dims: Sequence[int | str | None]
    ) -> ir.Value:
        value = ir.Value(
            name=self.op.fresh(name), type=ir.TensorType(dtype), shape=ir.Shape(list(dims))
        )
        self.graph.inputs.append(value)
        return value

    def add_filled(
        self,
        name: str,
        dtype: ir.DataType,
        dims: Sequence[int | str | None],
        fill: Fill,
        along: Literal["explicands", "references"] | None = None,
    ) -> ir.Value:
        """Append an input ``[steps, *dims]`` that the method fills itself."""
        value = self._add_input(name, dtype, ["steps", *dims])

        def cast(*rows: Any) -> np.ndarray:
            return np.ascontiguousarray(fill(*rows), dtype.numpy())

        self._filled[str(value.name)] = Filled(cast, along)
        return value

    @property
    def number(self) -> ir.DataType:
        """Type of the numbers a method feeds: float64 in float64 models, else float32."""
        return self.layouts[self.target].number

    def add_steps(self, weights: np.ndarray) -> ir.Value:
        """Append the input [S] for the weights of the steps; the explanation sums over them."""

        def fill(_: object, __: range, steps: range) -> np.ndarray:
            return weights[steps.start : steps.stop]

        value = self.add_filled("weight", self.number, [], fill)
        self._steps = Steps(weights, str(value.name))
        return value

    def add_references(self, varying: Iterable[str]) -> None:
        """Append the reference side: a copy of every node that depends on a batched input.

        ``varying``: names of inputs whose references differ from the explicands. The others are
        held: fed the explicand's own value, so rules need not tell their sides apart.
        """
        graph, batched = self.graph, set(batched_inputs(self.graph) or self.model_inputs)
        varies = set(varying)
        copied = [v for v in self.model_inputs if v in batched or v.name in varies]
        for value in copied:
            twin = ir.Value(name=self.op.fresh(f"{value.name}/reference"), type=value.type)
            twin.shape = self._shape(value, ["references"])
            graph.inputs.append(twin)
            self.counterparts[value] = twin
        # Sizes agree on both sides.
        differs = reachable(graph, [v for v in copied if v.name in varies], carries_numbers)
        self.copy(self.counterparts, "reference")
        self.references = {v: t for v, t in self.counterparts.items() if v in differs}

    def copy(self, copies: dict[ir.Value, ir.Value], side: str) -> None:
        """Run the model once more: copy every node that the target needs of a copied value.

        ``copies``: what is copied already, by original; the outputs of the copied nodes join it.
        ``side``: named in the copies' names and metadata.
        """
        needed = ancestors(self.graph, [self.target])
        for node in list(self.graph):
            own = node.metadata_props.get("onnxshap.side") == "forward"
            if not own or not any(o in needed and o not in copies for o in node.outputs):
                continue
            if any(v in copies for v in node_inputs(node)):
                self._copy_node(node, copies, side)

    def _copy_node(self, node: ir.Node, copies: dict[ir.Value, ir.Value], side: str) -> None:
        twin = ir.Node(
            node.domain,
            node.op_type,
            [copies.get(v, v) if v is not None else None for v in node.inputs],
            [rebound(a, copies) for a in node.attributes.values()],
            num_outputs=len(node.outputs),
            name=f"{side}/{node.name}",
            metadata_props={"onnxshap.side": side, "onnxshap.of": node.name or ""},
        )
        for output, copy in zip(node.outputs, twin.outputs, strict=True):
            copy.name = self.op.fresh(f"{output.name}/{side}") if output.name else ""
            copy.type = output.type
            self.layouts.alias(copy, output)
            copies.setdefault(output, copy)
        self.graph.append(twin)

    def walk(self, rules: RuleSet) -> dict[ir.Value, ir.Value]:
        """Differentiate: cotangent or multiplier of every source, in pair form."""
        return self.differentiate(
            rules, self.lift, self.sources, self.target, self.seed, self.references
        )

    def differentiate(
        self,
        rules: RuleSet,
        lift: Lift,
        sources: list[ir.Value],
        target: ir.Value,
        seed: ir.Value,
        references: dict[ir.Value, ir.Value],
    ) -> dict[ir.Value, ir.Value]:
        """Propagate ``seed`` [K, batch, *output] from ``target`` to ``sources``, over ``lift``."""
        walk = Walk(
            self.graph,
            dict(self.graph.opset_imports),
            rules,
            lift,
            sources,
            target,
            references,
        )
        with self.op.scope("seed", side="seed"):
            lifted = self._lifted_seed(seed, lift)
        self._rules_hash = walk.rules_hash()
        return walk.run(lifted)

    @cached_property
    def lift(self) -> Lift:
        """The axes contributions run over: targets x explicands x references."""
        sizes: dict[Lead, ir.Value] = {}
        if self.layouts.separable:
            with self.op.scope("batch", side="seed"):
                sizes["targets"] = self.op.Shape(self.seed, start=0, end=1)
                sizes["explicands"] = self.op.Shape(self.seed, start=1, end=2)
                if self.counterparts:
                    reference = self.counterparts[batched_inputs(self.graph)[0]]
                    sizes["references"] = self.op.Shape(reference, start=0, end=1)
        return Lift(self.op, self.layouts, sizes)

    def _lifted_seed(self, seed: ir.Value, lift: Lift) -> ir.Value:
        """[K, batch, *output] -> pair form: lead axes in place of the output's batch axis."""
        layout = self.layouts[self.target]
        if layout.batch is None:
            return seed
        before = layout.batch
        if before:
            rank = len(layout.dims) + 1
            order = [*range(2, 2 + before), 0, 1, *range(2 + before, rank)]
            seed = self.op.Transpose(seed, perm=order)
        return self.op.Unsqueeze(seed, [before + 2]) if "references" in lift.sizes else seed

    def delta(self, source: ir.Value) -> ir.Value:
        """Explicand minus reference of a source, in pair form."""
        layout = self.layouts[source]
        x = self.lift.pair(source, layout, "explicand", layout)
        r = self.lift.pair(self.counterparts[source], layout, "reference", layout)
        return self.op.Sub(x, r)

    def finish(
        self,
        contributions: dict[ir.Value, ir.Value],
        completeness: Completeness = "none",
        base: Literal["references", "zero"] | None = None,
        note: str = "",
    ) -> Program:
        """Name the outputs, add the statistics over references, and seal the graph.

        ``completeness``, ``base``, ``note``: as in `Program`.
        """
        op, separable = self.op, self.layouts.separable
        ends: dict[str, dict[str, str]] = {"contributions": {}, "mean": {}, "deviation": {}}
        output = self._readable(self.target, "explicands")
        reference_output = self.counterparts.get(self.target)
        if reference_output is not None:
            reference_output = self._readable(reference_output, "references")
        outputs = [v for v in (output, reference_output) if v is not None]
        with op.scope("attribution", side="backward"):
            for source in self.sources:
                value = self._contribution(source, contributions)
                found = {"contributions": value}
                if separable and self.counterparts:
                    found |= over_references(op, value)
                for kind, end in found.items():
                    named = op.Identity(end)
                    named.name = self.op.fresh(f"{source.name}/{kind}")
                    named.shape = self._outcome_shape(source, kind)
                    ends[kind][str(source.name)] = str(named.name)
                    outputs.append(named)
        self.graph.outputs.clear()
        self.graph.outputs.extend(dict.fromkeys(outputs))
        twins = {
            str(v.name): str(t.name) for v, t in self.counterparts.items() if v in self.model_inputs
        }
        held = [n for n in twins if not any(v.name == n for v in self.references)]
        return Program(
            model=self.model,
            inputs=[str(v.name) for v in self.model_inputs],
            references=twins,
            held=held,
            seed=str(self.seed.name),
            output=str(output.name),
            reference_output=None if reference_output is None else str(reference_output.name),
            sources=[str(v.name) for v in self.sources],
            contributions=ends["contributions"],
            mean=ends["mean"],
            deviation=ends["deviation"],
            separable=separable,
            batched=self.batched,
            output_batch=self.output_batch,
            source_batch={str(v.name): self.layouts.batch_axis(v) for v in self.sources},
            output_sample=tuple(d or 0 for d in self.sample_dims(self.target)),
            source_sample={str(v.name): self.sample_dims(v) for v in self.sources},
            number=self.number.numpy(),
            precision=self.precision,
            method=self.method,
            rules_hash=self._rules_hash,
            closed=self.closed if base != "zero" else not self.overlapping,
            mixing=self.layouts.mixing,
            base=base or ("references" if self.counterparts else None),
            completeness=completeness,
            note=note,
            steps=self._steps,
            filled=self._filled,
        )

    def _readable(self, value: ir.Value, lead: str) -> ir.Value:
        """Return one side's target, float32 where it is narrower; ``lead``: its batch axis."""
        if is_half(value.dtype):
            with self.op.scope("output", side="seed"):
                wide = self.op.Cast(value, to=self.number)
            wide.name = self.op.fresh(f"{value.name}/float32")
            value = wide
        if lead == "references" or value.shape is None:
            value.shape = self._shape(self.target, [lead])
        return value

    @property
    def overlapping(self) -> bool:
        """Whether one source feeds another: what is credited to both is credited twice."""
        return not cut_every_path(self.graph, [], self.sources, self.target)

    @property
    def closed(self) -> bool:
        """Whether every path from an input that varies to the target runs through a source."""
        varying = [v for v in self.model_inputs if v in self.references or not self.references]
        return cut_every_path(self.graph, varying, self.sources, self.target)

    def sample_shape(
        self, value: ir.Value, explicands: Mapping[str, np.ndarray]
    ) -> tuple[int, ...]:
        """Shape of one sample of a value, read from what is fed where the file leaves it free.

        Raises
        ------
        UnknownShapeError
            If the value is no input of the model and its sizes are not known.
        """
        if value.name in explicands:
            return explicands[str(value.name)].shape[1:]
        dims = self.sample_dims(value)
        if None in dims:
            raise UnknownShapeError(
                f'method {self.method!r} draws noise shaped like "{value.name}", whose sizes '
                f"{list(dims)} are not all known. Fix the sizes of the model's inputs."
            )
        return tuple(d for d in dims if d is not None)

    def sample_dims(self, value: ir.Value) -> tuple[int | None, ...]:
        """Shape of one sample of a value; None where the file leaves a size free."""
        dims, batch = self.layouts[value].dims, self.layouts.batch_axis(value)
        return tuple(d for k, d in enumerate(dims) if k != batch)

    def _outcome_shape(self, source: ir.Value, kind: str) -> ir.Shape:
        lead = ["targets", "explicands"]
        if kind == "contributions" and "references" in self.lift.sizes:
            lead.append("references")
        layout = self.layouts[source]
        if layout.batch is None:
            return ir.Shape(layout.dims)
        return ir.Shape([*lead, *(d for k, d in enumerate(layout.dims) if k != layout.batch)])

    def _shape(self, value: ir.Value, lead: list[str]) -> ir.Shape:
        """Declared shape of a value whose batch axis is called ``lead``."""
        layout = self.layouts[value]
        dims: list[str | int | None] = []
        for k, dim in enumerate(layout.dims):
            dims += lead if k == layout.batch else [dim]
        return ir.Shape(dims)

    def _contribution(self, source: ir.Value, found: dict[ir.Value, ir.Value]) -> ir.Value:
        """Contributions with the lead axes in front; zeros where the target does not depend."""
        layout = self.layouts[source]
        value = found.get(source)
        if value is None:
            zeros = self.op.Mul(self.lift.wide(source), 0.0)
            value = self.lift.pair(zeros, layout, "explicand", layout)
            value = self.lift.spread(value, layout)
        if layout.batch:
            extra = len(self.lift.sizes)
            lead = list(range(layout.batch, layout.batch + extra))
            rest = [a for a in range(len(layout.dims) + self.lift.extra) if a not in lead]
            value = self.op.Transpose(value, perm=[*lead, *rest])
        return value


def over_references(op: Builder, contributions: ir.Value) -> dict[str, ir.Value]:
    """Mean over references of [K, N, M, *x], and the sum of squared deviations from it."""
    mean = op.ReduceMean(contributions, [2], keepdims=1)
    gap = op.Sub(contributions, mean)
    squares = op.ReduceSum(op.Mul(gap, gap), [2], keepdims=0)
    return {"mean": op.Squeeze(mean, [2]), "deviation": squares}
