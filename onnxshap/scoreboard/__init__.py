"""The scoreboard: how much of ONNX's own operator test suite is differentiated, and explained.

``python -m onnxshap.scoreboard`` prints it. Nothing of the library needs it.
"""
