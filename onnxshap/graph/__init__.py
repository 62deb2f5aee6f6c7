"""Read, normalise and analyse ONNX graphs; build and split them."""
