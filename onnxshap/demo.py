"""The demo: what a classifier makes of two photos, and of each compared with what.

Output is for people: this module prints.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import onnxshap
from onnxshap.errors import ExecutionError, InputError
from onnxshap.explanation import Explanation

if TYPE_CHECKING:
    from PIL.Image import Image

    from onnxshap.plot.comparison import Subject

MODEL = "efficientnet_lite0.onnx"
PHOTOS = ("chelsea.png", "coffee.png")
SIZE = 224
TOLERANCE = 1e-5
"""What any pixel of the one-shot file may differ by, relative to the largest attribution."""


def run(out: Path) -> None:
    """Explain the bundled photos; write ``demo.png`` and ``explained.onnx``; print a report.

    Parameters
    ----------
    out : Path
        Folder to write into; it is made where it is missing.

    Raises
    ------
    InputError
        If pillow or matplotlib is not installed, or the bundled files are missing.
    ExecutionError
        If the one-shot file disagrees with the explainer.
    """
    began = time.perf_counter()
    _require("PIL", "matplotlib")
    from onnxshap.plot.comparison import Comparison, Subject, draw

    folder, out = assets(), Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into {out}: {error.strerror}") from error
    names = (folder / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    print(f"onnxshap {onnxshap.__version__} on EfficientNet-Lite0, two photos, CPU\n")
    model = onnxshap.load(folder / MODEL)
    print(_indent(str(onnxshap.check(model))))

    pictures = [load_photo(folder / file) for file in PHOTOS]
    cropped = [centre(picture) for picture in pictures]
    explicands = preprocess(cropped)
    explainer = onnxshap.Explainer(
        model, blurred(cropped[0]), target="top3", providers=["CPUExecutionProvider"]
    )
    probabilities = softmax(_logits(folder / MODEL, explicands))
    subjects = []
    for i, file in enumerate(PHOTOS):
        other = 1 - i
        sets = {
            "9 blurred copies of it": blurred(cropped[i]),
            f"9 crops of {PHOTOS[other]}": crops(pictures[other]),
            "one grey picture": np.zeros_like(explicands[:1]),
        }
        comparisons = [
            Comparison(
                name,
                (references.transpose(0, 2, 3, 1) * 128 + 127) / 255,
                explainer.with_background(references)(explicands[i : i + 1], per_reference=True),
            )
            for name, references in sets.items()
        ]
        photo = np.asarray(cropped[i]) / 255.0
        subjects.append(Subject(file, photo, probabilities[i], comparisons))
        print("\n" + report(subjects[-1], names))
    print("\nstandard error: over the references, of single values, as a share of the attributions")

    figure = draw(
        subjects,
        names,
        title="Which pixels make it a cat, or an espresso? It depends on what you compare with",
        subtitle="EfficientNet-Lite0 on two photos: DeepSHAP attributions of the three likeliest "
        "classes, against three sets of references",
    )
    figure.savefig(out / "demo.png")
    print(f"\nfigure         {out / 'demo.png'}")
    expected = subjects[0].comparisons[0].explanation
    difference = one_shot(explainer, out / "explained.onnx", explicands[:1], expected)
    print(f"one-shot file  {out / 'explained.onnx'}")
    print(f"               run by onnxruntime alone it differs by {difference:.1e} of the largest")
    print(f"               attribution (allowed: {TOLERANCE:.0e})")
    print(f"\n{time.perf_counter() - began:.0f} s")


def assets() -> Path:
    """Return the folder of the bundled model and photos: of the installed package, or a checkout.

    Raises
    ------
    InputError
        If neither is there.
    """
    here = Path(__file__).resolve().parent
    places = (here / "assets", here.parent / "notebooks" / "assets")
    for place in places:
        if (place / MODEL).is_file():
            return place
    raise InputError(f"the demo's {MODEL} is missing; reinstall onnxshap, or run from a checkout")


# --- photos and references -----------------------------------------------------------------------


def load_photo(path: Path) -> "Image":
    """Read a photo as RGB, its shorter side resized to 256 pixels."""
    from PIL import Image

    with Image.open(path) as file:
        photo = file.convert("RGB")
    scale = SIZE / 0.875 / min(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    return photo.resize(size, Image.Resampling.BICUBIC)


def centre(photo: "Image") -> "Image":
    """Cut the central square."""
    left, top = (photo.width - SIZE) // 2, (photo.height - SIZE) // 2
    return photo.crop((left, top, left + SIZE, top + SIZE))


def preprocess(pictures: "Sequence[Image]") -> np.ndarray:
    """Turn pictures into the model's input, float32 [N, 3, 224, 224], about -1 to 1."""
    pixels = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
    return np.ascontiguousarray((pixels.transpose(0, 3, 1, 2) - 127) / 128)


def blurred(picture: "Image", count: int = 9) -> np.ndarray:
    """Blur a picture with radii of 4 to 48 pixels."""
    from PIL import ImageFilter

    radii = np.geomspace(4, 48, count)
    return preprocess([picture.filter(ImageFilter.GaussianBlur(float(r))) for r in radii])


def crops(photo: "Image") -> np.ndarray:
    """Cut nine squares from a photo: three sizes at three places, every other one mirrored."""
    from PIL import Image, ImageOps

    found: list[Image.Image] = []
    for share in (1.0, 0.75, 0.5):
        side = round(min(photo.size) * share)
        for place in (0.0, 0.5, 1.0):
            left, top = round((photo.width - side) * place), round((photo.height - side) * place)
            cut = photo.crop((left, top, left + side, top + side))
            cut = cut.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            found.append(ImageOps.mirror(cut) if len(found) % 2 else cut)
    return preprocess(found)


# --- the report ----------------------------------------------------------------------------------


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits [N, classes]."""
    grown = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(grown / grown.sum(-1, keepdims=True))


def report(subject: "Subject", names: Sequence[str]) -> str:
    """Write the classes with their probabilities, then one line a reference set and class."""
    lines = [subject.name]
    targets = subject.comparisons[0].explanation.targets[0]
    for target in targets:
        lines.append(f"  {subject.probabilities[target]:6.1%}  class {target}, {names[target]}")
    head = ("compared with", "class", "base value", "output", "residual", "standard error")
    lines.append(f"  {head[0]:<25}{head[1]:>6}{head[2]:>12}{head[3]:>10}{head[4]:>11}{head[5]:>17}")
    for comparison in subject.comparisons:
        found = comparison.explanation
        assert found.base_values is not None
        assert found.residual is not None
        errors = found.relative_standard_error()
        for k, target in enumerate(found.targets[0]):
            error = "one reference" if errors is None else f"{100 * errors[0, k]:.0f} %"
            lines.append(
                f"  {comparison.name if k == 0 else '':<25}{target:>6}"
                f"{found.base_values[0, k]:>+12.3f}{found.outputs[0, k]:>+10.3f}"
                f"{found.residual[0, k]:>+11.1e}{error:>17}"
            )
    return "\n".join(lines)


def one_shot(
    explainer: onnxshap.Explainer, path: Path, explicand: np.ndarray, expected: Explanation
) -> float:
    """Export, run the file by onnxruntime alone, and compare with what the explainer found.

    Returns the largest difference relative to the largest attribution.
    """
    import onnxruntime

    explainer.export(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = dict(
        zip(
            [o.name for o in session.get_outputs()],
            session.run(None, {name: explicand}),
            strict=True,
        )
    )
    if not np.array_equal(found["target"], expected.targets):
        raise ExecutionError(f"{path.name} explains other classes than the explainer")
    assert isinstance(expected.attributions, np.ndarray)
    gap = np.abs(found[f"{name}/attribution"] - expected.attributions).max()
    difference = float(gap / np.abs(expected.attributions).max())
    if not difference <= TOLERANCE:
        raise ExecutionError(
            f"{path.name} differs from the explainer by {difference:.1e} of the largest "
            f"attribution; {TOLERANCE:.0e} is allowed"
        )
    return difference


def _logits(path: Path, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())


def _require(*packages: str) -> None:
    for package in packages:
        try:
            __import__(package)
        except ImportError as error:
            raise InputError(
                f'the demo needs {package}, which is not installed: pip install "onnxshap[lab]"'
            ) from error
