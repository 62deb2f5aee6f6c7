"""One call of an explainer: chunks of explicands and references, and running means over them."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from onnxshap.assemble import (
    Chunk,
    Running,
    concatenate,
    map_arrays,
    samples_first,
    total,
    weighted,
    without_single_axes,
)
from onnxshap.background import Background
from onnxshap.compiled import Compiled, DeviceValues, Engine, References
from onnxshap.errors import UnknownShapeError
from onnxshap.explanation import Explanation
from onnxshap.inputs import Inputs, release
from onnxshap.methods.program import Program
from onnxshap.runtime.plan import Plan
from onnxshap.runtime.session import DeviceValue
from onnxshap.runtime.workers import Stop
from onnxshap.targets import Target, TargetSpec, expected_targets


@dataclass
class _Group:
    """Some explicands after their forward pass."""

    start: int
    stop: int
    feeds: dict[str, np.ndarray]
    values: DeviceValues | None


@dataclass
class _Part:
    """Results of one run: some references, steps, explicands and targets."""

    rows: range
    steps: range
    group: _Group
    targets: slice
    references: References | None
    """Without their values, which are let go."""
    found: dict[str, dict[str, np.ndarray]]
    """By kind and source, see `Refinement._pairs`."""


class _Once:
    """What several runs need and one of them makes, or fails to make for all of them."""

    def __init__(self, make: Callable[[], References | None]) -> None:
        self._make: Callable[[], References | None] | None = make
        self._lock = threading.Lock()
        self._made: References | None = None
        self._error: Exception | None = None

    def __call__(self) -> References | None:
        with self._lock:
            if self._make is not None:
                make, self._make = self._make, None
                try:
                    self._made = make()
                except Exception as error:
                    self._error = error
            if self._error is not None:
                raise self._error
            return self._made


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
        chunk: int | None = None,
    ) -> None:
        self._engine, self._inputs, self._arrays = engine, inputs, arrays
        self._background, self._spec = background, target
        self._per_reference, self._max_memory = per_reference, max_memory
        self._chunk = chunk
        self.references = 1 if background is None else background.count
        self.stop = Stop()
        self.done = 0

    @property
    def work(self) -> int:
        """Steps to run for one explicand: one for each reference, times those of the method."""
        return self.references * len(self._weights)

    @property
    def _weights(self) -> np.ndarray:
        """Weights of the method's steps; a method that sums over none has one."""
        steps = self._program.steps
        return np.ones(1) if steps is None else steps.weights

    @property
    def _program(self) -> Program:
        return self._engine.program

    @property
    def _compiled(self) -> Compiled:
        return self._engine.compiled

    def blocks(self, count: int) -> list[tuple[int, int]]:
        """Ranges of explicands that are held at once, their results in float64."""
        if not count:
            return [(0, 0)]
        self._confirm(0)
        size = self._plan(count, expected_targets(self._spec)).accumulated
        return [(a, min(a + size, count)) for a in range(0, count, size)]

    def final(
        self, start: int, stop: int, told: Callable[[int], None] = lambda done: None
    ) -> Explanation:
        """Explain explicands over all references; ``told`` hears of every chunk's work."""
        for result in self.refine(start, stop):  # noqa: B007  used after the loop
            told(start * self.work + (stop - start) * self.done)
        return result()

    def refine(self, start: int, stop: int) -> Iterator[Callable[[], Explanation]]:
        """Explain explicands ``start`` to ``stop``, chunk of references by chunk.

        Where the steps of one reference do not fit into memory, some of them at a time. Yields
        what makes the explanation so far: whoever wants only the last makes only that.
        """
        self.done = 0
        if start == stop:
            yield self._empty
            self.done = self.work
            return
        self._confirm(start)
        if self._program.held and stop - start > 1:
            whole = self._one_by_one(start, stop)
            yield lambda: whole
            return
        groups, outputs = self._forward(start, stop)
        target = Target(self._spec, outputs.shape[1:])
        seeds = target.seeds(outputs)
        plan = self._plan(stop - start, len(seeds))
        explained = partial(self._explanation, target, outputs, seeds, (start, stop))
        running, weights = Running(), self._weights
        tasks = self._tasks(plan, groups, seeds.astype(self._program.number))
        for part in self._compiled.workers.ahead(tasks, plan.workers, self.stop):
            if part.group is groups[0] and part.targets.start == part.steps.start == 0:
                chunk = Chunk(self._per_reference, part.references, plan.steps < len(weights))
            here = slice(part.group.start - start, part.group.stop - start)
            chunk.place(part.found, part.targets, here, seeds.shape[:2])
            if part.group is not groups[-1] or part.targets.stop < len(seeds):
                continue
            self.done += len(part.rows) * len(part.steps)
            if part.steps.stop < len(weights):
                share = float(weights[: part.steps.stop].sum())
                yield partial(_so_far, explained, running, chunk, share)
                continue
            for source, mean in chunk.means.items():
                self._require_own_shape(source, mean)
            running.add(chunk)
            yield partial(explained, running)

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
        plan = self._plan(stop - start, expected_targets(self._spec))
        # In a stream there may be more: those are run forward again for each chunk.
        keep = stop - start <= plan.accumulated or not self._compiled.explicand_cut
        groups, outputs = [], []
        for first in range(start, stop, plan.explicands):
            last = min(first + plan.explicands, stop)
            feeds = self._rows(first, last)
            found, values = self._compiled.explicand(self._as_fed(feeds), self.stop)
            self._compiled.require_finite(found, self._as_fed(feeds), "explicand", first, self.stop)
            outputs.append(found)
            groups.append(_Group(first, last, feeds, values if keep else None))
        return groups, np.concatenate(outputs)

    def _confirm(self, row: int) -> None:
        if not self._engine.confirmed:
            self._engine.confirm(self._rows(row, row + 1))

    def _rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        return self._inputs.rows(self._arrays, start, stop, "x")

    def _as_fed(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A model without a batch axis takes the sample itself."""
        if self._program.separable or self._program.batched:
            return feeds
        return {name: array[0] for name, array in feeds.items()}

    def _plan(self, explicands: int, targets: int) -> Plan:
        own = {name: array.shape[1:] for name, array in self._arrays.items()}
        types = {name: spec.dtype for name, spec in self._inputs.specs.items()}
        sources = [s for s in self._program.sources if s in own]
        sizes = [math.prod(own[s]) * types[s].itemsize for s in sources]
        return Plan.of(
            explicands=explicands,
            references=self.references,
            targets=targets,
            steps=len(self._weights),
            pair_bytes=self._compiled.pair_bytes,
            cut_bytes=self._compiled.cut_bytes,
            explicand_bytes=self._compiled.explicand_bytes,
            result_bytes=2 * sum(sizes) or self._compiled.pair_bytes,
            max_memory=self._max_memory,
            device=self._compiled.device,
            processors=self._compiled.workers.count,
            apart=not self._program.separable,
            chunk=self._chunk,
        )

    # --- runs ------------------------------------------------------------------------------------

    def _tasks(
        self, plan: Plan, groups: list[_Group], seeds: np.ndarray
    ) -> Iterator[Callable[[], _Part]]:
        """Backward passes to run: by references, steps and explicands, in this order."""
        count = 1 if self._background is None else self._background.count
        for first in range(0, count, plan.references):
            rows = range(first, min(first + plan.references, count))
            references = _Once(partial(self._reference, plan, groups, rows))
            for begin in range(0, len(self._weights), plan.steps):
                steps = range(begin, min(begin + plan.steps, len(self._weights)))
                for group in groups:
                    own = seeds[:, group.start - groups[0].start : group.stop - groups[0].start]
                    for place in range(0, len(seeds), plan.targets):
                        some = slice(place, min(place + plan.targets, len(seeds)))
                        what = rows, steps, group, some
                        yield partial(self._part, plan, what, references, own[some])

    def _reference(self, plan: Plan, groups: list[_Group], rows: range) -> References | None:
        """Results of the reference pass, from the cache where they are kept."""
        background, compiled, held = self._background, self._compiled, self._program.held
        if background is None:
            return None
        found = None if held else background.kept(compiled, rows.start, rows.stop)
        if found is None:
            feeds = self._inputs.rows(background.arrays, rows.start, rows.stop, "background")
            # A copy: what is kept must not change with the caller's array.
            feeds = {name: array.copy() for name, array in feeds.items()}
            release(background.arrays.values())
            for name in held:
                feeds[name] = np.repeat(groups[0].feeds[name], len(rows), axis=0)
            given, plain = self._as_fed(feeds), plan.plain_kernels and not held
            found = compiled.reference(given, rows, self.stop, plan.threads, plain)
            if found.outputs is not None:
                compiled.require_finite(found.outputs, given, "reference", rows.start, self.stop)
            if rows.stop <= plan.cached_references and not held:
                background.keep(compiled, plan.references, found)
        return found

    def _part(
        self,
        plan: Plan,
        what: tuple[range, range, _Group, slice],
        made: Callable[[], References | None],
        seed: np.ndarray,
    ) -> _Part:
        """Run the backward pass once: of some explicands and targets against some references."""
        rows, steps, group, _ = what
        references, values, own = made(), group.values, self._program.filled.items()
        if values is None:
            feeds = self._as_fed(group.feeds)
            _, values = self._compiled.explicand(feeds, self.stop, plan.threads)
        filled = {name: f.fill(group.feeds, rows, steps) for name, f in own}
        found = self._pairs(values | filled, references, seed, steps, plan.threads)
        return _Part(*what, references and replace(references, values={}), found)

    def _pairs(
        self,
        values: Mapping[str, DeviceValue | np.ndarray],
        references: References | None,
        seed: np.ndarray,
        steps: range,
        threads: int,
    ) -> dict[str, dict[str, np.ndarray]]:
        """Contributions, or their mean and deviation, by kind and source: [K, N, (M,) *x]."""
        program = self._program
        kinds: dict[str, dict[str, str]] = {"contributions": program.contributions}
        if references is not None and program.separable and len(steps) == len(self._weights):
            statistics = {"mean": program.mean, "deviation": program.deviation}
            kinds = statistics | (kinds if self._per_reference else {})
        names = [name for ends in kinds.values() for name in ends.values()]
        reference_values = {} if references is None else references.values
        found = self._compiled.pairs(
            {**values, **reference_values}, self._seed_as_fed(seed), names, self.stop, threads
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
        rows: tuple[int, int],
        running: Running,
    ) -> Explanation:
        (start, stop), means, program = rows, running.means, self._program
        dtype = program.number
        attributions = {s: samples_first(m.mean, dtype) for s, m in means.items()}
        errors = {s: samples_first(m.standard_error, dtype) for s, m in means.items()}
        per_reference = None
        if self._per_reference and self._background is not None:
            joined = {s: np.concatenate([c[s] for c in running.single], axis=2) for s in means}
            per_reference = {s: samples_first(a, dtype) for s, a in joined.items()}
        values = weighted(seeds, outputs[None])
        bases, mean = None, running.base.mean
        if program.base == "zero":
            bases = np.zeros_like(values)
        elif program.base == "references" and mean is not None:
            bases = weighted(seeds, mean[None, None])
        residual = None
        if program.completeness != "none" and program.closed and bases is not None:
            residual = total(attributions) - (values - bases)
        explanation = Explanation(
            attributions=attributions,
            outputs=values,
            targets=target.labels(outputs),
            base_values=bases,
            residual=residual,
            standard_error=None if next(iter(errors.values())) is None else errors,
            per_reference=per_reference,
            data={s: self._arrays[s][start:stop] for s in means if s in self._arrays} or None,
            references=0 if self._background is None else self.done // len(self._weights),
            method=self._engine.method.name,
            complete=self.done == self.work,
            note=program.note,
        )
        return without_single_axes(explanation, target.single)


def _so_far(
    explained: Callable[[Running], Explanation], running: Running, chunk: Chunk, share: float
) -> Explanation:
    """What there is while ``share`` of a chunk's steps are done."""
    return explained(running.with_part(chunk, share))
