"""X-Gradient beside one forward run, Integrated Gradients and DeepSHAP of the zero reference.

The nets are stripped of their biases and certified. Forward is bare onnxruntime on the same images,
same threads, same process. Contenders alternate; medians of five, of two for the 128 steps of IG.
The last column is the paper's mean absolute relative difference (arXiv 2111.07668, table 1).
"""

import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

import onnxshap
from onnxshap.graph.model import Model
from onnxshap.methods import IntegratedGradients
from tests.benchmarks.timing import bare, providers, seconds
from tests.helpers import light

STEPS = 128
FIXTURES = Path(__file__).parents[1] / "fixtures" / "xdnn"


def nets() -> Iterator[tuple[str, Model, str, int]]:
    """Names, models without biases, the names of their logits, and how many images to take."""
    yield "X-MNIST (28 px, 64 images)", onnxshap.load(FIXTURES / "x_mnist.onnx"), "logits", 64
    for name in ("squeezenet", "resnet50", "vgg19"):
        net = light.drawn(name)
        model = onnxshap.xdnn.strip_bias(net.model, output=net.logits)
        yield f"X-{name} (224 px)", model, net.logits, 1


def session(model: str | bytes, asked: list[str]) -> ort.InferenceSession:
    """Bare onnxruntime, as a user would make it; its threads rest while others run."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model, options, providers=bare(asked))


def row(name: str, model: Model, logits: str, images: int, folder: Path, asked: list[str]) -> str:
    """One line of the table."""
    assert onnxshap.xdnn.certify(model, output=logits).ok
    source = model.proto.graph.input[0]
    sizes = [d.dim_value for d in source.type.tensor_type.shape.dim[1:]]
    x = np.random.default_rng(0).standard_normal((images, *sizes)).astype(np.float32)
    zero = np.zeros_like(x[:1])

    def explainer(method: object, references: np.ndarray | None) -> onnxshap.Explainer:
        return onnxshap.Explainer(
            model, references, method=method, target=0, output=logits, providers=asked
        )

    one = explainer("x_gradient", None)
    integral, shap = explainer(IntegratedGradients(STEPS), zero), explainer("deepshap", zero)
    one.export(folder / "x.onnx")
    plain = session(model.proto.SerializeToString(), asked)
    file = session(str(folder / "x.onnx"), asked)
    feeds = {source.name: x}
    found = seconds(
        {
            "forward": lambda: plain.run(None, feeds),
            "x_gradient": lambda: one(x),
            "file": lambda: file.run(None, feeds),
            "deepshap": lambda: shap(x),
        }
    )
    found |= {"ig": seconds({"ig": lambda: integral(x)}, 2)["ig"]}
    own, forward = found["x_gradient"], found["forward"]
    exact, summed = one(x).attributions, integral(x).attributions
    gap = np.abs(exact - summed).mean() / np.abs(summed).mean()
    cells = [name, f"{forward * 1e3:.1f}"]
    cells += [f"{found[n] * 1e3:.1f} ({found[n] / forward:.1f}x)" for n in ("x_gradient", "file")]
    cells += [f"{found['deepshap'] / own:.1f}x", f"{found['ig'] / own:.0f}x", f"{gap:.3%}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    asked = providers()
    print(
        f"onnxshap {onnxshap.__version__}, onnxruntime {ort.__version__}, onnx {onnx.__version__}, "
        f"{platform.platform()}, {asked[0]}\n"
    )
    print(
        "| net | forward, ms | X-Gradient, ms (forwards) | one-shot file "
        f"| DeepSHAP (0) / X-Gradient | IG({STEPS}) / X-Gradient | difference from IG |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, model, logits, images in nets():
        with tempfile.TemporaryDirectory() as folder:
            print(row(name, model, logits, images, Path(folder), asked), flush=True)


if __name__ == "__main__":
    main()
