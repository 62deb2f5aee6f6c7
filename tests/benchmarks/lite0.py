"""EfficientNet-Lite0: the explainer and its one-shot file beside the floor.

The floor is one forward run of explicand and references in bare onnxruntime, same threads, same
process: no explanation can be cheaper. Contenders alternate; medians of five.
"""

import platform
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

import onnxshap
from onnxshap.demo import assets
from tests.benchmarks.timing import bare, providers, seconds


def row(references: int, folder: Path, asked: list[str]) -> str:
    """One line of the table."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, 224, 224)).astype(np.float32) / 2
    background = rng.standard_normal((references, 3, 224, 224)).astype(np.float32) / 2
    path = assets() / "efficientnet_lite0.onnx"
    explainer = onnxshap.Explainer(path, background, target=282, providers=asked)
    explainer.export(folder / "explained.onnx")
    forward = ort.InferenceSession(path, providers=bare(asked))
    file = ort.InferenceSession(folder / "explained.onnx", providers=bare(asked))
    both = np.concatenate([x, background])
    found = seconds(
        {
            "floor": lambda: forward.run(None, {"input": both}),
            "explainer": lambda: explainer(x),
            "file": lambda: file.run(None, {"input": x}),
        }
    )
    floor = found["floor"]
    cells = [f"{references}", f"{floor:.3f}"]
    cells += [f"{found[n]:.3f} ({found[n] / floor:.1f}x)" for n in ("explainer", "file")]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    asked = providers()
    print(
        f"onnxshap {onnxshap.__version__}, onnxruntime {ort.__version__}, {platform.platform()}, "
        f"{asked[0]}"
    )
    print("\n| references | floor, s | explainer | one-shot file |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for references in (1, 10, 50):
            print(row(references, Path(folder), asked), flush=True)


if __name__ == "__main__":
    main()
