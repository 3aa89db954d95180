"""Models for other programs: ONNX, TorchScript and packages of bioimage.io."""
