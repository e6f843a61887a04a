"""gRPC: the Open Inference Protocol's service, health and reflection around the same core as HTTP."""
