"""The `Explainer`: a model, a method, a background and a target, bound to the runtime."""

import copy
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from weakref import WeakSet

import numpy as np
import onnx_ir as ir

from onnxshap.assemble import concatenate
from onnxshap.background import Background
from onnxshap.compiled import Engine
from onnxshap.errors import CompletenessWarning, InputError, OnnxShapWarning
from onnxshap.explanation import Explanation
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.inputs import Data, Inputs
from onnxshap.methods import Method, Rules, named
from onnxshap.oneshot import BackgroundAs, ChunkSizes, one_shot
from onnxshap.refine import Refinement
from onnxshap.runtime.progress import Progress, ProgressCallback
from onnxshap.runtime.workers import Stop, Stopped
from onnxshap.targets import TargetSpec, expected_targets

logger = logging.getLogger("onnxshap")

_TOLERANCE = {"float64": 1e-9, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
_CUDA_TOLERANCE = 2e-5
_QUADRATURE = 0.05, 0.01
"""Of the output difference, where Sundararajan et al. 2017, section 5, advise more steps; and of
the sum of absolute attributions, beside which a gap does not matter however small the difference.
"""
_ADVICE = {
    "exact": "{:g} of {:.3g}. Rounding grows where the output is small beside what it is made of; "
    "where onnxshap.check(model) lists blocked nodes, part of it flows through those.",
    "quadrature": "5 % of it. The gradient changes too fast between the points at which it is "
    "taken: raise steps=, e.g. onnxshap.methods.IntegratedGradients(steps=512).",
}


class Explainer:
    """Explains what an ONNX model makes of its inputs.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    background : ndarray [M, *x], dict of them by input name, or None
        References that explicands are compared with; memory-mapped arrays are read in chunks.
        A dict also says which inputs vary: inputs without references are held at the explicand's
        own value. None where the method needs no references.
    method : str or Method
        ``"deepshap"``, ``"integrated_gradients"``, ``"expected_gradients"``, ``"x_gradient"``,
        ``"gradient"``, ``"input_x_gradient"``, ``"smoothgrad"``, ``"random"``, or an object of
        `onnxshap.methods` with parameters, e.g. ``IntegratedGradients(steps=256)``.
    target : int, "topK", tuple, list of int, or ndarray
        Which scalar of one sample's output is explained: an index, its K largest elements for
        each explicand, or weights shaped like one sample's output for a weighted sum.
    output : str, optional
        Value to explain instead of the first output, e.g. the logits before a Softmax.
    inputs : str or sequence of str, optional
        Values to attribute to instead of the float inputs, e.g. a feature map.
    rules : {"exact", "shap"}, optional
        Multipliers of ``"deepshap"``: exact ones, or the numbers of shap.DeepExplainer wherever
        those are right (see `onnxshap.methods.DeepShap`). By default the method's own, exact.
    providers : sequence of str, optional
        onnxruntime execution providers. By default CUDA where a device answers, else the CPU.
    max_memory : int, optional
        Bytes to plan activations and kept references within; by default 2 GiB, 8 GiB on a GPU.

    Raises
    ------
    UnsupportedOpError
        Naming every node on the path that has no rule.
    ModelFileError, InputError, ProviderError
        If the model, an argument or the background does not fit.

    Examples
    --------
    >>> explainer = Explainer("model.onnx", background, target="top3")  # doctest: +SKIP
    >>> explanation = explainer(x)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: ModelSource | Model,
        background: Data | None = None,
        *,
        method: str | Method = "deepshap",
        target: TargetSpec = "top1",
        output: str | None = None,
        inputs: str | Sequence[str] | None = None,
        rules: Rules | None = None,
        providers: Sequence[str] | None = None,
        max_memory: int | None = None,
    ) -> None:
        self._model, self._method = load(model), named(method, rules)
        graph = self._model.normalised.graph
        self._inputs = Inputs(graph, [str(v.name) for v in graph.inputs])
        self._max_memory = max_memory
        self._background = self._bind(background)
        asked = [inputs] if isinstance(inputs, str) else inputs
        varying = None if self._background is None else list(self._background.arrays)
        sizes = {} if self._background is None else _free_sizes(graph, self._background.arrays)
        self._engine = Engine(self._model, self._method, output, asked, varying, providers, sizes)
        self._target = target
        self._stops: WeakSet[Stop] = WeakSet()

    # --- siblings --------------------------------------------------------------------------------

    def with_background(self, background: Data) -> "Explainer":
        """Return an explainer with other references; nothing is rebuilt.

        At most the reference pass is compiled once more, where their number asks for other kernels.
        """
        sibling = self._sibling()
        sibling._background = sibling._bind(background)
        assert sibling._background is not None
        assert self._background is not None
        if set(sibling._background.arrays) != set(self._background.arrays):
            raise InputError(
                f"background: this explainer compares {', '.join(self._background.arrays)}; give "
                "references for the same inputs"
            )
        return sibling

    def with_target(self, target: TargetSpec) -> "Explainer":
        """Return an explainer of another target; nothing is rebuilt, reference work is shared."""
        sibling = self._sibling()
        sibling._target = target
        return sibling

    def _sibling(self) -> "Explainer":
        sibling = copy.copy(self)
        sibling._stops = WeakSet()
        return sibling

    def _bind(self, background: Data | None) -> Background | None:
        if not self._method.needs_background:
            if background is not None:
                raise InputError(
                    f"background: method {self._method.name!r} compares with nothing; pass None"
                )
            return None
        if background is None:
            raise InputError(
                f"background: method {self._method.name!r} needs references; pass an array "
                "[M, *x], e.g. a few dozen typical samples"
            )
        expected: list[str] = []
        if not isinstance(background, Mapping):
            expected = self._inputs.floats or list(self._inputs.specs)
        arrays = self._inputs.by_name(background, "background", expected)
        count = len(next(iter(arrays.values()))) if arrays else 0
        if not count:
            raise InputError("background: it is empty; give at least one reference")
        return Background(arrays, count)

    # --- explaining ------------------------------------------------------------------------------

    def __call__(
        self, x: Data, per_reference: bool = False, progress: ProgressCallback | None = None
    ) -> Explanation:
        """Explain explicands ``x``, ndarray [N, *x] or dict of them by input name.

        Parameters
        ----------
        x : ndarray or dict of ndarray
        per_reference : bool
            Also return the attributions of every reference, [N, K, M, *x].
        progress : callable, optional
            Called as ``progress(done, total, info)`` after each chunk of work. By default a bar
            appears in terminals and notebooks when a run takes longer than two seconds.

        Returns
        -------
        Explanation

        Raises
        ------
        InputError
            If ``x`` does not fit the model.
        ExecutionError
            If the runtime fails, or the model's output is not finite.

        Warns
        -----
        CompletenessWarning
            If attributions do not sum to the output difference within tolerance.
        """
        arrays = self._inputs.by_name(x, "x")
        count = len(next(iter(arrays.values())))
        run = self._refinement(arrays, per_reference)
        parts: list[Explanation] = []
        with Progress(progress, max(1, count) * run.work, self._method.name) as told:
            for start, stop in run.blocks(count):
                parts.append(run.final(start, stop, told.update))
        explanation = concatenate(parts)
        self._judge(explanation)
        return explanation

    def stream(self, x: Data, per_reference: bool = False, *, chunk: int | None = None) -> "Stream":
        """Explain ``x`` and yield an `Explanation` after each chunk of references.

        Each averages over all references so far; the last one has ``complete`` set. Closing the
        stream, from any thread, stops the run in progress at once.

        Parameters
        ----------
        x : ndarray or dict of ndarray
            As for a call.
        per_reference : bool
            As for a call.
        chunk : int, optional
            How many references at most between two partial results; by default as many as memory
            and speed ask for. Reference work kept for one size of chunk is not reused by another.
        """
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise InputError(f"chunk={chunk!r} must be a whole number of references, 1 or more")
        arrays = self._inputs.by_name(x, "x")
        count = len(next(iter(arrays.values())))
        run = self._refinement(arrays, per_reference, chunk)
        return Stream(run.refine(0, count), run.stop, self)

    def _refinement(
        self, arrays: dict[str, np.ndarray], per_reference: bool, chunk: int | None = None
    ) -> Refinement:
        run = Refinement(
            self._engine,
            self._inputs,
            arrays,
            self._background,
            self._target,
            per_reference=per_reference,
            max_memory=self._max_memory,
            chunk=chunk,
        )
        self._stops.add(run.stop)
        return run

    def export(
        self, path: str | os.PathLike[str], background: BackgroundAs = "embed"
    ) -> list[Path]:
        """Write model, references and explanation as one ONNX file of standard operators.

        Embedded references are folded and kept in memory when the file is loaded. Where they would
        not fit ``max_memory`` the file runs them in chunks at each call instead; its metadata
        entry ``onnxshap.reference_side`` says which.

        The file keeps the model's inputs and outputs and adds ``<input>/attribution``,
        ``base_value``, ``target``, ``residual`` and ``standard_error`` where the method has them.

        Parameters
        ----------
        path : path
        background : {"embed", "input"}
            Embed the references, or read them from an input ``<input>/reference`` [M, *x].

        Returns
        -------
        list of Path
            The file, and near 2 GB the side file with its weights.

        Raises
        ------
        InputError
            If the model mixes samples, an input has no references, or the method draws numbers
            for each explicand, or for references that only the file's user knows.
        """
        if background not in ("embed", "input"):
            raise InputError(f'background={background!r}: there is "embed" and "input"')
        self._confirm_layout()
        arrays = {}
        if self._background is not None and background == "embed":
            own = self._background
            arrays = self._inputs.rows(own.arrays, 0, own.count, "background")
        engine, count = self._engine, len(next(iter(arrays.values()), ()))
        targets = expected_targets(self._target)
        chunks = ChunkSizes.of(count, engine.compiled, self._max_memory, targets)
        built = one_shot(self._model, engine.program, self._target, arrays, background, chunks)
        logger.info("reference side of %s: %s", path, built.metadata["onnxshap.reference_side"])
        return built.save(path)

    def _confirm_layout(self) -> None:
        """Confirm on a reference, or on made-up numbers, that samples stay separate."""
        known = {} if self._background is None else self._background.arrays
        rng = np.random.default_rng(0)
        sample = {
            name: rng.uniform(0, 1, (1, *(d or 1 for d in spec.sample))).astype(spec.dtype)
            for name, spec in self._inputs.specs.items()
        }
        sample |= self._inputs.rows(known, 0, 1, "background")
        self._engine.confirm(sample)
        if not self._engine.confirmed:
            raise InputError(
                "export: the model's output is not finite on a trial input, so it could not be "
                "confirmed that samples stay separate; explain some real samples first"
            )

    def stop(self) -> None:
        """Stop this explainer's calls and streams, from another thread; calls raise an error."""
        for stop in list(self._stops):
            stop.ask()

    def _judge(self, explanation: Explanation) -> None:
        """Warn where attributions are not finite, or do not sum to the output difference."""
        arrays, gap = explanation.attributions, explanation.residual
        several = list(arrays.values()) if isinstance(arrays, dict) else [arrays]
        broken = [a for a in several if not np.isfinite(a).all()]
        if broken:
            unsound = sorted({int(i) for a in broken for i in np.nonzero(~np.isfinite(a))[0]})
            warnings.warn(
                f"attributions of explicand(s) {unsound[:10]} are not finite: a derivative on the "
                "way is infinite at these values, as the square root's is at 0",
                CompletenessWarning if gap is not None else OnnxShapWarning,
                3,
            )
            return
        if gap is None or not gap.size:
            return
        completeness = self._engine.program.completeness
        if completeness == "expectation":
            return  # an error of the draw, which the standard error tells
        tolerance = self._tolerance
        lead = np.ndim(explanation.outputs)
        total = sum(np.abs(a).sum(tuple(range(lead, a.ndim)), dtype=np.float64) for a in several)
        base = explanation.base_values if explanation.base_values is not None else 0.0
        scale = np.maximum(np.maximum(np.abs(explanation.outputs), np.abs(base)), total)
        allowed = tolerance * scale
        if completeness == "quadrature":
            rise = np.abs(explanation.outputs - base)
            coarse = np.maximum(_QUADRATURE[0] * rise, _QUADRATURE[1] * total)
            allowed = np.maximum(allowed, coarse)
        excess = np.abs(gap) - allowed
        worst = np.unravel_index(int(np.argmax(excess)), np.shape(gap))
        if excess[worst] > 0:
            advice = _ADVICE[completeness].format(tolerance, scale[worst])
            note = f" Mind: {explanation.note}." if explanation.note else ""
            warnings.warn(
                f"attributions of explicand {worst[0]} miss the output difference by "
                f"{gap[worst]:.3g}, more than {advice}{note}",
                CompletenessWarning,
                3,
            )

    @property
    def _tolerance(self) -> float:
        """Of the coarsest type on the way: what a model rounds, no sum over its inputs restores."""
        precision = self._engine.program.precision
        on_cuda = self._engine.compiled.device == "cuda"
        return _CUDA_TOLERANCE if on_cuda and precision == "float32" else _TOLERANCE[precision]


def _free_sizes(graph: ir.Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Sizes that references give to the named free dimensions of the inputs, for planning."""
    sizes = {}
    for value in graph.inputs:
        if value.name in arrays and value.shape is not None:
            for dim, size in zip(value.shape, arrays[str(value.name)].shape, strict=False):
                if not isinstance(dim, int) and dim.value is not None:
                    sizes[str(dim.value)] = size
        if value.shape is not None and len(value.shape) and not isinstance(value.shape[0], int):
            sizes.pop(str(value.shape[0].value), None)  # the batch: bytes are of one sample
    return sizes


class Stream(Iterator[Explanation]):
    """Partial explanations, each over more references than the one before."""

    def __init__(
        self, partials: Iterator[Callable[[], Explanation]], stop: Stop, explainer: Explainer
    ) -> None:
        self._partials, self._stop, self._explainer = partials, stop, explainer
        self._closed = False

    def __next__(self) -> Explanation:
        if self._closed:
            raise StopIteration
        try:
            partial = next(self._partials)()
        except Stopped:
            self._closed = True
            raise StopIteration from None
        if partial.complete:
            self._explainer._judge(partial)
        return partial

    def close(self) -> None:
        """Stop: a run in progress ends at once, and nothing more is yielded."""
        self._closed = True
        self._stop.ask()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
