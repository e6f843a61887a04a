"""TensorRT engines, as the builder asks for them: what an engine step must do, and the one that does it."""
