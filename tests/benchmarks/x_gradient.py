"""X-Gradient beside one forward run, Integrated and Expected Gradients, and DeepSHAP.

The nets are stripped of their biases and certified. Forward is bare onnxruntime on the same images,
same threads, same process. Contenders alternate; medians of 25, of five for what takes several
times as long, of two for the 128 steps of IG.
The last column is the paper's mean absolute relative difference (arXiv 2111.07668, table 1).
"""

import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import onnxshap
from onnxshap.graph.model import Model
from onnxshap.methods import ExpectedGradients, IntegratedGradients
from tests.benchmarks.timing import bare, providers, seconds
from tests.helpers import light

STEPS = 128
REFERENCES = 32
"""Of Expected Gradients: as many as reach X-Gradient's quality as a prior in the paper, 4.3."""
FIXTURES = Path(__file__).parents[1] / "fixtures" / "xdnn"


@dataclass(frozen=True)
class Net:
    """A model without biases, the name of its logits, and how many images to take."""

    name: str
    model: Model
    logits: str
    images: int = 1


def nets() -> Iterator[Net]:
    """One small net that was trained, three large ones with random weights."""
    small = onnxshap.load(FIXTURES / "x_mnist.onnx")
    yield Net("X-MNIST (28 px, 64 images)", small, "logits", 64)
    for name in ("squeezenet", "resnet50", "vgg19"):
        net = light.drawn(name)
        model = onnxshap.xdnn.strip_bias(net.model, output=net.logits)
        yield Net(f"X-{name} (224 px)", model, net.logits)


def session(model: str | bytes, asked: list[str]) -> ort.InferenceSession:
    """Bare onnxruntime, as a user would make it; its threads rest while others run."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model, options, providers=bare(asked))


def measure(net: Net, folder: Path, asked: list[str]) -> dict[str, Any]:
    """Seconds by contender, and the difference from Integrated Gradients."""
    assert onnxshap.xdnn.certify(net.model, output=net.logits).ok
    source = net.model.proto.graph.input[0]
    sizes = [d.dim_value for d in source.type.tensor_type.shape.dim[1:]]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((net.images, *sizes)).astype(np.float32)
    drawn = rng.standard_normal((REFERENCES, *sizes)).astype(np.float32)
    zero = np.zeros_like(x[:1])

    def explainer(method: object, references: np.ndarray | None) -> onnxshap.Explainer:
        return onnxshap.Explainer(
            net.model, references, method=method, target=0, output=net.logits, providers=asked
        )

    one = explainer("x_gradient", None)
    integral, shap = explainer(IntegratedGradients(STEPS), zero), explainer("deepshap", zero)
    expected = explainer(ExpectedGradients(), drawn)
    one.export(folder / "x.onnx")
    plain = session(net.model.proto.SerializeToString(), asked)
    file = session(str(folder / "x.onnx"), asked)
    feeds = {source.name: x}
    found = seconds(
        {
            "forward": lambda: plain.run(None, feeds),
            "x_gradient": lambda: one(x),
            "file": lambda: file.run(None, feeds),
        },
        25,
    )
    found |= seconds(
        {
            "deepshap": lambda: shap(x),
            "expected_gradients": lambda: expected(x),
        }
    )
    found |= {"ig": seconds({"ig": lambda: integral(x)}, 2)["ig"]}
    exact, summed = one(x).attributions, integral(x).attributions
    gap = float(np.abs(exact - summed).mean() / np.abs(summed).mean())
    return {"net": net.name, "seconds": found, "difference": gap}


HEAD = [
    "net",
    "forward, ms",
    "X-Gradient, ms (forwards)",
    "one-shot file",
    "DeepSHAP (0) / X-Gradient",
    f"EG({REFERENCES}) / X-Gradient",
    f"IG({STEPS}) / X-Gradient",
    "difference from IG",
]


def cells(measured: dict[str, Any]) -> list[str]:
    """One line of the table."""
    found = measured["seconds"]
    own, forward = found["x_gradient"], found["forward"]
    line = [measured["net"], f"{forward * 1e3:.1f}"]
    line += [f"{found[n] * 1e3:.1f} ({found[n] / forward:.1f}x)" for n in ("x_gradient", "file")]
    line += [f"{found['deepshap'] / own:.1f}x", f"{found['expected_gradients'] / own:.0f}x"]
    return [*line, f"{found['ig'] / own:.0f}x", f"{measured['difference']:.3%}"]


def main() -> None:
    """Print the table."""
    asked = providers()
    print(
        f"onnxshap {onnxshap.__version__}, onnxruntime {ort.__version__}, onnx {onnx.__version__}, "
        f"{platform.platform()}, {asked[0]}\n"
    )
    print("| " + " | ".join(HEAD) + " |\n" + "| --- " * len(HEAD) + "|")
    for net in nets():
        with tempfile.TemporaryDirectory() as folder:
            print("| " + " | ".join(cells(measure(net, Path(folder), asked))) + " |", flush=True)


if __name__ == "__main__":
    main()
