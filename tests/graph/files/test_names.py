import pytest

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.preflight import preflight
from tests.helpers import seeds


def test_messages_keep_a_strangers_name_to_one_short_line():
    name = "a\nb\x1b[31m" + "z" * 10_000
    proto = seeds.model([seeds.node("Relu", "ghost", "y", name)])
    with pytest.raises(ModelFileError, match=r"node \"a\\nb\\x1b") as caught:
        preflight(proto, None)
    assert len(str(caught.value)) < 300
