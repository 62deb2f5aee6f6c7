"""The onnx wheel's nine ``light_*`` nets: real architectures of opset 9, without real weights.

As they come, all but the smallest weights are ConstantOfShape nodes that make 0.02 everywhere.
`drawn` puts seeded random weights in their place, so that outputs differ between classes.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from tests.helpers.models import run

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = [
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
]
IMAGE = (1, 3, 224, 224)
LOGIT_STD = 2.0
_MOVES = ("Reshape", "Unsqueeze")


@dataclass(frozen=True)
class Light:
    """One of the nets."""

    model: ModelProto
    logits: str
    """Name of the value before the Softmax, or of the output where there is none."""
    biases: tuple[str, ...] = ()
    """Names of the weights that are added, means of normalisations among them, in a drawn net."""

    @property
    def image(self) -> str:
        """Name of the input [1, 3, 224, 224]."""
        held = {i.name for i in self.model.graph.initializer}
        return str(next(i.name for i in self.model.graph.input if i.name not in held))


@cache
def as_it_is(name: str) -> Light:
    """The net with all weights 0.02."""
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph = model.graph
    softmax = [n for n in graph.node if n.op_type == "Softmax"]
    return Light(model, softmax[-1].input[0] if softmax else graph.output[0].name)


def drawn(name: str, seed: int = 0) -> Light:
    """The net with He-scaled normal weights, small biases, and logits of standard deviation 2.

    What normalisations divide by and multiply with lies between 0.5 and 1.5.
    """
    bare = as_it_is(name)
    model, rng = ModelProto(), np.random.default_rng(seed)
    model.CopyFrom(bare.model)
    graph = model.graph
    roles = _roles(graph)
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer if i.data_type == 7}
    kept = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    weights = {}
    for filled in (n for n in graph.node if n.op_type == "ConstantOfShape"):
        output, sizes = filled.output[0], shapes[filled.input[0]].tolist()
        weights[output] = _draw(rng, roles[output], sizes).astype(np.float32)
    last = [n for n in kept if n.op_type in ("Conv", "Gemm")][-1]
    unscaled = _with(model, kept, weights)
    light = Light(unscaled, bare.logits)
    image = {light.image: rng.normal(size=IMAGE).astype(np.float32)}
    logits = run(unscaled, image, output=bare.logits)[bare.logits]
    made_by = {n.output[0]: n for n in kept if n.op_type in _MOVES}
    for weight in last.input[1:]:  # what follows the last layer keeps a common factor
        while weight in made_by:
            weight = made_by[weight].input[0]
        weights[weight] = weights[weight] * np.float32(LOGIT_STD / logits.std())
    whole = _with(model, kept, weights)
    biases = tuple(i.name for i in whole.graph.initializer if roles.get(i.name) == "bias")
    return Light(whole, bare.logits, biases)


def _roles(graph: onnx.GraphProto) -> dict[str, str]:
    """What weights are for: "outputs first", "inputs first", "factor" or "bias"."""
    roles: dict[str, str] = {}
    for node in reversed(graph.node):
        if node.op_type in _MOVES and node.output[0] in roles:
            roles[node.input[0]] = roles[node.output[0]]
        elif node.op_type in ("Conv", "Gemm"):
            turned = any(a.name == "transB" and a.i for a in node.attribute)
            conv = node.op_type == "Conv" or turned
            roles[node.input[1]] = "outputs first" if conv else "inputs first"
            roles |= dict.fromkeys(node.input[2:], "bias")
        elif node.op_type == "BatchNormalization":
            roles |= dict.fromkeys((node.input[1], node.input[4]), "factor")
            roles |= dict.fromkeys(node.input[2:4], "bias")
        elif node.op_type in ("Add", "Mul"):  # of a computed value and a weight
            roles |= dict.fromkeys(node.input, "bias" if node.op_type == "Add" else "factor")
    return roles


def _draw(rng: np.random.Generator, role: str, sizes: list[int]) -> np.ndarray:
    if role == "factor":
        return rng.uniform(0.5, 1.5, sizes)
    if role == "bias":
        return 0.1 * rng.normal(size=sizes)
    outer = next(k for k, size in enumerate(sizes) if size > 1)  # [1, 1, M, C] is to be reshaped
    fan_in = sizes[0] if role == "inputs first" else np.prod(sizes[outer + 1 :])
    return np.sqrt(2 / fan_in) * rng.normal(size=sizes)


def _with(model: ModelProto, nodes: list[NodeProto], weights: dict[str, np.ndarray]) -> ModelProto:
    """The model with other nodes, and weights besides the initializers it has."""
    changed = ModelProto()
    changed.CopyFrom(model)
    changed.ir_version = 4  # the first in which initializers need not be inputs as well
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    tensors = [numpy_helper.from_array(a, name) for name, a in weights.items()]
    changed.graph.initializer.extend(tensors)
    used = {name for n in nodes for name in n.input}
    inputs = [i for i in changed.graph.input if i.name in used]
    held = [i for i in changed.graph.initializer if i.name in used]
    del changed.graph.input[:], changed.graph.initializer[:]
    changed.graph.input.extend(inputs)
    changed.graph.initializer.extend(held)
    return changed
