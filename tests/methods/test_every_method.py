"""What holds for every method and every small model."""

import numpy as np
import onnx
import pytest

from onnxshap import Explainer, Explanation
from onnxshap.methods import ExpectedGradients, IntegratedGradients, Method, SmoothGrad, named
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.models import Arrays

METHODS: dict[str, Method] = {
    "expected_gradients": ExpectedGradients(samples=2),
    "gradient": named("gradient"),
    "input_x_gradient": named("input_x_gradient"),
    "integrated_gradients": IntegratedGradients(steps=6),
    "random": named("random"),
    "smoothgrad": SmoothGrad(samples=3),
}

pytestmark = pytest.mark.filterwarnings("ignore::onnxshap.CompletenessWarning")  # of six steps


def explainer(name: str, model: onnx.ModelProto, memory: int | None = None) -> Explainer:
    method = METHODS[name]
    references = {k: a for k, a in models.samples(model, 2, seed=1).items() if a.dtype.kind == "f"}
    dims = model.graph.output[0].type.tensor_type.shape.dim
    target = (1, 2, 3) if len(dims) == 4 else "top1"
    background = references if method.needs_background else None
    return Explainer(model, background, method=method, target=target, max_memory=memory)


def arrays(explained: Explanation) -> Arrays:
    found = explained.attributions
    return found if isinstance(found, dict) else {"": found}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", models.SUPPORTED)
def test_explicands_together_equal_one_by_one(name: str, method: str) -> None:
    model = models.SUPPORTED[name]()
    x = models.samples(model, 3)
    explain = explainer(method, model)
    together = arrays(explain(x))
    alone = [arrays(explain({k: a[i : i + 1] for k, a in x.items()})) for i in range(3)]
    for source, array in together.items():
        close(array, np.concatenate([a[source] for a in alone]), 1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["cnn", "two_inputs", "side_input", "no_batch", "mlp"])
def test_small_memory_gives_the_same_numbers(name: str, method: str) -> None:
    model = models.SUPPORTED[name]()
    x = models.samples(model, 7)
    plain, tight = (arrays(explainer(method, model, memory)(x)) for memory in (None, 2**12))
    for source, array in plain.items():
        close(tight[source], array, 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_no_explicands_give_arrays_of_the_right_shape(method: str, cnn: onnx.ModelProto) -> None:
    found = explainer(method, cnn)(models.samples(cnn, 2)["image"][:0])
    assert found.attributions.shape == (0, 3, 12, 12)
    assert found.complete


@pytest.mark.parametrize("method", METHODS)
def test_siblings_of_other_targets(method: str, cnn: onnx.ModelProto, x: np.ndarray) -> None:
    explain = explainer(method, cnn)
    several = explain.with_target([0, 3])(x).attributions
    for k, target in enumerate((0, 3)):
        close(explain.with_target(target)(x).attributions, several[:, k], 1e-5)
