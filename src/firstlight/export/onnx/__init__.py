"""Export to ONNX: one file that takes a picture of any size and returns probabilities and a class activation map."""
