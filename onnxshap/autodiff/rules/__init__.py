"""Derivative rules, one file an operator family, in the order of the ONNX operator index."""
