"""A program split into passes and given to the runtime.

reference pass: what depends on references alone; explicand pass: on explicands alone (the model's
own forward run); pair pass: the backward pass over all pairs. The first two run once for what they
depend on, their results stay on the device.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.errors import ExecutionError
from onnxshap.graph.dependence import reachable
from onnxshap.graph.files.external import kept_outside
from onnxshap.graph.files.protobuf import LARGE, encode
from onnxshap.graph.inference import Known
from onnxshap.graph.model import Model
from onnxshap.graph.partition import Piece, extract, partition
from onnxshap.graph.shapes import infer
from onnxshap.methods import Method, build_program
from onnxshap.methods.program import Program
from onnxshap.runtime.collector import collector_paused
from onnxshap.runtime.session import DeviceValue, NoKernelError, Session
from onnxshap.runtime.workers import Stop, Workers

DeviceValues = dict[str, DeviceValue]


@dataclass
class References:
    """Results of the reference pass for some rows of the background, on the device."""

    rows: range
    values: DeviceValues
    outputs: np.ndarray | None


class Compiled:
    """The passes of one program. Sessions are made when first needed, then kept."""

    def __init__(
        self, program: Program, providers: Sequence[str] | None, sizes: Mapping[str, int]
    ) -> None:
        self.program, self._providers = program, providers
        self.workers = Workers()
        piece, own_bytes = Piece.of(program.model), _bytes_of_one(program, sizes)
        self._reference_cut: list[str] = []
        if program.references:
            keep = [program.reference_output or ""]
            parts = partition(piece, program.references.values(), own_bytes, keep)
            self._reference_model, self._reference_cut = parts.first, parts.cut
            piece = parts.rest
        # Explicands are few beside references: nothing of theirs is computed again for each.
        parts = partition(piece, program.inputs, own_bytes, [program.output], recompute=False)
        self._explicand_model = parts.first
        self.explicand_cut = parts.cut
        """Values of the explicand pass, beside the inputs, that the pair pass reads."""
        self.explicand_bytes = sum(own_bytes[n] for n in self.explicand_cut)
        """Bytes kept of one explicand."""
        self._pair_model = parts.second
        self.cut_bytes = sum(
            own_bytes[n] for n in (*self._reference_cut, *program.references.values())
        )
        """Bytes kept of one reference."""
        self.pair_bytes = _peak(self._pair_model, own_bytes)
        """Peak bytes of one pair in the backward pass."""
        self._sessions: dict[tuple[str, bool, int], Session] = {}
        self._lock = threading.Lock()

    # --- the passes ------------------------------------------------------------------------------

    def explicand(
        self, feeds: dict[str, np.ndarray], stop: Stop | None = None, threads: int = 0
    ) -> tuple[np.ndarray, DeviceValues]:
        """Run the model forward: outputs [N, *output], and what the pair pass needs."""
        program = self.program
        session = self._session("explicand", self._explicand_model, threads)
        wanted = [program.output, *(c for c in self.explicand_cut if c != program.output)]
        values = session.run(feeds, wanted, stop)
        outputs = self._samples_first(values[program.output].numpy())
        kept = {name: values[name] for name in self.explicand_cut}
        return outputs, kept | {name: session.put(array) for name, array in feeds.items()}

    def reference(
        self,
        feeds: dict[str, np.ndarray],
        rows: range,
        stop: Stop | None = None,
        threads: int = 0,
        plain_kernels: bool = False,
    ) -> References:
        """Run the reference side on some ``rows`` of the background, [M, *x]."""
        program = self.program
        session = self._session("reference", self._reference_model, threads, plain_kernels)
        named = {program.references[name]: array for name, array in feeds.items()}
        output = program.reference_output
        wanted = [*self._reference_cut]
        if output is not None and output not in wanted:
            wanted.append(output)
        values = session.run(named, wanted, stop)
        outputs = None if output is None else self._samples_first(values[output].numpy())
        kept = {name: values[name] for name in self._reference_cut}
        kept |= {name: session.put(array) for name, array in named.items()}
        return References(rows, kept, outputs)

    def pairs(
        self,
        values: Mapping[str, DeviceValue | np.ndarray],
        seed: np.ndarray,
        outputs: Sequence[str],
        stop: Stop | None = None,
        threads: int = 0,
    ) -> dict[str, np.ndarray]:
        """Run the backward pass over all pairs, given ``values`` of the passes before it."""
        session = self._session("pair", self._pair_model, threads)
        found = session.run({self.program.seed: seed, **values}, outputs, stop)
        return {name: value.numpy() for name, value in found.items()}

    def _session(
        self, which: str, model: ir.Model, threads: int = 0, plain_kernels: bool = False
    ) -> Session:
        with self._lock:
            # Rather one thread at once than another session, with weights of its own, to wait for.
            if which != "explicand" and (which, plain_kernels, 1) in self._sessions:
                threads = 1
            key = which, plain_kernels, threads
            if key not in self._sessions:
                self._sessions[key] = self._load(model, f"{which} pass", threads, plain_kernels)
            return self._sessions[key]

    def _load(
        self, model: ir.Model, what: str, threads: int = 0, plain_kernels: bool = False
    ) -> Session:
        # Weights beyond one file's size are not copied into every session.
        data = encode(ir.serde.serialize_model(model))
        folder, outside = kept_outside(model)
        try:
            return Session(
                data,
                self._providers,
                self.workers,
                what,
                threads=threads,
                plain_kernels=plain_kernels,
                folder=folder,
                mapped=outside >= LARGE,
            )
        except NoKernelError as error:
            raise self._no_kernel(error, model) from error

    def _no_kernel(self, error: NoKernelError, model: ir.Model) -> ExecutionError:
        """Say which type the runtime has no kernel for, and what else there is."""
        nodes = [n for n in model.graph if error.node and n.name == error.node]
        types = [v.dtype for n in nodes for v in n.inputs if v is not None and v.dtype is not None]
        floats = [str(t.numpy()) for t in types if t.is_floating_point()]
        kind = floats[0] if floats else self.program.precision
        named = f'node "{error.node}"' if nodes else "a part of another operator"
        return ExecutionError(
            f"onnxruntime has no kernel for {error.operator} in {kind} "
            f"({named}) on these providers. Convert the model to float32, or name a provider that "
            "has one with providers=; nothing is cast without being asked for."
        )

    @property
    def device(self) -> str:
        """Where the passes run: "cpu" or "cuda"."""
        with self._lock:
            return next((s.device for s in self._sessions.values()), "cpu")

    def runs(self, which: str) -> int:
        """How often a pass has run: "reference", "explicand" or "pair"."""
        with self._lock:
            return sum(s.runs for (name, *_), s in self._sessions.items() if name == which)

    def _samples_first(self, output: np.ndarray) -> np.ndarray:
        axis = self.program.output_batch
        if self.program.separable or self.program.batched:
            return np.moveaxis(output, axis, 0) if axis is not None else output[None]
        return output[None]

    # --- checks ----------------------------------------------------------------------------------

    def mixes_samples(self, sample: dict[str, np.ndarray]) -> bool | None:
        """Run with one of two samples changed, then the other; whether its neighbour moved.

        Both ways round: a CumSum along the batch passes on in one direction only. None where the
        outputs are not finite and so tell nothing.
        """
        own = {k: v[:1] for k, v in sample.items()}
        changed = {k: _changed(v) for k, v in own.items()}
        same, later, earlier = (
            self.explicand({k: np.concatenate([a[k], b[k]]) for k in sample})[0].astype(np.float64)
            for a, b in ((own, own), (own, changed), (changed, own))
        )
        if len(same) != 2:
            return True
        if not all(np.isfinite(outputs).all() for outputs in (same, later, earlier)):
            return None
        scale = np.abs(same).max(initial=1e-30)
        moved = np.abs([same[0] - later[0], same[1] - earlier[1]]).max(initial=0)
        return bool(moved > 1e-4 * scale)

    def first_nonfinite(self, feeds: dict[str, np.ndarray], stop: Stop | None = None) -> str:
        """Name the first node whose output is not finite for these explicands."""
        model = self.program.model
        inputs = [v for v in model.graph.inputs if v.name in feeds]
        depends = reachable(model.graph, inputs)
        late = reachable(model.graph, [v for v in model.graph.inputs if v.name not in feeds])
        nodes = [n for n in model.graph if n.outputs[0] in depends - late]
        floats = [n for n in nodes if (d := n.outputs[0].dtype) and d.is_floating_point()]
        probe = extract(model, inputs, [n.outputs[0] for n in floats])
        session = self._load(probe, "search for non-finite values")
        values = session.run(feeds, session.outputs, stop)
        for node in floats:
            if not np.isfinite(values[str(node.outputs[0].name)].numpy()).all():
                return f'{node.op_type} "{node.name}" (output "{node.outputs[0].name}")'
        return "a value between the nodes"

    def require_finite(
        self,
        outputs: np.ndarray,
        feeds: dict[str, np.ndarray],
        what: str,
        first: int,
        stop: Stop | None = None,
    ) -> None:
        """Raise if the model's output is not finite, naming the node where it began.

        ``what`` the outputs belong to, and which of them all is the ``first``.
        """
        if np.isfinite(outputs).all():
            return
        bad = np.unique(np.nonzero(~np.isfinite(outputs))[0]) + first
        began = self.first_nonfinite(feeds, stop)
        raise ExecutionError(
            f"the model's output is not finite for {what}(s) {bad.tolist()[:10]}; the first "
            f"node with a non-finite output is {began}. Check the input's "
            "range and preprocessing."
        )


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
        with collector_paused():
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


def _changed(array: np.ndarray) -> np.ndarray:
    """A different sample of the same kind: features reversed, floats also shifted."""
    flipped = array.reshape(len(array), -1)[:, ::-1].reshape(array.shape)
    is_float = ir.DataType.from_numpy(array.dtype).is_floating_point()
    return flipped * array.dtype.type(0.5) + array.dtype.type(0.1) if is_float else flipped


def _bytes_of_one(program: Program, sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of every value that depends on an input, for one explicand, reference and target.

    ``sizes``: of the free dimensions, by their names; those not given count as 1.
    """
    graph = program.model.graph
    symbols = {
        str(d.value): 1
        for value in graph.inputs
        for d in value.shape or ()
        if not isinstance(d, int) and d.value is not None
    }
    known = infer(graph, symbols | {k: v for k, v in sizes.items() if k in symbols})
    found_bytes = {}
    for value in reachable(graph, graph.inputs):
        found = known.get(value, Known())
        item = found.dtype.itemsize if found.dtype is not None else 4
        count = math.prod(d or 1 for d in found.dims or ())
        found_bytes[str(value.name)] = math.ceil(count * item)
    return found_bytes


def _peak(model: ir.Model, sizes: dict[str, int]) -> int:
    """Largest sum of values alive at once when the graph runs in order."""
    order = list(model.graph)
    depends = reachable(model.graph, model.graph.inputs)
    last = {v: k for k, node in enumerate(order) for v in node.inputs if v is not None}
    alive = peak = 0
    for k, node in enumerate(order):
        alive += sum(sizes.get(str(o.name), 0) for o in node.outputs if o in depends)
        peak = max(peak, alive)
        ended = {v for v in node.inputs if v is not None and v in depends and last.get(v) == k}
        alive -= sum(sizes.get(str(v.name), 0) for v in ended if v.producer() is not None)
    return peak
