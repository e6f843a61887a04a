"""What conversion cost: AP or top-k of the source, of the published ONNX and of the running server, in one table."""
