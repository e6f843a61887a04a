"""What somebody writes in an afternoon: FastAPI, tritonclient, float tensors in gRPC messages.

    uvicorn benchmarks.peers.plain_gateway:app --port N

PEER_TRITON is Triton's host:port, PEER_MODEL the model's name there.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import cv2
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from tritonclient.grpc.aio import InferenceServerClient, InferInput, InferRequestedOutput

from benchmarks.peers.network import INPUT, OUTPUTS, batch_from_photos, boxes_from_outputs

MODEL = os.environ["PEER_MODEL"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One connection for all requests."""
    cv2.setNumThreads(1)
    async with InferenceServerClient(os.environ["PEER_TRITON"]) as app.state.triton:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/ready")
async def ready() -> JSONResponse:
    """200 once Triton has the model."""
    return JSONResponse(None, 200 if await app.state.triton.is_model_ready(MODEL) else 503)


@app.post("/predict")
async def predict(request: Request) -> JSONResponse:
    """Boxes of people on the photo that is the body."""
    batch, [placed] = await asyncio.to_thread(batch_from_photos, [await request.body()])
    tensor = InferInput(INPUT, list(batch.shape), "FP32")
    tensor.set_data_from_numpy(batch)
    answer = await app.state.triton.infer(MODEL, [tensor], outputs=[InferRequestedOutput(name) for name in OUTPUTS])
    dets, label_ids = (answer.as_numpy(name)[0] for name in OUTPUTS)
    return JSONResponse(boxes_from_outputs(dets, label_ids, placed))
