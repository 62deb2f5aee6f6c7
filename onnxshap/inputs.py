"""Check arrays against the model's inputs, and hand them out in rows ready to run."""

import mmap
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.errors import InputError, OnnxShapWarning
from onnxshap.graph.batch import batched_inputs

Data = np.ndarray | Mapping[str, np.ndarray]


@dataclass(frozen=True)
class InputSpec:
    """One input of the model: sizes of one sample, None where they are free."""

    name: str
    dtype: np.dtype
    sample: tuple[int | None, ...]
    symbols: tuple[str, ...]
    """The declared shape as it is shown in messages."""

    @property
    def is_float(self) -> bool:
        """Whether it is of real numbers, and can be explained."""
        return _is_float(self.dtype)


class Inputs:
    """The inputs of a model, as its users must feed them: samples along the first axis."""

    def __init__(self, graph: ir.Graph, names: Iterable[str]) -> None:
        batched = {v.name for v in batched_inputs(graph)}
        wanted = set(names)
        self.specs: dict[str, InputSpec] = {}
        for value in graph.inputs:
            if value.name not in wanted:
                continue
            if value.shape is None or value.dtype is None:
                raise InputError(f'input "{value.name}" declares no shape; onnxshap needs its rank')
            if value.dtype == ir.DataType.STRING:
                used = value.uses() or value.is_graph_output()
                remedy = (
                    "Cut the model after the nodes that read it, e.g. with onnx.utils.extract_model"
                    if used
                    else "Nothing reads it: remove it from the model's inputs"
                )
                raise InputError(
                    f'input "{value.name}" is of type STRING; strings cannot be fed. {remedy}'
                )
            dims = [d if isinstance(d, int) else None for d in value.shape]
            shown = [str(d if isinstance(d, int) else d.value or "?") for d in value.shape]
            has_batch = value.name in batched
            self.specs[str(value.name)] = InputSpec(
                str(value.name),
                np.dtype(value.dtype.numpy()),
                tuple(dims[1:] if has_batch else dims),
                tuple(shown if has_batch else ["N", *shown]),
            )
        self._told: set[str] = set()

    @property
    def floats(self) -> list[str]:
        """Names of the inputs that can be explained."""
        return [s.name for s in self.specs.values() if s.is_float]

    def by_name(
        self, data: Data, what: str, expected: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Name the arrays of ``data`` and check rank, sizes and count. Nothing is copied.

        ``expected``: names that must be there; None: every input.

        Raises
        ------
        InputError
            Naming the input, what was expected and what came.
        """
        names = list(self.specs) if expected is None else list(expected)
        if isinstance(data, Mapping):
            arrays = {str(k): v for k, v in data.items()}
        elif len(names) == 1:
            arrays = {names[0]: data}
        else:
            raise InputError(
                f"{what}: the model has the inputs {', '.join(names)}; give a dict of arrays"
            )
        for name in arrays:
            if name not in self.specs:
                raise InputError(
                    f'{what}: the model has no input "{name}"; it has {", ".join(self.specs)}'
                )
        missing = [n for n in names if n not in arrays]
        if missing:
            raise InputError(f'{what}: no array for input "{missing[0]}"')
        counts = {name: self._check(name, array, what) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f'"{n}" {c}' for n, c in counts.items())
            raise InputError(f"{what}: inputs differ in their number of samples: {listed}")
        return arrays

    def _check(self, name: str, array: np.ndarray, what: str) -> int:
        spec = self.specs[name]
        shape = "[" + ", ".join(spec.symbols) + "]"
        if not isinstance(array, np.ndarray):
            raise InputError(f'{what}: input "{name}" must be a numpy array, not {type(array)}')
        if isinstance(array, np.ma.MaskedArray):
            raise InputError(
                f'{what}: input "{name}" is a masked array; say what masked values are worth with '
                ".filled(value)"
            )
        fits = array.ndim == 1 + len(spec.sample) and all(
            s is None or s == got for s, got in zip(spec.sample, array.shape[1:], strict=True)
        )
        if not fits:
            raise InputError(
                f'{what}: input "{name}" expects shape {shape}, samples first; got '
                f"{list(array.shape)}"
            )
        both_float = spec.is_float and _is_float(array.dtype)
        if array.dtype != spec.dtype and not both_float:
            raise InputError(
                f'{what}: input "{name}" expects {spec.dtype}, got {array.dtype}; convert it '
                f"with .astype({spec.dtype.name!r}) if that is what you mean"
            )
        return len(array)

    def rows(
        self, arrays: Mapping[str, np.ndarray], start: int, stop: int, what: str
    ) -> dict[str, np.ndarray]:
        """Samples ``start`` to ``stop``, in the model's dtypes.

        Raises
        ------
        InputError
            If a value is NaN or infinite, naming input and rows.
        """
        taken = {}
        for name, array in arrays.items():
            spec, part = self.specs[name], array[start:stop]
            if part.dtype != spec.dtype:
                self._tell_cast(name, part.dtype, spec.dtype)
                with np.errstate(over="ignore"):  # infinite then, and named below
                    part = part.astype(spec.dtype)
            if spec.is_float and not np.isfinite(part).all():
                bad = np.unique(np.nonzero(~np.isfinite(part))[0]) + start
                kind = "NaN" if np.isnan(part).any() else "infinite"
                raise InputError(
                    f'{what}: input "{name}" has {kind} values in {len(bad)} row(s), the first is '
                    f"row {bad[0]}; replace them before explaining"
                )
            taken[name] = np.ascontiguousarray(part)
        return taken

    def _tell_cast(self, name: str, given: np.dtype, wanted: np.dtype) -> None:
        if name not in self._told:
            self._told.add(name)
            warnings.warn(
                f'input "{name}": {given} is cast to the model\'s {wanted}', OnnxShapWarning, 4
            )


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"  # numpy's own types end at float16


def release(arrays: Iterable[np.ndarray]) -> None:
    """Let go of the resident pages of read-only memory maps, once their rows are copied.

    The pages are clean, so nothing is lost: the next access reads them from the file again. Maps
    that can be written to are left alone, and so are systems that have no such advice.
    """
    for array in arrays:
        mapped = getattr(array, "_mmap", None)
        if isinstance(array, np.memmap) and array.mode == "r" and mapped is not None:
            advice = getattr(mmap, "MADV_DONTNEED", None)
            if advice is not None:
                mapped.madvise(advice)
