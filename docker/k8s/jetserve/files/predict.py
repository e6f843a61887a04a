"""What `helm test` runs: a photo is answered over HTTP, and gRPC says that it is ready."""

import os
import sys

import numpy as np
from tritonclient.grpc import InferenceServerClient

from clients import GatewayClient

photo = np.zeros((480, 640, 3), np.uint8)
with GatewayClient(os.environ["HTTP"]) as gateway:
    ready = [model.name for model in gateway.models() if model.ready]
    if not ready:
        sys.exit("no model is ready: is there one in the repository? GET /v1/models says what is missing")
    model = os.environ["MODEL"] or ready[0]
    result = gateway.predict(photo, model=model)
grpc_ready = InferenceServerClient(os.environ["GRPC"]).is_server_ready()
print(f"{model}: answered in {result.timings_ms['total']:.1f} ms; gRPC is {'' if grpc_ready else 'not '}ready")  # noqa: T201
sys.exit(0 if grpc_ready else 1)
