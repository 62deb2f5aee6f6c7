"""Samples: what is explored, as arrays for the model and as pictures or text for people."""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from onnxshap.errors import InputError
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.inputs import Inputs
from onnxshap.plot.maps import CHANNELS, form_of, photos
from onnxshap.plot.panels import Style

Form = Literal["image", "row", "tokens", "other"]
Photo = Any
"""A photo as users have it: a path, a PIL image, or an array [H, W] or [H, W, C]."""
Preprocess = Callable[[Any], np.ndarray]
Tile = tuple[bytes | None, str, str]
"""One item of a gallery: PNG or None, caption, detail."""

SIDE = 96
"""Pixels of a thumbnail's longer side, at most."""
ROW = 1000
"""Values of one sample that are still shown as a row of features."""
_CHUNK = 64  # samples looked at together
_SHOWN = 6  # values in the detail line


class Samples:
    """The samples of one exploration. Made by `Samples.of`; nothing in it changes."""

    def __init__(
        self, inputs: Inputs, arrays: dict[str, np.ndarray], originals: Sequence[Photo] | None
    ) -> None:
        self._inputs, self.arrays, self._originals = inputs, arrays, originals
        self._thumbnails: dict[int, bytes | None] = {}
        self.count = len(next(iter(arrays.values())))
        self.sources = [name for name in inputs.floats if name in arrays]
        """Inputs that are explained."""
        self.source = self._main()
        """The input that pictures and forms are of: the first image, else the first of all."""
        self.form: Form = self._form(self.source)

    @classmethod
    def of(
        cls, model: ModelSource | Model, samples: Any, preprocess: Preprocess | None = None
    ) -> "Samples":
        """Check and name the samples of an exploration.

        Parameters
        ----------
        model : path, bytes, onnx.ModelProto or Model
        samples : ndarray [N, *x], dict of them by input name, or photos
            What the model takes; every input of the model, those that are not explained as well.
            Photos, one or a list, where ``preprocess`` is given: paths, PIL images, or arrays
            ``[H, W]`` or ``[H, W, C]``.
        preprocess : callable, optional
            Turns one photo into what the model takes, ``[*x]`` or ``[1, *x]``. Paths are opened
            for it as upright RGB images.

        Returns
        -------
        Samples

        Raises
        ------
        InputError
            If the samples do not fit the model, a photo cannot be read, or a value is not finite.
        """
        graph = load(model).normalised.graph
        inputs = Inputs(graph, [str(v.name) for v in graph.inputs])
        if not inputs.floats:
            raise InputError("samples: the model has no float input to explain")
        originals = None
        if preprocess is not None:
            originals = _photos(samples)
            samples = _preprocessed(originals, preprocess, inputs)
        elif not isinstance(samples, np.ndarray | Mapping):
            raise InputError(
                f"samples: give an array [N, *x] or a dict of arrays, not {type(samples).__name__}"
                "; photos need preprocess=, which makes of one photo what the model takes"
            )
        arrays = inputs.by_name(samples, "samples")
        if not len(next(iter(arrays.values()))):
            raise InputError("samples: there are none; give at least one")
        require_finite(arrays, "samples")
        return cls(inputs, as_declared(inputs, arrays, "samples"), originals)

    # --- for the model ---------------------------------------------------------------------------

    def feeds(self, index: int) -> dict[str, np.ndarray]:
        """One sample as an `Explainer` takes it: every input, [1, *x]."""
        index = self._checked(index)
        return self._inputs.rows(self.arrays, index, index + 1, "samples")

    @property
    def inputs(self) -> Inputs:
        """The model's inputs."""
        return self._inputs

    # --- for people ------------------------------------------------------------------------------

    def picture(self, index: int) -> np.ndarray:
        """Return what the model sees, uint8 [H, W, 3], pixel by pixel under the map.

        Values are stretched to their range over this sample, as `onnxshap.plot` does.

        Raises
        ------
        InputError
            If samples are no images.
        """
        if self.form != "image":
            raise InputError(f"samples of form {self.form!r} have no picture")
        return _picture(self.arrays[self.source][self._checked(index)])

    def thumbnail(self, index: int) -> bytes | None:
        """PNG of at most 96 pixels a side, of the photo where one was given; None if no image."""
        index = self._checked(index)
        if index not in self._thumbnails:
            self._thumbnails[index] = self._small(index)
        return self._thumbnails[index]

    def caption(self, index: int) -> str:
        """File name of a photo, else the sample's number."""
        index = self._checked(index)
        if self._originals is not None and isinstance(self._originals[index], str | os.PathLike):
            return Path(self._originals[index]).name
        return f"sample {index}"

    def detail(self, index: int) -> str:
        """One line of text: first values of a row, tokens, or the shape."""
        index = self._checked(index)
        if self.form == "tokens":
            return _beginning(self.tokens(index), " ")
        return self._described(self.arrays[self.source][index])

    def tokens(self, index: int) -> list[str]:
        """Name the positions of a sample of tokens: by the ids beside it, else by their number."""
        index = self._checked(index)
        ids = self._ids()
        if ids is None:
            return [str(t) for t in range(self.arrays[self.source].shape[1])]
        return [str(t) for t in self.arrays[ids][index].tolist()]

    def tiles(self) -> list[Tile]:
        """All samples as items of a gallery."""
        return [(self.thumbnail(i), self.caption(i), self.detail(i)) for i in range(self.count)]

    def tiles_of(
        self, arrays: Mapping[str, np.ndarray], like: int = 0, caption: str = "{}"
    ) -> list[Tile]:
        """Arrays [M, *x] that are no samples, e.g. references, as items of a gallery.

        Pictures are stretched as sample ``like`` is, so that a blurred copy looks like its photo
        and zeros have the colour that the model takes for zero.
        """
        rows = arrays.get(self.source)
        count = len(next(iter(arrays.values())))
        names = [caption.format(i) for i in range(count)]
        if rows is None:
            return [(None, name, "") for name in names]
        if self.form != "image":
            return [(None, n, self._described(row)) for n, row in zip(names, rows, strict=True)]
        own = self.arrays[self.source][self._checked(like)]
        low, high = _range(own)
        return [
            (_png(Image.fromarray(_picture((row.astype(np.float64) - low) / (high - low)))), n, "")
            for n, row in zip(names, np.clip(rows, low, high), strict=True)
        ]

    def _described(self, row: np.ndarray) -> str:
        if self.form == "row":
            return _beginning([f"{v:.3g}" for v in row.ravel()[: _SHOWN + 1].tolist()], ", ")
        return " x ".join(map(str, row.shape)) if row.ndim else f"{row:.3g}"

    def _small(self, index: int) -> bytes | None:
        if self._originals is not None:
            return _png(_upright(self._originals[index], SIDE))
        return _png(Image.fromarray(self.picture(index))) if self.form == "image" else None

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise InputError(f"sample {index}: there are {self.count}, counted from 0")
        return int(index)

    # --- forms -----------------------------------------------------------------------------------

    def _main(self) -> str:
        images = [name for name in self.sources if self._form(name) == "image"]
        return (images or self.sources)[0]

    def _form(self, source: str) -> Form:
        shape = self.arrays[source].shape[1:]
        if self._ids(source) is not None:
            return "tokens"
        form = form_of(shape, Style(), photos=self._originals is not None)
        if form == "image":
            channels = len(shape) == 2 or shape[0] in CHANNELS or shape[-1] in CHANNELS
            return "image" if len(shape) <= 3 and channels else "other"
        if form == "bars":
            return "row"
        return "tokens" if len(shape) == 2 else "other"

    def _ids(self, source: str | None = None) -> str | None:
        """Name the input of token ids [N, T] beside embeddings [N, T, D], if there is one."""
        shape = self.arrays[source or self.source].shape
        if len(shape) != 3:
            return None
        beside = [
            name
            for name, array in self.arrays.items()
            if array.dtype.kind in "iu" and array.shape == shape[:2]
        ]
        return next((n for n in beside if "id" in n.lower()), next(iter(beside), None))


def image_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width among the axes of one image, [H, W], [C, H, W] or [H, W, C]."""
    if len(shape) == 2 or (shape[-1] in CHANNELS and shape[0] not in CHANNELS):
        return 0, 1
    return 1, 2


# --- arrays --------------------------------------------------------------------------------------


def require_finite(arrays: Mapping[str, np.ndarray], what: str) -> None:
    """Raise InputError naming every row that holds NaN or infinite values."""
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        bad = [
            start + int(row)
            for start in range(0, len(array), _CHUNK)
            for row in _rows_not_finite(array[start : start + _CHUNK])
        ]
        if bad:
            listed = _beginning([str(b) for b in bad], ", ")
            raise InputError(
                f'{what}: input "{name}" has NaN or infinite values in row(s) {listed}; replace '
                "them before explaining"
            )


def _rows_not_finite(part: np.ndarray) -> np.ndarray:
    finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
    return np.flatnonzero(~finite)


def as_declared(
    inputs: Inputs, arrays: Mapping[str, np.ndarray], what: str
) -> dict[str, np.ndarray]:
    """Arrays in the model's dtypes; those that are so already, memory maps too, stay as they are.

    A cast is warned of once, here, instead of at each run.
    """
    found = {}
    for name, array in arrays.items():
        own = {name: array}
        cast = array.dtype != inputs.specs[name].dtype
        found[name] = inputs.rows(own, 0, len(array), what)[name] if cast else array
    return found


# --- photos --------------------------------------------------------------------------------------


def _photos(samples: Any) -> list[Photo]:
    """One photo or several, as a list."""
    alone = isinstance(samples, str | os.PathLike | Image.Image) or (
        isinstance(samples, np.ndarray)
        and (samples.ndim == 2 or (samples.ndim == 3 and samples.shape[-1] in CHANNELS))
    )
    if not alone and isinstance(samples, Mapping):
        raise InputError(
            "samples: with preprocess= give photos, one or a list; a dict of arrays goes without"
        )
    found = [samples] if alone else list(samples)
    if not found:
        raise InputError("samples: there are none; give at least one")
    return found


def _preprocessed(originals: Sequence[Photo], preprocess: Preprocess, inputs: Inputs) -> np.ndarray:
    rank = len(inputs.specs[inputs.floats[0]].sample)
    rows: list[np.ndarray] = []
    for i, photo in enumerate(originals):
        is_file = isinstance(photo, str | os.PathLike)
        row = np.asarray(preprocess(_upright(photo) if is_file else photo))
        if row.ndim == rank + 1 and len(row) == 1:
            row = row[0]
        if rows and row.shape != rows[0].shape:
            raise InputError(
                f"preprocess: photo {i} became {list(row.shape)}, photo 0 {list(rows[0].shape)}; "
                "make all of one shape"
            )
        rows.append(row)
    return np.stack(rows)


def _upright(photo: Photo, side: int | None = None) -> Image.Image:
    """Open a photo as RGB; with ``side``, at most that large, without decoding all of a JPEG."""
    if isinstance(photo, Image.Image):
        return _shrunk(photo, side)
    if isinstance(photo, str | os.PathLike):
        try:
            with Image.open(photo) as file:
                if side is not None:
                    file.draft("RGB", (2 * side, 2 * side))
                return _shrunk(ImageOps.exif_transpose(file), side)
        except OSError as error:
            raise InputError(f"samples: cannot read photo {os.fspath(photo)!r}: {error}") from error
    array = np.asarray(photo)
    if array.dtype != np.uint8:
        array = _picture(array)
    elif array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return _shrunk(Image.fromarray(array), side)


def _shrunk(image: Image.Image, side: int | None) -> Image.Image:
    if side is None:
        return image.convert("RGB")
    factor = max(image.size) // (2 * side)
    if factor > 1 and image.mode in ("L", "RGB", "RGBA"):
        image = image.reduce(factor)
    image = image.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _picture(row: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of one image, stretched as `onnxshap.plot` does."""
    first = row.ndim == 3 and image_axes(row.shape) == (1, 2)
    photo = photos([np.moveaxis(row, 0, -1) if first else row], 1)[0]
    if photo.ndim == 2:
        photo = np.repeat(photo[..., None], 3, axis=-1)
    return np.asarray(np.rint(photo * 255), np.uint8)


def _range(row: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value as `_picture` stretches them: 0 to 1 where all lie between."""
    low, high = float(row.min()), float(row.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, max(high, 0.0, low + 1e-30)


def _png(image: Image.Image) -> bytes:
    small = _shrunk(image, SIDE)
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()


def _beginning(parts: Sequence[str], between: str) -> str:
    """First few parts, and a sign that there are more."""
    shown = between.join(parts[:_SHOWN])
    return f"{shown}{between.rstrip()} …" if len(parts) > _SHOWN else shown
