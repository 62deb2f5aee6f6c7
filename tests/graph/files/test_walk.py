import itertools

import numpy as np
from onnx import helper, numpy_helper

from onnxshap.graph.files.walk import tensors
from tests.helpers import hostile, seeds


def test_tensors_are_found_wherever_they_hide():
    proto = seeds.controlled()
    made = itertools.count()

    def add(attributes):
        tensor = numpy_helper.from_array(np.zeros(1), f"planted{next(made)}")
        attributes.append(helper.make_attribute("one", tensor))
        tensor.name = f"planted{next(made)}"
        attributes.append(helper.make_attribute("several", [tensor]))

    add(proto.graph.node[0].attribute)
    add(proto.functions[0].node[0].attribute)
    add(proto.functions[0].attribute_proto)
    add(proto.graph.node[4].attribute[0].g.node[1].attribute)
    hostile._sparse(proto, 4)
    names = {tensor.name for tensor in tensors(proto)}
    assert names >= {f"planted{number}" for number in range(next(made))} | {"s", "trips", "zero"}
