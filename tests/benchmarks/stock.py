"""Export torchvision's nets and a small MLP, seeded random weights, to the cache folder.

BatchNorm statistics are those of one pass over photo crops, and the last layer is scaled so that
logits differ by about 1 between crops.
"""

import sys

import numpy as np
import torch
from torch import nn

from tests.benchmarks import nets


def model(name: str) -> nn.Module:
    """Return the net ``name`` in torch as its authors wrote it, in eval mode."""
    torch.manual_seed(0)
    some = torch.from_numpy(nets.Task(name, 4).background)
    net = _mlp() if name == nets.MLP else _torchvision(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # running statistics become those of what follows
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        net.train()(some)
        *_, last = (m for m in net.eval().modules() if isinstance(m, nn.Linear))
        last.weight /= net(some).std(0).mean()
    return net


def _mlp() -> nn.Module:
    layers = [nn.Linear(nets.FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def _torchvision(name: str) -> nn.Module:
    # Its compiled part belongs to another build of torch; the nets need none of it, only that
    # these two names exist.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import models

    net: nn.Module = getattr(models, name)(weights=None)
    return net


def export(name: str) -> None:
    """Write the net's ONNX file unless it is there, and compare the two."""
    file = nets.CACHE / f"{name}.onnx"
    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    net, x = model(name), torch.from_numpy(nets.Task(name, 2).background)
    axes = {"input": {0: "N"}, "logits": {0: "N"}}
    part = file.with_suffix(".part")
    torch.onnx.export(
        net, (x,), part, input_names=["input"], output_names=["logits"], dynamic_axes=axes,
        opset_version=18, dynamo=False,
    )  # fmt: skip
    import onnxruntime

    (found,) = onnxruntime.InferenceSession(part).run(None, {"input": x.numpy()})
    expected = net(x).detach().numpy()
    gap = np.abs(found - expected).max() / np.abs(expected).max()
    if not gap < 1e-4:
        raise RuntimeError(f"{name}: ONNX and torch differ by {gap:.1e} of the largest logit")
    part.rename(file)


def main() -> None:
    """Export the nets named on the command line, or all."""
    for name in sys.argv[1:] or [*nets.STOCK, nets.MLP]:
        export(name)


if __name__ == "__main__":
    main()
