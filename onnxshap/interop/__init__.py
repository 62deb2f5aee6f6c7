"""Other packages' forms of what onnxshap has. Each is loaded when it is asked for."""
