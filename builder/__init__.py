"""From a trained network to a model that Triton serves: read, checked, folded, verified, published."""
