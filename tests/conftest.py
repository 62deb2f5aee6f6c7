"""The small CNN most tests explain, and samples for it."""

import numpy as np
import onnx
import pytest

from tests.helpers import models


@pytest.fixture(scope="session")
def cnn() -> onnx.ModelProto:
    return models.cnn()


@pytest.fixture(scope="module")
def x(cnn: onnx.ModelProto) -> np.ndarray:
    return models.samples(cnn, 3)["image"]
