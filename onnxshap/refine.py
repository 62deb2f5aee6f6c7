"""One call of an explainer: chunks of explicands and references, and running means over them."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from onnxshap.assemble import (
    Chunk,
    concatenate,
    map_arrays,
    samples_first,
    total,
    weighted,
    without_single_axes,
)
from onnxshap.compiled import Compiled, DeviceValues, References
from onnxshap.errors import UnknownShapeError
from onnxshap.explanation import Explanation
from onnxshap.graph.model import Model
from onnxshap.inputs import Inputs, release
from onnxshap.methods import Method, build_program
from onnxshap.methods.program import Program
from onnxshap.runtime.moments import Moments
from onnxshap.runtime.plan import Plan
from onnxshap.runtime.session import Stop
from onnxshap.targets import Target, TargetSpec


class Background:
    """References, and those results of the reference pass that fit into memory.

    Shared by siblings, which may run in several threads and in chunks of different sizes: what is
    kept is keyed by the rows it is of and the program that made it.
    """

    def __init__(self, arrays: dict[str, np.ndarray], count: int) -> None:
        self.arrays, self.count = arrays, count
        self._kept: dict[tuple[int, int], References] = {}
        self._owner: tuple[Compiled, int] | None = None
        self._lock = threading.Lock()

    def kept(self, compiled: Compiled, start: int, stop: int) -> References | None:
        """Results kept for rows ``start`` to ``stop``, if this program made them."""
        with self._lock:
            mine = self._owner is not None and self._owner[0] is compiled
            return self._kept.get((start, stop)) if mine else None

    def keep(self, compiled: Compiled, chunk: int, found: References, start: int) -> None:
        """Keep results; those of another program or chunk size make room."""
        with self._lock:
            if self._owner is None or self._owner[0] is not compiled or self._owner[1] != chunk:
                self._kept, self._owner = {}, (compiled, chunk)
            self._kept[start, start + found.count] = found


class Engine:
    """What siblings share: the program and its sessions. Rebuilt once at most, if samples mix."""

    def __init__(
        self,
        model: Model,
        method: Method,
        output: str | None,
        inputs: Sequence[str] | None,
        varying: Sequence[str] | None,
        providers: Sequence[str] | None,
        sizes: Mapping[str, int],
    ) -> None:
        self.model, self.method = model, method
        self._output, self._inputs, self._varying = output, inputs, varying
        self._providers, self._sizes = providers, sizes
        self.confirmed = False
        self._lock = threading.Lock()
        self._build(separable=True)

    def _build(self, separable: bool) -> None:
        self.program: Program = build_program(
            self.model,
            self.method,
            output=self._output,
            inputs=self._inputs,
            varying=self._varying,
            separable=separable,
        )
        self.compiled = Compiled(self.program, self._providers, self._sizes)

    def confirm(self, sample: dict[str, np.ndarray]) -> None:
        """Confirm by a run, once, that samples stay separate; shapes alone cannot show it."""
        with self._lock:
            if self.confirmed:
                return
            mixes = self.program.separable and self.compiled.mixes_samples(sample)
            if mixes:
                self._build(separable=False)
            self.confirmed = mixes is not None


@dataclass
class _Group:
    """Some explicands after their forward pass."""

    start: int
    stop: int
    feeds: dict[str, np.ndarray]
    values: DeviceValues | None


def expected_targets(spec: TargetSpec) -> int:
    """How many targets a specification stands for, before an output is there to check it."""
    if isinstance(spec, list):
        return len(spec)
    digits = spec.removeprefix("top") if isinstance(spec, str) else ""
    return int(digits) if digits.isdecimal() else 1


class Refinement:
    """Explains explicands; each step averages over more references than the one before."""

    def __init__(
        self,
        engine: Engine,
        inputs: Inputs,
        arrays: dict[str, np.ndarray],
        background: Background | None,
        target: TargetSpec,
        *,
        per_reference: bool,
        max_memory: int | None,
    ) -> None:
        self._engine, self._inputs, self._arrays = engine, inputs, arrays
        self._background, self._spec = background, target
        self._per_reference, self._max_memory = per_reference, max_memory
        self.references = 1 if background is None else background.count
        self.stop = Stop()
        self.done = 0

    @property
    def _program(self) -> Program:
        return self._engine.program

    @property
    def _compiled(self) -> Compiled:
        return self._engine.compiled

    def blocks(self, count: int) -> list[tuple[int, int]]:
        """Ranges of explicands whose results are held in float64 at once."""
        if not count:
            return [(0, 0)]
        self._engine.confirm(self._rows(0, 1))
        size = self._plan(count, expected_targets(self._spec)).accumulated
        return [(a, min(a + size, count)) for a in range(0, count, size)]

    def final(
        self, start: int, stop: int, told: Callable[[int], None] = lambda done: None
    ) -> Explanation:
        """Explain explicands over all references; ``told`` hears of every chunk's pairs."""
        for result in self.refine(start, stop):  # noqa: B007  used after the loop
            told(start * self.references + (stop - start) * self.done)
        return result()

    def refine(self, start: int, stop: int) -> Iterator[Callable[[], Explanation]]:
        """Explain explicands ``start`` to ``stop``, chunk of references by chunk.

        Yields what makes the explanation so far: whoever wants only the last makes only that.
        """
        self.done = 0
        if start == stop:
            yield self._empty
            self.done = self.references
            return
        self._engine.confirm(self._rows(start, start + 1))
        if self._program.held and stop - start > 1:
            whole = self._one_by_one(start, stop)
            yield lambda: whole
            return
        groups, outputs = self._forward(start, stop)
        target = Target(self._spec, outputs.shape[1:])
        seeds = target.seeds(outputs)
        plan = self._plan(stop - start, len(seeds))
        means = {source: Moments() for source in self._program.sources}
        base, single = Moments(), []
        for references in self._reference_chunks(plan, groups):
            count = references.count if references is not None else 1
            chunk = self._chunk(groups, references, seeds.astype(outputs.dtype), plan, start)
            for source, (mean, squares) in chunk.means.items():
                self._require_own_shape(source, mean)
                means[source].add(count, mean, squares)
            if references is not None and references.outputs is not None:
                rows = references.outputs.astype(np.float64)
                base.add(count, rows.mean(0), np.zeros(rows.shape[1:]))
            single.append(chunk.single)
            self.done += count
            del references, chunk  # before the next ones are made, not after
            yield partial(
                self._explanation, target, outputs, seeds, means, base, single, (start, stop)
            )

    def _one_by_one(self, start: int, stop: int) -> Explanation:
        """Held inputs reach the reference side, which then differs from explicand to explicand."""
        return concatenate([self.final(row, row + 1) for row in range(start, stop)])

    def _empty(self) -> Explanation:
        """No explicands: arrays of the right shape, from the shapes of one made-up sample."""
        names = self._inputs.specs
        sample = {n: np.zeros((1, *(d or 1 for d in s.sample)), s.dtype) for n, s in names.items()}
        some = Refinement(
            self._engine,
            self._inputs,
            sample,
            self._background,
            self._spec,
            per_reference=self._per_reference,
            max_memory=self._max_memory,
        )
        return map_arrays(some.final(0, 1), lambda a: a[:0])

    # --- forward ---------------------------------------------------------------------------------

    def _forward(self, start: int, stop: int) -> tuple[list[_Group], np.ndarray]:
        """Run the model on the explicands, in groups; small results are kept for the pair pass."""
        size = self._plan(stop - start, 1).explicands
        groups, outputs = [], []
        for first in range(start, stop, size):
            last = min(first + size, stop)
            feeds = self._rows(first, last)
            found, values = self._compiled.explicand(self._as_fed(feeds), self.stop)
            self._compiled.require_finite(found, self._as_fed(feeds), "explicand", first)
            outputs.append(found)
            keep = stop - start <= 4 * size
            groups.append(_Group(first, last, feeds, values if keep else None))
        return groups, np.concatenate(outputs)

    def _rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        return self._inputs.rows(self._arrays, start, stop, "x")

    def _as_fed(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A model without a batch axis takes the sample itself."""
        if self._program.separable or self._program.batched:
            return feeds
        return {name: array[0] for name, array in feeds.items()}

    def _plan(self, explicands: int, targets: int) -> Plan:
        rows = self._rows(0, 1)
        sizes = [rows[s].nbytes for s in self._program.sources if s in rows]
        plan = Plan.of(
            explicands=explicands,
            references=self.references,
            targets=targets,
            pair_bytes=self._compiled.pair_bytes,
            cut_bytes=self._compiled.cut_bytes,
            result_bytes=2 * sum(sizes) or self._compiled.pair_bytes,
            max_memory=self._max_memory,
        )
        if self._program.separable:
            return plan
        return replace(plan, explicands=1, references=1, targets=1)

    # --- references ------------------------------------------------------------------------------

    def _reference_chunks(self, plan: Plan, groups: list[_Group]) -> Iterator[References | None]:
        """Results of the reference pass, chunk by chunk, from the cache where they are kept."""
        background, compiled = self._background, self._compiled
        if background is None:
            yield None
            return
        held = self._program.held
        for start in range(0, background.count, plan.references):
            stop = min(start + plan.references, background.count)
            found = None if held else background.kept(compiled, start, stop)
            if found is None:
                rows = self._inputs.rows(background.arrays, start, stop, "background")
                # A copy: what is kept must not change with the caller's array.
                rows = {name: array.copy() for name, array in rows.items()}
                release(background.arrays.values())
                for name in held:
                    rows[name] = np.repeat(groups[0].feeds[name], stop - start, axis=0)
                found = compiled.reference(self._as_fed(rows), stop - start, self.stop)
                if found.outputs is not None:
                    compiled.require_finite(found.outputs, self._as_fed(rows), "reference", start)
                if stop <= plan.cached_references and not held:
                    background.keep(compiled, plan.references, found, start)
            yield found

    # --- pairs -----------------------------------------------------------------------------------

    def _chunk(
        self,
        groups: list[_Group],
        references: References | None,
        seeds: np.ndarray,
        plan: Plan,
        start: int,
    ) -> "Chunk":
        """Run the backward pass of all explicands and targets against some references."""
        chunk = Chunk(self._per_reference, references is not None)
        for group in groups:
            values = group.values
            if values is None:
                _, values = self._compiled.explicand(self._as_fed(group.feeds), self.stop)
            here = slice(group.start - start, group.stop - start)
            for first in range(0, len(seeds), plan.targets):
                some = slice(first, min(first + plan.targets, len(seeds)))
                found = self._pairs(values, references, seeds[some, here])
                chunk.place(found, some, here, seeds.shape[:2])
        return chunk

    def _pairs(
        self, values: DeviceValues, references: References | None, seed: np.ndarray
    ) -> dict[str, dict[str, np.ndarray]]:
        """Contributions, or their mean and deviation, by kind and source: [K, N, (M,) *x]."""
        program = self._program
        kinds: dict[str, dict[str, str]] = {"contributions": program.contributions}
        if references is not None and program.separable:
            statistics = {"mean": program.mean, "deviation": program.deviation}
            kinds = statistics | (kinds if self._per_reference else {})
        names = [name for ends in kinds.values() for name in ends.values()]
        reference_values = {} if references is None else references.values
        found = self._compiled.pairs(
            values, reference_values, self._seed_as_fed(seed), names, self.stop
        )
        return {
            kind: {source: self._leading(found[name], source) for source, name in ends.items()}
            for kind, ends in kinds.items()
        }

    def _seed_as_fed(self, seed: np.ndarray) -> np.ndarray:
        """Without lead axes the seed has the shape of the model's own output."""
        if self._program.separable:
            return np.ascontiguousarray(seed)
        own = seed[0, 0]
        axis = self._program.output_batch
        return own if axis is None or not self._program.batched else np.expand_dims(own, axis)

    def _leading(self, array: np.ndarray, source: str) -> np.ndarray:
        if self._program.separable:
            return array
        axis = self._program.source_batch[source]
        own = array if axis is None or not self._program.batched else np.squeeze(array, axis)
        lead = (1, 1) if self._background is None else (1, 1, 1)
        return own.reshape(*lead, *own.shape)

    def _require_own_shape(self, source: str, mean: np.ndarray) -> None:
        """Broadcasting along sizes known only now would have given another shape."""
        given = self._arrays.get(source)
        if given is not None and mean.shape[2:] != given.shape[1:]:
            raise UnknownShapeError(
                f'input "{source}" has samples of shape {list(given.shape[1:])}, but broadcasts '
                f"to {list(mean.shape[2:])} inside the model along sizes the file does not tell. "
                "Fix these sizes in the model's inputs."
            )

    # --- results ---------------------------------------------------------------------------------

    def _explanation(
        self,
        target: Target,
        outputs: np.ndarray,
        seeds: np.ndarray,
        means: dict[str, Moments],
        base: Moments,
        single: list[dict[str, np.ndarray]],
        rows: tuple[int, int],
    ) -> Explanation:
        start, stop = rows
        dtype = outputs.dtype
        attributions = {s: samples_first(m.mean, dtype) for s, m in means.items()}
        errors = {s: samples_first(m.standard_error, dtype) for s, m in means.items()}
        per_reference = None
        if self._per_reference and self._background is not None:
            joined = {s: np.concatenate([c[s] for c in single], axis=2) for s in means}
            per_reference = {s: samples_first(a, dtype) for s, a in joined.items()}
        values = weighted(seeds, outputs[None])
        bases = None if base.mean is None else weighted(seeds, base.mean[None, None])
        residual = None
        if self._engine.method.complete and self._program.closed and bases is not None:
            residual = total(attributions) - (values - bases)
        partial = Explanation(
            attributions=attributions,
            outputs=values,
            targets=target.labels(outputs),
            base_values=bases,
            residual=residual,
            standard_error=None if next(iter(errors.values())) is None else errors,
            per_reference=per_reference,
            data={s: self._arrays[s][start:stop] for s in means if s in self._arrays} or None,
            references=0 if self._background is None else self.done,
            method=self._engine.method.name,
            complete=self.done == self.references,
        )
        return without_single_axes(partial, target.single)
