"""Put the file together: target, averages over references, residual, names and notes.

The reference side stays in the graph; where references are embedded, the runtime's constant folding
computes and keeps their activations once, when it loads the file.
"""

import hashlib
from typing import Literal

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxshap.errors import InputError
from onnxshap.graph.builder import Builder
from onnxshap.graph.model import Model
from onnxshap.methods.program import Program
from onnxshap.oneshot.averages import Averages, Averaging, ChunkSizes, samples_first
from onnxshap.targets import Target, TargetSpec

BackgroundAs = Literal["embed", "input"]


def one_shot(
    model: Model,
    program: Program,
    target: TargetSpec,
    background: dict[str, np.ndarray],
    background_as: BackgroundAs,
    chunks: ChunkSizes,
) -> Model:
    """Turn a program into a graph that needs nothing but a runtime.

    It keeps the model's inputs and outputs and adds, float32 unless said: ``<input>/attribution``
    [N, *x] or [N, K, *x], ``base_value``, ``residual`` [N] or [N, K], ``standard_error`` like the
    attribution, and ``target``, int64 class indices counted from the front. Where references are
    an input and only one is fed, ``standard_error`` is NaN: undefined, as 0 would claim certainty.

    ``chunks``: what is run in a Scan, and how much at a time: embedded references, instead of
    letting the runtime fold and keep the whole reference side at load, and a method's steps.

    Raises
    ------
    InputError
        If the model mixes samples, an input is held at the explicand's value, the output's size
        is not known, or the method draws numbers for each explicand, or for references not known.
    """
    drawn = {filled.along for filled in program.filled.values()}
    if "explicands" in drawn:
        raise InputError(
            f"method {program.method!r} draws new numbers for each explicand; a file has none to "
            "draw. Export another method."
        )
    if "references" in drawn and background_as == "input":
        raise InputError(
            f"method {program.method!r} draws a point for each reference, so a file must hold "
            'them: use background="embed"'
        )
    if not program.separable:
        raise InputError(
            f"this model cannot be exported with its explanation: {program.mixing}, so explicands "
            "and references would have to be run one pair at a time"
        )
    if program.held:
        inputs = ", ".join(program.held)
        remedy = (
            f"method {program.method!r} cannot move them; export another method"
            if program.steps is not None and _whole(program)
            else "give references for them too"
        )
        raise InputError(
            f"export: the input(s) {inputs} are held at the explicand's value, which a file cannot "
            f"know beforehand; {remedy}"
        )
    if 0 in program.output_sample:  # 0 stands for unknown
        shown = ", ".join(str(d or "?") for d in program.output_sample)
        raise InputError(
            f'export: the size of output "{program.output}" must be known; one sample\'s output is '
            f"[{shown}]. Declare the input's sizes in the model, or its output's."
        )
    return _OneShot(model, program, target, background, background_as, chunks).build()


def _whole(program: Program) -> bool:
    """Whether a held input is of whole numbers."""
    held = [v for v in program.model.graph.inputs if v.name in program.held]
    return any(v.dtype is not None and not v.dtype.is_floating_point() for v in held)


class _OneShot:
    def __init__(
        self,
        model: Model,
        program: Program,
        target: TargetSpec,
        background: dict[str, np.ndarray],
        background_as: BackgroundAs,
        chunks: ChunkSizes,
    ) -> None:
        self._model, self._program, self._chunks = model, program, chunks
        self._background, self._background_as = background, background_as
        self._ir = program.model.clone()
        self._graph = self._ir.graph
        self._op = Builder(self._graph, "explanation/")
        inner = [o for n in self._graph for o in n.outputs]
        values = [*self._graph.inputs, *self._graph.initializers.values(), *inner]
        self._values = {str(v.name): v for v in values}
        self._target = Target(target, program.output_sample)

    def build(self) -> Model:
        op, program = self._op, self._program
        with op.scope("target", side="seed"):
            samples = samples_first(op, self._values[program.output], program)
            indices, seed = self._seed(samples)
        self._replace_seed(seed)
        extra: dict[str, ir.Value] = {}
        with op.scope("explanation", side="backward"):
            averages = self._averages()
            for source, mean in averages.means.items():
                extra[f"{source}/attribution"] = self._by_sample(mean, source)
            extra |= self._balance(averages, seed, samples)
            extra |= self._standard_errors(averages)
            if indices is not None:
                extra["target"] = indices
        self._seal(extra)
        return Model(ir.serde.serialize_model(self._ir), self._model.folder)

    def _averages(self) -> Averages:
        return Averaging(
            self._graph,
            self._op,
            self._program,
            self._values,
            self._background,
            self._chunks,
            self._target.count,
        ).run()

    def _balance(
        self, averages: Averages, seed: ir.Value, samples: ir.Value
    ) -> dict[str, ir.Value]:
        """Base value, and the residual where the method promises completeness."""
        op, program = self._op, self._program
        if program.base is None:
            return {}
        value = self._sum(op.Mul(seed, samples), 2)
        base = op.Mul(value, 0.0)
        if averages.output is not None:
            base = self._sum(op.Mul(seed, averages.output), 2)
        found = {"base_value": self._lead_by_sample(base)}
        if program.closed and program.completeness != "none":
            sums = [self._sum(mean, 2) for mean in averages.means.values()]
            total = op.Cast(op.Sum(*sums), to=value.dtype)
            found["residual"] = self._lead_by_sample(op.Sub(total, op.Sub(value, base)))
        return found

    # --- target ----------------------------------------------------------------------------------

    def _seed(self, samples: ir.Value) -> tuple[ir.Value | None, ir.Value]:
        """Class indices [N] or [N, K], and weights [K, N, *output]."""
        op, target, shape = self._op, self._target, self._target.shape
        count = op.Shape(samples, start=0, end=1)
        assert samples.dtype is not None
        if isinstance(target.spec, str):
            classes = int(np.prod(shape))
            flat = op.Reshape(samples, [-1, classes])
            _, indices = op.several("TopK", flat, [target.top], outputs=2, axis=1)
            ends = np.array([0, 1], samples.dtype.numpy())
            hot = op.OneHot(indices, np.array(classes, np.int64), ends, axis=-1)
            seed = op.Transpose(hot, perm=[1, 0, 2])
            if len(shape) != 1:
                sizes = op.Concat([target.top], count, [*shape], axis=0) if shape else None
                seed = op.Squeeze(seed, [2]) if sizes is None else op.Reshape(seed, sizes)
            return (op.Squeeze(indices, [1]) if target.single else indices), seed
        weights = target.fixed.astype(samples.dtype.numpy())[:, None]
        sizes = op.Concat([1], count, [1] * len(shape), axis=0)
        seed = op.Expand(weights, sizes)
        labels = target.labels(np.zeros((1, *shape)))
        if labels.dtype.kind != "i":
            return None, seed
        row = labels[:, 0] if target.single else labels
        spread = op.Concat(count, [1] * (row.ndim - 1), axis=0) if row.ndim > 1 else count
        return op.Expand(row, spread), seed

    def _replace_seed(self, seed: ir.Value) -> None:
        old = self._values[self._program.seed]
        old.replace_all_uses_with(seed)
        self._graph.inputs.remove(old)

    # --- results ---------------------------------------------------------------------------------

    def _sum(self, value: ir.Value, lead: int) -> ir.Value:
        """Sum over all but the first ``lead`` axes."""
        flat = self._op.Reshape(value, [0] * lead + [-1])
        return self._op.ReduceSum(flat, [lead], keepdims=0)

    def _by_sample(self, value: ir.Value, source: str) -> ir.Value:
        """[K, N, *x] -> [N, K, *x], or [N, *x] for a single target."""
        if self._target.single:
            return self._op.Squeeze(value, [0])
        rank = len(self._program.source_sample[source]) + 2
        return self._op.Transpose(value, perm=[1, 0, *range(2, rank)])

    def _lead_by_sample(self, value: ir.Value) -> ir.Value:
        """[K, N] -> [N, K], or [N] for a single target."""
        if self._target.single:
            return self._op.Squeeze(value, [0])
        return self._op.Transpose(value, perm=[1, 0])

    def _standard_errors(self, averages: Averages) -> dict[str, ir.Value]:
        op, program = self._op, self._program
        if not averages.squares:
            return {}
        embedded = len(next(iter(self._background.values()), ()))
        if self._background_as == "embed" and embedded < 2:
            return {}
        if self._background_as == "embed":
            freedom: ir.Value | float = float(embedded * (embedded - 1))
        else:
            reference = self._values[next(iter(program.references.values()))]
            dtype = next(iter(averages.squares.values())).dtype
            count = op.Cast(op.Shape(reference, start=0, end=1), to=dtype)
            freedom = op.Mul(count, op.Sub(count, 1.0))
        errors = {}
        for source, squares in averages.squares.items():
            error = op.Sqrt(op.Div(squares, freedom))
            name = "standard_error" if len(program.sources) == 1 else f"{source}/standard_error"
            errors[name] = self._by_sample(error, source)
        return errors

    # --- the file --------------------------------------------------------------------------------

    def _seal(self, extra: dict[str, ir.Value]) -> None:
        graph, program = self._graph, self._program
        outputs = [self._values[str(o.name)] for o in self._model.normalised.graph.outputs]
        taken = set(self._values)
        for name, value in extra.items():
            if name in taken:
                raise InputError(f'the model has a value named "{name}" already; rename it')
            with self._op.scope("explanation", side="backward"):
                end = self._op.Identity(value)
            end.name = name
            end.shape = ir.Shape(self._declared(name))
            outputs.append(end)
        graph.outputs.clear()
        graph.outputs.extend(outputs)
        graph.sort()
        digest = hashlib.sha256()
        for name, array in self._background.items():
            digest.update(f"{name}{array.dtype}{array.shape}".encode())
            for row in array:  # a memory-mapped background is read row by row
                digest.update(np.ascontiguousarray(row).tobytes())
        spec = self._target.spec
        self._ir.metadata_props.update(
            {
                "onnxshap.method": program.method,
                "onnxshap.target": spec if isinstance(spec, str) else repr(_plain(spec)),
                "onnxshap.model": self._model.hash,
                "onnxshap.rules": program.rules_hash,
                "onnxshap.references": digest.hexdigest() if self._background else "",
                "onnxshap.reference_side": self._reference_side(),
                "onnxshap.steps": self._steps(),
                "onnxshap.note": program.note,
            }
        )
        RemoveUnusedNodesPass()(self._ir)

    def _reference_side(self) -> str:
        if self._chunks.references is not None:
            return f"scanned, {self._chunks.references} references at a time"
        if not self._program.references:
            return "none"
        return "folded at load" if self._background_as == "embed" else "run on the input"

    def _steps(self) -> str:
        if self._program.steps is None:
            return "none"
        count, chunk = len(self._program.steps.weights), self._chunks.steps
        return f"{count}, {'all' if chunk is None else chunk} at a time"

    def _declared(self, name: str) -> list[int | str | None]:
        """Shape of an added output, for the file's readers."""
        batch: int | str = self._batch_symbol()
        target = self._target
        spec = target.spec
        lead = [batch] if target.single else [batch, target.count]
        source = name.rpartition("/")[0] or self._program.sources[0]
        if name.endswith(("attribution", "standard_error")):
            return [*lead, *self._program.source_sample[source]]
        if name == "target" and not isinstance(spec, str):
            labels = target.labels(np.zeros((1, *target.shape)))
            return [batch, *(labels.shape[2:] if target.single else labels.shape[1:])]
        return [*lead]

    def _batch_symbol(self) -> str:
        shape = self._values[self._program.inputs[0]].shape
        return str(shape[0].value) if shape is not None and not isinstance(shape[0], int) else "N"


def _plain(spec: object) -> object:
    """A target as it is written into the file's metadata, whatever its dtype; weights by hash."""
    if isinstance(spec, np.ndarray):
        weights = np.ascontiguousarray(spec, np.float64)
        return f"weights {spec.shape} {hashlib.sha256(weights.tobytes()).hexdigest()}"
    if isinstance(spec, list | tuple):
        parts = [_plain(part) for part in spec]
        return tuple(parts) if isinstance(spec, tuple) else parts
    return int(spec) if isinstance(spec, int | np.integer) else spec
