"""Means over references inside a one-shot graph: all at once, or chunk by chunk in a Scan.

A method's steps (points on a path, noisy copies) are run in a Scan of their own where they do not
all fit into memory together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.compiled import Compiled
from onnxshap.graph.batch import is_half
from onnxshap.graph.builder import Builder
from onnxshap.graph.constants import embed, initializer
from onnxshap.graph.scan import scan
from onnxshap.methods.draft import over_references
from onnxshap.methods.program import Program
from onnxshap.runtime.plan import DEFAULT_MEMORY, FOLDED, divisor, folds


@dataclass(frozen=True)
class ChunkSizes:
    """How much a one-shot graph runs at a time; None: all at once."""

    references: int | None = None
    """Divides the number of references; the reference side is then run again at every call."""
    steps: int | None = None

    @classmethod
    def of(
        cls, references: int, compiled: Compiled, max_memory: int | None, targets: int = 1
    ) -> "ChunkSizes":
        """Plan for one explicand. ``references``: 0 for methods without."""
        budget, own = max_memory or DEFAULT_MEMORY, compiled.program.steps
        chunk = None
        if references and not folds(references, compiled.cut_bytes, budget):
            one = FOLDED * compiled.cut_bytes + targets * compiled.pair_bytes
            chunk = divisor(references, budget // 4 // max(1, one))
        if own is None:
            return cls(chunk)
        points = max(1, budget // 4 // max(1, targets * compiled.pair_bytes))
        if references > points:
            chunk = divisor(references, min(points, chunk or points))
        fits = max(1, points // (chunk or max(1, references)))
        count = len(own.weights)
        return cls(chunk, None if count <= fits else math.ceil(count / math.ceil(count / fits)))


@dataclass
class Averages:
    """Over the references: mean contributions [K, N, *x], their squared deviations, mean output."""

    means: dict[str, ir.Value]
    squares: dict[str, ir.Value]
    output: ir.Value | None


class Averaging:
    """Turns a program's contributions into averages, within a graph that is being made."""

    def __init__(
        self,
        graph: ir.Graph,
        op: Builder,
        program: Program,
        values: dict[str, ir.Value],
        background: Mapping[str, np.ndarray],
        chunks: ChunkSizes,
        targets: int,
    ) -> None:
        self._graph, self._op, self._program, self._values = graph, op, program, values
        self._background, self._chunks, self._targets = background, chunks, targets
        self._count = len(next(iter(background.values()), ()))
        own = program.filled.items()
        self._along_references = {values[n] for n, f in own if f.along == "references"}

    def run(self) -> Averages:
        """Emit what is missing, embed what the method fills, and return the averages."""
        program, values = self._program, self._values
        filled = {
            values[name]: f.fill({}, range(self._count), range(self._steps))
            for name, f in program.filled.items()
        }
        if self._chunks.steps is None:
            own = program.mean or program.contributions
            ends = {source: values[end] for source, end in own.items()}
            squares = {source: values[end] for source, end in program.deviation.items()}
        else:
            ends, squares = self._summed(filled, self._chunks.steps)
        if self._chunks.references is not None:
            return self._scanned(ends, squares, filled)
        embedded = {values[program.references[n]]: a for n, a in self._background.items()}
        for value, array in (filled | embedded).items():
            embed(self._graph, value, array)
        output = None
        if program.reference_output is not None:
            rows = samples_first(self._op, values[program.reference_output], program)
            output = self._op.ReduceMean(rows, [0], keepdims=0)
        return Averages(ends, squares, output)

    @property
    def _steps(self) -> int:
        return 1 if self._program.steps is None else len(self._program.steps.weights)

    # --- steps -----------------------------------------------------------------------------------

    def _summed(
        self, filled: dict[ir.Value, np.ndarray], chunk: int
    ) -> tuple[dict[str, ir.Value], dict[str, ir.Value]]:
        """Run the steps ``chunk`` at a time; means and squared deviations of their sum."""
        op, program, values = self._op, self._program, self._values
        chunks = {}
        for value in list(filled):
            whole = ir.Value(name=op.fresh(f"{value.name}/chunks"), type=value.type)
            filled[whole] = self._cut(value, filled.pop(value), chunk)
            if value in self._along_references:
                self._along_references.add(whole)
            self._graph.inputs.append(whole)
            chunks[value] = whole
        sources = program.sources
        results = [values[program.contributions[s]] for s in sources]
        states = [self._zeros(source, True) for source in sources]
        names = [str(r.name) for r in results]

        def update(
            body: Builder, before: Sequence[ir.Value], found: Mapping[str, ir.Value]
        ) -> list[ir.Value]:
            return [body.Add(b, found[n]) for b, n in zip(before, names, strict=True)]

        name = op.fresh_scope("steps")
        final = scan(self._graph, chunks, results, states, update, name)
        sums = dict(zip(sources, final, strict=True))
        if not program.mean:
            return sums, {}
        found = {source: over_references(op, total) for source, total in sums.items()}
        return (
            {source: f["mean"] for source, f in found.items()},
            {source: f["deviation"] for source, f in found.items()},
        )

    def _cut(self, value: ir.Value, array: np.ndarray, chunk: int) -> np.ndarray:
        """[S, ...] -> [S / chunk, chunk, ...]; steps that fill the last chunk up weigh nothing."""
        missing = -len(array) % chunk
        steps = self._program.steps
        weighs = steps is not None and value.name == steps.weight_input
        more = np.zeros_like(array[:1]) if weighs else array[-1:]
        padded = np.concatenate([array, np.repeat(more, missing, axis=0)])
        return padded.reshape(-1, chunk, *array.shape[1:])

    # --- references ------------------------------------------------------------------------------

    def _scanned(
        self,
        ends: dict[str, ir.Value],
        squares: dict[str, ir.Value],
        filled: dict[ir.Value, np.ndarray],
    ) -> Averages:
        """References in chunks: running means, combined as in Chan et al. 1979."""
        op, program, values = self._op, self._program, self._values
        chunk = self._chunks.references
        assert chunk is not None
        assert program.reference_output is not None
        dtype = values[program.output].dtype
        chunks = {}
        for name, twin in program.references.items():
            array = self._background[name]
            shape = (len(array) // chunk, chunk, *array.shape[1:])
            values[twin].shape = ir.Shape([chunk, *array.shape[1:]])
            whole = initializer(self._graph, op.fresh(f"{twin}/chunks"), array.reshape(shape))
            chunks[values[twin]] = whole
        for value, array in filled.items():
            if value in self._along_references:  # [..., M] -> [M / m, ..., m]
                parts = np.moveaxis(array.reshape(*array.shape[:-1], -1, chunk), -2, 0)
                name = op.fresh(f"{value.name}/by_reference")
                chunks[value] = initializer(self._graph, name, parts)
            else:
                embed(self._graph, value, array)
        sources = program.sources
        zeros = [self._zeros(source, False) for source in sources]
        sample = op.Expand(op.value(0.0, dtype), list(program.output_sample) or [1])
        if not program.output_sample:
            sample = op.Squeeze(sample, [0])
        states = [op.value(0.0, dtype), sample, *zeros, *zeros]
        output = values[program.reference_output]
        results = [*ends.values(), *squares.values(), output]
        names = {s: (str(ends[s].name), str(squares[s].name)) for s in sources}

        def update(
            body: Builder, before: Sequence[ir.Value], found: Mapping[str, ir.Value]
        ) -> list[ir.Value]:
            count, total_output = before[0], before[1]
            means, deviations = before[2 : 2 + len(sources)], before[2 + len(sources) :]
            rows = samples_first(body, found[str(output.name)], program)
            total = body.Add(count, float(chunk))
            after = [total, body.Add(total_output, body.ReduceSum(rows, [0], keepdims=0))]
            weights = body.Div(float(chunk), total), body.Div(body.Mul(count, float(chunk)), total)
            new = []
            for k, source in enumerate(sources):
                mean, within = (found[n] for n in names[source])
                gap = body.Sub(mean, means[k])
                share, spread = (body.Cast(weight, to=mean.dtype) for weight in weights)
                after.append(body.Add(means[k], body.Mul(gap, share)))
                between = body.Mul(body.Mul(gap, gap), spread)
                new.append(body.Add(deviations[k], body.Add(within, between)))
            return [*after, *new]

        scope = op.fresh_scope("references")
        final = scan(self._graph, chunks, results, states, update, scope)
        middle = 2 + len(sources)
        return Averages(
            dict(zip(sources, final[2:middle], strict=True)),
            dict(zip(sources, final[middle:], strict=True)),
            op.Div(final[1], final[0]),
        )

    # --- constants -------------------------------------------------------------------------------

    def _zeros(self, source: str, each_reference: bool) -> ir.Value:
        """[K, N, *x] of zeros, or [K, N, M, *x] where the method has references."""
        op, axis = self._op, self._program.source_batch[source]
        value, rank = self._values[source], len(self._program.source_sample[source]) + 1
        if axis:
            value = op.Transpose(value, perm=[axis, *(a for a in range(rank) if a != axis)])
        if is_half(value.dtype):
            value = op.Cast(value, to=ir.DataType.FLOAT)
        zeros = op.Mul(op.Unsqueeze(value, [0]), 0.0)
        if not (each_reference and self._program.references):
            return op.Expand(zeros, [self._targets, *[1] * rank])
        reference = self._values[next(iter(self._program.references.values()))]
        count = op.Shape(reference, start=0, end=1)
        sizes = op.Concat([self._targets, 1], count, [1] * (rank - 1), axis=0)
        return op.Expand(op.Unsqueeze(zeros, [2]), sizes)


def samples_first(op: Builder, output: ir.Value, program: Program) -> ir.Value:
    """Bring the output's batch axis to the front."""
    axis = program.output_batch
    if not axis:
        return output
    rank = len(program.output_sample) + 1
    return op.Transpose(output, perm=[axis, *(a for a in range(rank) if a != axis)])
