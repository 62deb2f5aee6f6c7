"""A stranger's names: refuse what is not text, and show the rest in one short printable line."""

from typing import Any

from onnx import ModelProto, NodeProto, TensorProto

from onnxshap.errors import ModelFileError

_TENSOR_FIELDS = [
    kind
    for kind in TensorProto.DESCRIPTOR.fields
    if kind.type == kind.TYPE_STRING or kind.message_type is not None
]


def printable(text: str) -> str:
    """Spell a text in printable characters, on one line."""
    return text if text.isprintable() else ascii(text)[1:-1]


def short(text: str, limit: int = 80) -> str:
    """Cut a text to a limit and make it printable."""
    return printable(text if len(text) <= limit else text[: limit - 3] + "...")


def quote(name: str) -> str:
    """Put a name in quotes, cut and printable."""
    return f'"{short(name)}"'


def describe(node: NodeProto) -> str:
    """Name a node for a message."""
    domain = domain_name(node.domain)
    kind = short(f"{domain}::{node.op_type}" if domain else node.op_type)
    if node.name:
        return f"node {quote(node.name)} ({kind})"
    output = next((name for name in node.output if name), "")
    return f"the {kind} node that makes {quote(output)}"


def domain_name(domain: str) -> str:
    """Spell the standard domain one way."""
    return "" if domain == "ai.onnx" else domain


def check_text(model: ModelProto) -> None:
    """Refuse names that are not UTF-8: protobuf hands them out as bytes, or raises, by version."""
    todo: list[Any] = [model]
    while todo:
        message = todo.pop()
        if isinstance(message, TensorProto):  # ListFields would copy its data
            fields = [(kind, getattr(message, kind.name)) for kind in _TENSOR_FIELDS]
        else:
            fields = message.ListFields()
        for kind, value in fields:
            values = value if kind.is_repeated else (value,)
            if kind.message_type is not None:
                todo.extend(values)
            elif kind.type == kind.TYPE_STRING:
                for text in values:
                    if not isinstance(text, str):
                        raise ModelFileError(
                            f"the {kind.name} {short(repr(text))} of a {type(message).__name__} "
                            "is not UTF-8 text: the file is damaged; copy or export it again"
                        )
