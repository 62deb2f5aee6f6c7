"""`GraphView`: a model's graph, or that of its explanation, drawn by Netron inside the cell."""

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets as t

from onnxshap.errors import InputError
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.plot import require_matplotlib
from onnxshap_widgets import netron_files
from onnxshap_widgets.portable import Portable
from onnxshap_widgets.static_files import module, style
from onnxshap_widgets.subgraph import SIDES, Anatomy

if TYPE_CHECKING:
    from onnxshap.depth import DepthProfile

WHOLE = 500
"""Nodes above which drawing all of them takes long enough to be warned of."""
FEW = 60
"""Nodes up to which an explanation's whole graph is readable: it begins with an overview above."""


class GraphView(Portable):
    """A model's graph inside the cell: no server, no port, no request to anywhere.

    Drawn by the installed Netron. Nodes are coloured and boxed by the side of the explanation they
    are on: forward, reference, seed, backward. Choosing one tells its rule and formula and leads
    to its partners: what runs backward through a forward node, and the other way.

    Parameters
    ----------
    model : Model
        What `onnxshap.build` returns; or any model, path or bytes: then all of it is forward.
    title : str
    profile : DepthProfile, optional
        Sums of attributions over the depth of the model, of `onnxshap.depth.depth_profile`: drawn
        as a chart whose points choose nodes, with the attribution map of the chosen one.

    Notes
    -----
    A graph of more than a few dozen nodes begins with an overview: one node stands for all that
    run backward through a forward node. Layers, surroundings and the whole graph are a choice away
    (`show`); above 500 nodes the choice says how long the whole will take. Weights
    are not sent.

    Examples
    --------
    >>> view = GraphView(onnxshap.build("model.onnx"))  # doctest: +SKIP
    >>> view.focus("conv1")  # doctest: +SKIP
    """

    _esm = module("maps", "graph")
    _css = style("graph")

    title = t.Unicode("").tag(sync=True)
    selected = t.Unicode("").tag(sync=True)
    """Name of the chosen node, "" for none."""

    _nodes = t.Dict().tag(sync=True)
    """The graph's nodes, as columns."""
    _counts = t.Dict().tag(sync=True)
    _warning = t.Unicode("").tag(sync=True)
    _shown = t.Dict().tag(sync=True)
    """What is on view: ``{"kind": "layer", "node": ...}`` and so on."""
    _stands = t.List(t.Int()).tag(sync=True)
    """For each node the number of the one that stands for it on view, -1 for none."""
    _graph = t.Bytes(b"").tag(sync=True)
    _drawn = t.Int(0).tag(sync=True)
    """How often the graph was sent: the browser draws when it has all of it."""
    _about = t.Unicode("").tag(sync=True)
    _profile = t.Dict().tag(sync=True)
    _cut = t.Int(-1).tag(sync=True)
    """Chosen point of the profile, -1 for none."""
    _map = t.Dict().tag(sync=True)
    _map_values = t.Bytes(b"").tag(sync=True)
    _netron = t.Bytes(b"").tag(sync=True)
    _version = t.Unicode("").tag(sync=True)
    _error = t.Unicode("").tag(sync=True)

    def __init__(
        self, model: ModelSource | Model, *, title: str = "", profile: "DepthProfile | None" = None
    ) -> None:
        self._anatomy = Anatomy(load(model).proto)
        self._names = {name: k for k, name in enumerate(self._anatomy.nodes)}
        self._depth = profile
        count = len(self._names)
        crowded = count > WHOLE or (count > FEW and "backward" in self._anatomy.counts())
        super().__init__(
            title=str(title),
            _nodes=_columns(self._anatomy),
            _counts=self._anatomy.counts(),
            _warning=f" ({count} nodes, {_wait(count)})" if count > WHOLE else "",
            _shown={"kind": "overview" if crowded else "whole"},
            _profile={} if profile is None else self._chart(profile),
        )
        try:
            self._version, self._netron = netron_files.version(), netron_files.packed()
        except netron_files.NetronError as error:
            self._error = str(error)
        self._draw()

    @property
    def nodes(self) -> list[str]:
        """Names of all nodes, in the graph's order."""
        return list(self._names)

    @property
    def shown(self) -> list[str]:
        """Names of the nodes that are drawn."""
        names = self.nodes
        return [names[k] for k in dict.fromkeys(self._stands) if k >= 0]

    def focus(self, name: str) -> None:
        """Choose a node and bring it into view; where it is not drawn, its layer is.

        Raises
        ------
        InputError
            If the graph has no such node.
        """
        self.selected = name
        self.send({"focus": name})

    def show(
        self,
        what: str = "",
        *,
        layer: str = "",
        around: str = "",
        hops: int = 2,
        depth: tuple[int, int] | None = None,
    ) -> None:
        """Draw another part of the graph.

        Parameters
        ----------
        what : {"overview", "whole"}, optional
        layer : str, optional
            A forward node with its copies and all that runs backward through it.
        around : str, optional
            A node and those at most ``hops`` edges before and after it.
        depth : (int, int), optional
            The first and the last of some layers, counted from 0, with all of their nodes.

        Raises
        ------
        InputError
            If the graph has no such node or depth, or not exactly one thing is asked for.
        """
        asked: list[dict[str, Any]] = []
        if what:
            asked.append({"kind": what})
        if layer:
            asked.append({"kind": "layer", "node": layer})
        if around:
            asked.append({"kind": "around", "node": around, "hops": hops})
        if depth is not None:
            asked.append({"kind": "depth", "first": depth[0], "last": depth[1]})
        if len(asked) != 1:
            raise InputError(
                'show: ask for one thing: "overview", "whole", layer=, around= or depth=(a, b)'
            )
        self._part(asked[0])  # refuses what there is not, before anything changes
        self._shown = asked[0]

    def png(self) -> bytes:
        """Draw the profile, or how many nodes each side has: what a picture can say."""
        return _picture(self._anatomy, self.title, self._depth)

    def to_html(self, path: str | os.PathLike[str], title: str | None = None) -> Path:
        """Refuse: Netron cannot run in a page from a file.

        Raises
        ------
        InputError
        """
        raise InputError(
            "a graph cannot be written as a page: browsers let Netron run only from a server; "
            "write a picture with GraphView(...).png(), or the graph itself with "
            "onnxshap.build(model).save(path)"
        )

    # --- what the browser asks for ---------------------------------------------------------------

    @t.validate("selected")
    def _known(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name and name not in self._names:
            close = ", ".join(self.nodes[:5])
            raise InputError(
                f'the graph has no node "{name}"; GraphView(...).nodes lists all: {close}, ...'
            )
        return name

    @t.observe("selected")
    def _follow(self, change: Any) -> None:
        name = change["new"]
        if not name:
            return
        if self._stands[self._names[name]] < 0:
            self._shown = {"kind": "layer", "node": name}
        if self._depth is not None:
            nodes, own = self._profile["nodes"], self._anatomy.nodes[name].of or name
            if self._cut < 0 or nodes[self._cut] != own:
                self._cut = nodes.index(own) if own in nodes else -1

    @t.observe("_shown")
    def _draw(self, _: Any = None) -> None:
        try:
            graph, stands, about = self._part(self._shown)
        except (ValueError, TypeError, KeyError) as error:  # the browser asks for what there is not
            with self.hold_sync():
                self._about, self._drawn = str(error), self._drawn + 1
            return
        with self.hold_sync():
            self._stands = [self._names.get(stands.get(name, ""), -1) for name in self._names]
            self._about = about
            self._graph, self._drawn = graph, self._drawn + 1

    @t.observe("_cut")
    def _map_of_cut(self, _: Any) -> None:
        profile = self._depth
        if profile is None or not 0 <= self._cut < len(profile.cuts):
            self._map, self._map_values = {}, b""
            return
        values, note = _flat(profile.maps[profile.cuts[self._cut]])
        finite = np.abs(values[np.isfinite(values)])
        with self.hold_sync():
            self._map = {
                "height": values.shape[0],
                "width": values.shape[1],
                "limit": float(np.percentile(finite, 99.9)) if finite.size else 0.0,
                "note": note,
            }
            self._map_values = values.tobytes()

    def _part(self, shown: Mapping[str, Any]) -> tuple[bytes, dict[str, str], str]:
        """The graph to send, who stands for whom in it, and a line about it."""
        own, total = self._anatomy, len(self._names)
        kind = shown["kind"]
        if kind == "overview":
            model, stands = own.overview()
            about = (
                f"Overview of {total} nodes: one stands for all that run backward through a "
                "forward node. What they read of the other sides is left out; a layer shows it."
            )
            return model.SerializeToString(), stands, about
        if kind == "whole":
            names, about = self.nodes, f"All {total} nodes."
        elif kind == "layer":
            names = own.layer(shown["node"])
            about = f"One layer: {len(names)} of {total} nodes."
        elif kind == "around":
            names = own.around(shown["node"], int(shown["hops"]))
            about = f"{len(names)} of {total} nodes, around {shown['node']}."
        elif kind == "depth":
            names = own.depth(int(shown["first"]), int(shown["last"]))
            about = f"Layers {shown['first']} to {shown['last']}: {len(names)} of {total} nodes."
        else:
            raise InputError(f'show: there is "overview" and "whole", not {kind!r}')
        return own.part(names).SerializeToString(), dict(zip(names, names, strict=True)), about

    def _chart(self, profile: "DepthProfile") -> dict[str, Any]:
        gap = float(np.abs(profile.sums - profile.difference).max(initial=0))
        return {
            "cuts": list(profile.cuts),
            "nodes": [self._anatomy.maker(cut) for cut in profile.cuts],
            "sums": [float(s) for s in profile.sums],
            "difference": float(profile.difference),
            "note": f"{profile.promise}, {profile.difference:+.4g}; largest gap {gap:.1e}",
        }


def serve(model: ModelSource | Model, height: int = 600) -> Any:
    """Show a graph in Netron's own page, served by this process on 127.0.0.1.

    The way around where the Netron that is installed cannot be shown inside a cell. It needs a
    port that the browser reaches, so it does not work behind a hub; Netron asks the network about
    itself, and shows in every frame of a process the model that was served last.

    Parameters
    ----------
    model : Model, path or bytes
    height : int
        Of the frame, in pixels.

    Returns
    -------
    IPython.display.IFrame
    """
    import netron  # type: ignore[import-untyped]
    from IPython.display import IFrame

    anatomy = Anatomy(load(model).proto)
    data = anatomy.part(list(anatomy.nodes)).SerializeToString()
    host, port = netron.serve("model.onnx", data, ("127.0.0.1", 0), browse=False)
    return IFrame(f"http://{host}:{port}", width="100%", height=height)


def _columns(anatomy: Anatomy) -> dict[str, Any]:
    """Nodes as columns; rules and formulas, which repeat, by their number in a list."""
    nodes = list(anatomy.nodes.values())
    numbers = {n.name: k for k, n in enumerate(nodes)}
    rules = list(dict.fromkeys(n.rule for n in nodes))
    formulas = list(dict.fromkeys(n.formula for n in nodes))
    return {
        "names": [n.name for n in nodes],
        "operators": [n.operator for n in nodes],
        "sides": [SIDES.index(n.side) for n in nodes],
        "rules": rules,
        "rule": [rules.index(n.rule) for n in nodes],
        "formulas": formulas,
        "formula": [formulas.index(n.formula) for n in nodes],
        "of": [numbers.get(n.of, -1) for n in nodes],
        "reads": [n.inputs for n in nodes],
        "makes": [n.outputs for n in nodes],
    }


def _wait(nodes: int) -> str:
    """How long Netron takes to lay a graph out: 818 nodes took 5 s, 1304 nodes 54 s."""
    return "seconds" if nodes <= 1000 else "about a minute" if nodes <= 1500 else "many minutes"


def _flat(values: np.ndarray) -> tuple[np.ndarray, str]:
    """One sample's attributions as a picture, and what was summed for it."""
    array = np.asarray(values, np.float32)
    if array.ndim < 2:
        return array.reshape(1, -1), f"{array.size} values"
    lead = array.shape[:-2]
    summed = array.sum(tuple(range(len(lead)))) if lead else array
    size = f"{array.shape[-2]} x {array.shape[-1]}"
    count = int(np.prod(lead))
    return summed, f"{size}, sum over {count} channels" if count > 1 else size


def _picture(anatomy: Anatomy, title: str, profile: "DepthProfile | None") -> bytes:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    counts = anatomy.counts()
    if profile is not None:
        axes.axhline(profile.difference, color="#59636e", linewidth=1, linestyle="--")
        axes.plot(range(len(profile.sums)), profile.sums, color="#2f6db3", marker="o", markersize=3)
        axes.set_ylim(min(0.0, 1.1 * profile.difference), max(0.0, 1.1 * profile.difference))
        axes.set(xlabel="cut, from the input to the output", ylabel="sum of attributions")
    else:
        colours = {"forward": "#2f6db3", "backward": "#c2621b", "reference": "#5f7f92"}
        sides = list(counts)[::-1]
        bars = axes.barh(sides, [counts[s] for s in sides])
        for bar, side in zip(bars, sides, strict=True):
            bar.set_color(colours.get(side, "#7b7f86"))
        axes.bar_label(bars, padding=4)
        axes.set_xlabel("nodes")
    axes.set_title(title or f"Graph of {sum(counts.values())} nodes", loc="left", parse_math=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
