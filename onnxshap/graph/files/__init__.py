"""Read, hash and write model files; what a stranger's file contains can only end in our errors.

A file passes, in this order: ``formats`` (is it ONNX at all), ``protobuf`` (decode), ``preflight``
(our own checks, in pure Python), and only then onnx's checker, in ``read``. With ``isolate``, all
of it happens first in a child process.
"""
