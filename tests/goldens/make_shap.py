r"""Write tests/fixtures/shap: small nets as ONNX models, and what shap.DeepExplainer makes of them.

    pip install torch==2.13.0 shap==0.51.0 numpy==2.4.6 onnx==1.23.2
    python tests/goldens/make_shap.py

Weights, samples and references are float32 numbers, everything is computed in float64. Modules are
unique and of kinds that shap knows, windows of max pools lie apart: there shap is right. It stops
where torch and the ONNX model disagree, or where shap's values do not add up.

The same machine writes the same bytes each time; another may round differently in the last place.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import shap
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

TO = Path(__file__).parents[1] / "fixtures" / "shap"
SIDE, CLASSES, EXPLICANDS, REFERENCES = 32, 3, 2, 4
OPSET, IR_VERSION = 20, 9  # the first opset with a Gelu

AGREE = 1e-12, 1e-6  # of the largest output; the second where the evaluator's Erf is float32
COMPLETE = 1e-9  # of the largest difference in output
EPSILON = 2.0**-16  # as every attribute here a number that float32 holds


# Nets ---------------------------------------------------------------------------------------------


def conv_net(activation: Callable[[], nn.Module], *tail: nn.Module) -> nn.Sequential:
    """Two convolutions, one normalised, a max and an average pool, two layers of rows."""
    return nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1),
        nn.BatchNorm2d(5, eps=EPSILON),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, stride=2, padding=1),
        activation(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 12),
        activation(),
        nn.Linear(12, CLASSES),
        *tail,
    )


def pools() -> nn.Sequential:
    """Max pools over values of both signs, padded and straight after one another."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.MaxPool2d(2),
        nn.MaxPool2d((2, 4)),
        nn.Conv2d(6, 6, 3, groups=3),
        nn.MaxPool2d(3, padding=1),
        nn.Flatten(),
        nn.BatchNorm1d(12, eps=EPSILON),
        nn.Tanh(),
        nn.Linear(12, CLASSES),
    )


def line() -> nn.Sequential:
    """Convolutions and pools in one dimension, over the image pixel by pixel."""
    return nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(1, 4, 5, stride=2),
        nn.ReLU(),
        nn.MaxPool1d(3),
        nn.Conv1d(4, 4, 3, dilation=2),
        nn.Sigmoid(),
        nn.AvgPool1d(4),
        nn.Flatten(),
        nn.Linear(164, CLASSES),
    )


def softmax_inside() -> nn.Sequential:
    """A softmax whose outputs are mixed again, and one at the end."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, 10),
        nn.Softmax(1),
        nn.Linear(10, 8),
        nn.Tanh(),
        nn.Linear(8, CLASSES),
        nn.Softmax(1),
    )


def thresholds(activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Inputs of the activation so close together that shap takes its derivative for most."""
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, 10), activation(), nn.Linear(10, CLASSES)
    )
    with torch.no_grad():
        net[1].weight *= 1e-6
        net[1].bias[:5] *= 1e-5  # kinks lie between the two points
        net[3].weight *= 1e6
    return net


def threshold_of_pool() -> nn.Sequential:
    """Inputs of a max pool so close together that shap drops some of what belongs to them."""
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(675, CLASSES))
    with torch.no_grad():
        net[0].weight *= 1e-7
        net[0].bias *= 1e-7
        net[3].weight *= 1e7
    return net


def nets() -> Iterator[tuple[str, nn.Sequential]]:
    """Every net by its file's name."""
    torch.manual_seed(0)
    yield "relu", conv_net(nn.ReLU)
    yield "leaky", conv_net(lambda: nn.LeakyReLU(0.125))
    yield "elu", conv_net(lambda: nn.ELU(0.75))
    yield "gelu", conv_net(nn.GELU)
    yield "sigmoid", conv_net(nn.Sigmoid)
    yield "softplus", conv_net(nn.Softplus)
    yield "tanh", conv_net(nn.Tanh)
    yield "softmax", conv_net(nn.ReLU, nn.Softmax(1))
    yield "softmax_inside", softmax_inside()
    yield "pools", pools()
    yield "line", line()
    yield "small_relu", thresholds(nn.ReLU)
    yield "small_softplus", thresholds(nn.Softplus)
    yield "small_pool", threshold_of_pool()


def calibrated(net: nn.Sequential, x: torch.Tensor) -> nn.Sequential:
    """The net in float64 with float32 numbers, statistics of its normalisations from ``x``."""
    for module in net:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    net.train()(x)
    return net.eval().double()


# ONNX ---------------------------------------------------------------------------------------------


def model_of(net: nn.Sequential) -> onnx.ModelProto:
    """The net in float32, node by node."""
    nodes, held = [], []
    value = "image"
    for i, module in enumerate(net):
        op, settings = node_of(module)
        names = []
        for name, tensor in parameters(module):
            names.append(f"{i}.{name}")
            held.append(numpy_helper.from_array(tensor.numpy(), names[-1]))
        out = "y" if module is net[-1] else f"v{i}"
        nodes.append(helper.make_node(op, [value, *names], [out], f"{op}_{i}", **settings))
        value = out
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])]
        for name, shape in (("image", (1, SIDE, SIDE)), ("y", (CLASSES,)))
    ]
    graph = helper.make_graph(nodes, "net", *ends, held)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def parameters(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Constants of the module's node, in the operator's order."""
    state = module.state_dict()
    if isinstance(module, nn.Flatten) and module.start_dim == 2:
        return [("shape", torch.tensor([0, 0, -1]))]
    order = ["weight", "bias", "running_mean", "running_var"]
    return [(name, state[name].float()) for name in order if name in state]


def node_of(module: nn.Module) -> tuple[str, dict[str, object]]:
    """Operator and attributes of a module."""
    match module:
        case nn.Conv1d() | nn.Conv2d():
            shape = {"kernel_shape": module.kernel_size, "strides": module.stride}
            both = {"pads": module.padding * 2, "dilations": module.dilation}
            return "Conv", {**shape, **both, "group": module.groups}
        case nn.MaxPool1d() | nn.MaxPool2d() | nn.AvgPool1d() | nn.AvgPool2d():
            rank = 1 if isinstance(module, nn.MaxPool1d | nn.AvgPool1d) else 2
            kernel, strides, pads = (
                (v if isinstance(v, tuple) else (v,) * rank)
                for v in (module.kernel_size, module.stride, module.padding)
            )
            op = "MaxPool" if isinstance(module, nn.MaxPool1d | nn.MaxPool2d) else "AveragePool"
            return op, {"kernel_shape": kernel, "strides": strides, "pads": pads * 2}
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return "BatchNormalization", {"epsilon": module.eps}
        case nn.Flatten(start_dim=2):
            return "Reshape", {}
        case nn.Flatten():
            return "Flatten", {"axis": 1}
        case nn.Linear():
            return "Gemm", {"transB": 1}
        case nn.Softmax():
            return "Softmax", {"axis": module.dim}
        case nn.ELU():
            return "Elu", {"alpha": module.alpha}
        case nn.LeakyReLU():
            return "LeakyRelu", {"alpha": module.negative_slope}
    plain = {nn.GELU: "Gelu", nn.ReLU: "Relu", nn.Sigmoid: "Sigmoid", nn.Softplus: "Softplus"}
    return (plain | {nn.Tanh: "Tanh"})[type(module)], {}


def doubled(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in float64."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for held in copy.graph.initializer:
        if held.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(held).astype(np.float64)
            held.CopyFrom(numpy_helper.from_array(array, held.name))
    return copy


# Goldens ------------------------------------------------------------------------------------------


def main() -> None:
    """Write every net and its golden values, and the samples they share."""
    TO.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    x, r = (
        rng.normal(size=(count, 1, SIDE, SIDE)).astype(np.float32)
        for count in (EXPLICANDS, REFERENCES)
    )
    r[0, :, :16] = x[0, :, :16]  # a reference that is half the explicand
    np.savez_compressed(TO / "samples.npz", explicands=x, references=r)
    many = torch.from_numpy(rng.normal(size=(64, 1, SIDE, SIDE)).astype(np.float32))
    x64, r64 = torch.from_numpy(x).double(), torch.from_numpy(r).double()
    for name, net in nets():
        net = calibrated(net, many)
        model = model_of(net)
        outputs = net(x64).detach().numpy()
        gap = np.abs(evaluate(model, x64.numpy()) - outputs).max() / np.abs(outputs).max()
        assert gap < AGREE[name == "gelu"], f"{name}: torch and ONNX differ by {gap:.1e}"
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="unrecognized nn.Module")
            explainer = shap.DeepExplainer(net, r64)
            small = name.startswith("small")
            phi = explainer.shap_values(x64, check_additivity=not small)
        base = net(r64).detach().numpy().mean(0)
        rise = outputs - base
        missing = np.abs(phi.sum((1, 2, 3)) - rise).max() / np.abs(rise).max()
        assert small or missing < COMPLETE, f"{name}: shap's values miss {missing:.1e}"
        onnx.save(model, TO / f"{name}.onnx")
        np.savez_compressed(TO / f"{name}.npz", values=phi, base_values=base, outputs=outputs)
        print(f"{name:16s} {(TO / f'{name}.onnx').stat().st_size:7d} bytes, misses {missing:.1e}")


def evaluate(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Outputs in float64, by ONNX's reference evaluator."""
    (found,) = ReferenceEvaluator(doubled(model)).run(None, {"image": x})
    return found


if __name__ == "__main__":
    main()
