"""Every error and warning onnxshap raises. Each says what, where, and what to do instead."""


class OnnxShapError(Exception):
    """Root of every error onnxshap raises on purpose."""


class ModelFileError(OnnxShapError):
    """The bytes are not a model that can be read safely: wrong format, damaged, or malformed."""


class UnsupportedOpError(OnnxShapError):
    """Operators on the differentiated path have no rule. The message names every such node."""


class UnknownShapeError(OnnxShapError):
    """A rule needs a type, rank or size that cannot be inferred from the file."""


class InputError(OnnxShapError, ValueError):
    """An argument or array does not fit the model: name, rank, size, dtype, value or target."""


class ProviderError(OnnxShapError):
    """An execution provider that was asked for by name was not granted."""


class ExecutionError(OnnxShapError):
    """The runtime failed on the model, or the model's output is not finite."""


class OnnxShapWarning(UserWarning):
    """Root of every warning onnxshap issues."""


class CompletenessWarning(OnnxShapWarning):
    """Attributions miss the output difference by more than tolerance; the message says by what."""
