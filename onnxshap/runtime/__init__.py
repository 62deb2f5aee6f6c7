"""Run graphs with onnxruntime: providers, sessions that can be stopped, bounded memory."""
