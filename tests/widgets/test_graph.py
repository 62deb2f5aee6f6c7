"""`GraphView` without a browser: what it sends, what it follows, what it refuses."""

import json

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap.depth import depth_profile
from onnxshap.errors import InputError
from onnxshap_widgets import netron_files
from onnxshap_widgets.graph import GraphView, serve
from tests.helpers import models


@pytest.fixture(scope="module")
def model() -> onnxshap.Model:
    return onnxshap.build(models.cnn(), "deepshap")


@pytest.fixture
def view(model: onnxshap.Model) -> GraphView:
    return GraphView(model, title="a cnn")


@pytest.fixture(scope="module")
def profiled(model: onnxshap.Model) -> GraphView:
    image = models.samples(models.cnn(), 3)["image"]
    return GraphView(model, profile=depth_profile(models.cnn(), image[:1], image[1:]))


def sent(view: GraphView) -> list[str]:
    return [n.name for n in onnx.load_from_string(view._graph).graph.node]


def test_an_explanation_begins_with_the_overview(view: GraphView) -> None:
    assert view._shown == {"kind": "overview"}
    assert len(view.nodes) > 100
    assert set(view.shown) == set(sent(view))
    assert len(view.shown) == 27
    assert view._about.startswith(f"Overview of {len(view.nodes)} nodes: ")


def test_small_graphs_and_models_alone_are_drawn_whole() -> None:
    assert GraphView(models.cnn()).shown == [n.name for n in models.cnn().graph.node]
    tiny = GraphView(onnxshap.build(models.one_number(), "gradient"))
    assert tiny._about == f"All {len(tiny.nodes)} nodes."


def test_a_large_graph_says_how_long_it_takes(view: GraphView) -> None:
    assert view._warning == ""
    large = GraphView(onnxshap.build(models.deep(40, 4), "deepshap"))
    assert len(large.nodes) > 500
    assert large._shown == {"kind": "overview"}
    assert large._warning == f" ({len(large.nodes)} nodes, {'seconds'})"


def test_columns_tell_every_node(view: GraphView) -> None:
    columns = view._nodes
    lengths = {k: len(v) for k, v in columns.items() if k not in ("rules", "formulas")}
    assert set(lengths.values()) == {len(view.nodes)}
    k = columns["names"].index("multiplier/relu0/Mul_0")
    assert columns["rules"][columns["rule"][k]] == "rescale"
    assert columns["names"][columns["of"][k]] == "relu0"
    assert columns["of"][columns["names"].index("relu0")] == -1
    json.dumps(columns)


# What is shown ------------------------------------------------------------------------------------


def test_show_draws_another_part(view: GraphView) -> None:
    before = view._drawn
    view.show(layer="relu0")
    assert view.shown[0] == "relu0"
    assert view._about == f"One layer: {len(view.shown)} of {len(view.nodes)} nodes."
    view.show(around="conv1", hops=1)
    assert set(view.shown) >= {"pool0", "conv1", "relu1"}
    view.show(depth=(0, 1))
    assert view._about.startswith("Layers 0 to 1: ")
    view.show("whole")
    assert view.shown == view.nodes
    assert view._drawn == before + 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "ask for one thing"),
        ({"layer": "relu0", "around": "relu0"}, "ask for one thing"),
        ({"layer": "nothing"}, 'no node "nothing"'),
        ({"around": "nothing"}, 'no node "nothing"'),
        ({"depth": (2, 99)}, "layers 0 to 7"),
        ({"what": "half"}, '"overview" and "whole", not \'half\''),
    ],
)
def test_what_cannot_be_shown_is_refused(view: GraphView, asked: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        view.show(**asked)
    assert view._shown == {"kind": "overview"}


def test_nonsense_from_the_browser_is_told_not_raised(view: GraphView) -> None:
    shown, drawn = view.shown, view._drawn
    view._shown = {"kind": "layer"}
    view._shown = {"kind": "depth", "first": "x", "last": 2}
    assert view.shown == shown
    assert view._drawn == drawn + 2


def test_focus_chooses_a_node_and_shows_its_layer_where_needed(view: GraphView) -> None:
    messages: list = []
    view.send = lambda content, buffers=None: messages.append(content)
    view.focus("multiplier/relu0/Abs_0")
    assert view.selected == "multiplier/relu0/Abs_0"
    assert view._shown == {"kind": "overview"}  # its stand-in is on view
    assert messages == [{"focus": "multiplier/relu0/Abs_0"}]
    view.show(layer="conv0")
    view.focus("relu1")
    assert view._shown == {"kind": "layer", "node": "relu1"}
    view.focus("batch/Shape_0")
    assert view.shown == ["batch/Shape_0"]
    with pytest.raises(InputError, match=r'no node "nothing"; GraphView.*lists all: conv0'):
        view.focus("nothing")
    assert view.selected == "batch/Shape_0"


# Depth --------------------------------------------------------------------------------------------


def test_choosing_a_node_finds_its_cut_and_its_map(profiled: GraphView) -> None:
    assert profiled._profile["cuts"][:2] == ["image", "c0"]
    assert profiled._profile["nodes"][:2] == ["", "conv0"]
    assert profiled._profile["note"].startswith("every sum is output minus base value, +")
    profiled.selected = "relu0"
    assert profiled._cut == 2
    assert (profiled._map["height"], profiled._map["width"]) == (12, 12)
    assert profiled._map["note"] == "12 x 12, sum over 6 channels"
    values = np.frombuffer(profiled._map_values, np.float32)
    assert values.sum() == pytest.approx(profiled._profile["sums"][2], rel=1e-4)
    profiled.selected = "multiplier/conv0/ConvTranspose_0"  # what runs backward through conv0
    assert profiled._cut == 1
    profiled.selected = "batch/Shape_0"
    assert profiled._cut == -1
    assert profiled._map == {}


def test_the_map_of_an_input_has_no_node(profiled: GraphView) -> None:
    profiled._cut, profiled.selected = 0, ""
    assert profiled._map["note"] == "12 x 12, sum over 3 channels"
    profiled._cut = 8
    assert profiled._map["note"] == "5 values"
    assert profiled._map["height"] == 1


# Elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["view", "profiled"])
def test_the_still_picture(name: str, request: pytest.FixtureRequest) -> None:
    data, _ = request.getfixturevalue(name)._repr_mimebundle_()
    assert data["image/png"].startswith("iVBORw0KGgo")
    assert "application/vnd.jupyter.widget-view+json" in data


def test_no_page_from_a_file(view: GraphView, tmp_path: object) -> None:
    with pytest.raises(InputError, match="cannot be written as a page"):
        view.to_html("graph.html")


def test_an_untried_netron_is_told_in_the_cell(
    monkeypatch: pytest.MonkeyPatch, model: onnxshap.Model
) -> None:
    def refuse() -> bytes:
        raise netron_files.NetronError("Netron 10.0 was not tried")

    monkeypatch.setattr(netron_files, "packed", refuse)
    view = GraphView(model)
    assert view._error == "Netron 10.0 was not tried"
    assert not view._netron


def test_served_in_a_frame_of_its_own(
    monkeypatch: pytest.MonkeyPatch, model: onnxshap.Model
) -> None:
    import netron

    asked: list = []

    def stub(name: str, data: bytes, address: tuple[str, int], browse: bool) -> tuple[str, int]:
        asked.extend([name, onnx.load_from_string(data), address, browse])
        return "127.0.0.1", 4321

    monkeypatch.setattr(netron, "serve", stub)
    frame = serve(model, height=300)
    assert (frame.src, frame.height) == ("http://127.0.0.1:4321", 300)
    assert (asked[0], asked[2], asked[3]) == ("model.onnx", ("127.0.0.1", 0), False)
    assert len(asked[1].graph.node) == len(model.proto.graph.node)
