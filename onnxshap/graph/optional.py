"""Optional values, resolved: whether there is an element is known before the run.

`Optional` wraps what `OptionalGetElement` takes out again; either may be given a plain tensor.
"""

import onnx_ir as ir

_MAY_BE_OPTIONAL = {"If", "Loop", "Optional", "Scan"}


def resolve_optionals(graph: ir.Graph) -> None:
    """Replace in place what asks an optional value by an Identity of its element, or a constant.

    One that comes from outside or out of a body stays as it is.
    """
    for node in list(ir.traversal.RecursiveGraphIterator(graph)):
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "OptionalGetElement":
            element, told = _element(node.inputs[0])
            if told and element is not None:
                node.op_type = "Identity"
                node.replace_input_with(0, element)
        elif node.op_type == "OptionalHasElement":
            element, told = _element(node.inputs[0] if node.inputs else None)
            if told:
                node.op_type = "Constant"
                node.resize_inputs(0)
                node.attributes["value"] = ir.AttrTensor("value", ir.tensor(element is not None))


def _element(value: ir.Value | None) -> tuple[ir.Value | None, bool]:
    """The element of an optional value, and whether it is known if there is one."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type == "Identity":
        value = node.inputs[0]
        node = None if value is None else value.producer()
    if value is None:
        return None, True
    if node is not None and node.op_type == "Optional":
        return (node.inputs[0] if node.inputs else None), True
    plain = isinstance(value.type, ir.TensorType) or value.const_value is not None
    computed = node is not None and node.op_type not in _MAY_BE_OPTIONAL
    return value, plain or computed
