"""Figures and pages of an explanation. Needs matplotlib (extra ``lab``), loaded on first use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onnxshap.errors import InputError
from onnxshap.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot", "require_matplotlib", "to_html"]


def plot(
    explanation: Explanation,
    image: Any = None,
    *,
    labels: Sequence[str] | Mapping[int, str] | None = None,
    features: Sequence[str] | None = None,
    input: str | None = None,
    tokens: Sequence[str | None] | Sequence[Sequence[str | None]] | None = None,
    form: Literal["auto", "image", "bars", "strip", "tokens", "completeness"] = "auto",
    sign: Literal["signed", "positive", "negative", "absolute"] = "signed",
    percentile: float = 99.9,
    scale: Literal["row", "panel", "figure"] = "row",
    cmap: str = "RdBu_r",
    opacity: float | None = None,
    block: int = 1,
    axis: int | tuple[int, ...] | None = None,
    top: int = 10,
    max_rows: int = 8,
    max_columns: int = 8,
    title: str | None = None,
) -> "Figure":
    """Draw an explanation: one row an explicand, one column a target.

    Parameters
    ----------
    explanation : Explanation
        What an `Explainer` returned.
    image : array, or one array an explicand
        Photos to draw beneath and beside the maps, ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``;
        integers 0..255 or floats. None: the explained values, stretched to their range.
    labels : sequence or mapping of str
        Name of each class target.
    features : sequence of str
        Name of each feature, for bars.
    tokens : list of str, or one list an explicand
        Token at each position, for ``form="tokens"``: as many as one axis of a sample is long; the
        other axes are summed over. Pieces of words (``##ing``, ``▁the``, ``Ġthe``) stay as they
        are. None in place of a token, e.g. of padding, leaves its position out; what the positions
        left out sum to is printed.
    input : str
        Which input to draw where several are explained. None: all, one below the other.
    form : {"auto", "image", "bars", "strip", "tokens", "completeness"}
        ``"auto"`` goes by the shape of one sample: ``[C, H, W]``, ``[H, W, C]`` and ``[H, W]`` are
        images, up to 1000 values in a row are bars, the rest are strips; where ``tokens`` are given
        it is ``"tokens"``, with several inputs for those that have an axis as long.

        ``"tokens"``: running text, each token on the colour of its attribution, and the values of
        the ``top`` largest beneath. ``"completeness"``: for samples of any shape, how the
        attributions lead from base value to output: the sum of the positive ones, of the negative
        ones and of all, each input a segment, and the residual.
    sign : {"signed", "positive", "negative", "absolute"}
        Which attributions to draw. ``"absolute"`` takes ``magma_r`` unless ``cmap`` is given.
    percentile : float
        Colours saturate at this percentile of |attribution|; the share beyond it is printed.
    scale : {"row", "panel", "figure"}
        What shares one colour limit.
    cmap : str
        A diverging colour map of matplotlib; ``"PuOr_r"`` is as safe for the colour-blind.
    opacity : float
        Opacity of the map over the photo, 0..1. None: it grows with |attribution|.
    block : int
        Sum the maps over squares of this many pixels; sums stay exact.
    axis : int or tuple of int
        Axes of one sample to sum over before drawing. None: the channels of an image, all but
        the axis of the tokens.
    top : int
        How many features get a bar of their own, tokens a number, inputs a segment.
    max_rows, max_columns : int
        How many explicands and targets are drawn at most; the figure says what was left out.
    title : str
        Heading of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot: ``figure.savefig("map.png")`` works everywhere, and a notebook shows
        it as the value of a cell.

    Raises
    ------
    InputError
        If matplotlib is not installed, or an option does not fit the explanation.
    """
    require_matplotlib()
    from onnxshap.plot.figures import draw
    from onnxshap.plot.panels import Style

    style = Style(
        form=form,
        sign=sign,
        percentile=percentile,
        scale=scale,
        cmap="magma_r" if sign == "absolute" and cmap == "RdBu_r" else cmap,
        opacity=opacity,
        block=block,
        axis=axis,
        top=top,
        max_rows=max_rows,
        max_columns=max_columns,
    )
    return draw(explanation, image, labels, features, tokens, input, style, title)


def to_html(explanation: Explanation, path: Path, **options: Any) -> Path:
    """Write one page that stands alone: the figure as `plot` draws it and a table of the facts.

    Parameters
    ----------
    explanation : Explanation
        What an `Explainer` returned.
    path : Path
        Where to write; an existing file is replaced, whole or not at all.
    **options
        As for `plot`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        As for `plot`.
    """
    from onnxshap.plot.page import write

    figure = plot(explanation, **options)
    return write(explanation, Path(path), figure, options.get("labels"), options.get("title"))


def require_matplotlib() -> None:
    """Raise InputError, saying how to install it, if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            'plots need matplotlib, which is not installed: pip install "onnxshap[lab]"'
        ) from error
