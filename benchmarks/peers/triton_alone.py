"""Triton without a gateway: the pixels lie ready in shared memory, and every user has a slot of its own.

python -m benchmarks.peers.triton_alone --triton HOST:PORT --photo FILE --boxes 3 --users 8 --out counted.json
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks.peers import load
from benchmarks.peers.network import Box
from benchmarks.peers.window import Counted, Window
from clients.triton.client import TritonClient
from clients.triton.regions import Region, layout_from_contract
from gateway.segments import Owner
from vision.contract import Contract
from vision.decode import image_from_bytes
from vision.errors import WireError
from vision.heads import Detections, detections_from_outputs
from vision.transforms import Preprocessor

MODEL = "person"
MAX_PIXELS = 10_000_000
TIMEOUT_S = 30.0

Ask = Callable[[], Awaitable[Detections]]


@asynccontextmanager
async def asking(triton: TritonClient, contract: Contract, photo: bytes, owner: Owner) -> AsyncIterator[Ask]:
    """A way to ask about `photo`, whose pixels are written into a slot once."""
    layout = layout_from_contract(contract, 1)
    if layout is None:
        raise ValueError(f"{MODEL} takes images of any size: expected a fixed one, for slots of shared memory")
    segment = owner.segment(layout.nbytes)
    batch = segment.memory[: layout.batch_nbytes].reshape(1, *contract.input.shape)
    _, geometry = Preprocessor(contract)(image_from_bytes(photo, max_pixels=MAX_PIXELS), batch[0])
    await triton.register_region(segment.name, len(segment.memory))
    region = Region(segment.name, segment.memory, layout)

    async def ask() -> Detections:
        answer = await triton.infer(MODEL, "", contract, batch, timeout_s=TIMEOUT_S, region=region)
        return detections_from_outputs(contract, answer.outputs, [geometry])[0]

    yield ask
    await triton.unregister_region(segment.name)


@asynccontextmanager
async def slots(address: str) -> AsyncIterator[tuple[TritonClient, Contract, Owner]]:
    """A connection, the model's contract, and what makes slots, which are gone in the end."""
    owner = Owner.here()
    try:
        async with TritonClient(address) as triton:
            [contract] = [model.contract for model in await triton.models() if model.name == MODEL and model.contract]
            yield triton, contract, owner
    finally:
        owner.close()


async def boxes(address: str, photo: bytes) -> list[Box]:
    """What Triton finds."""
    async with slots(address) as (triton, contract, owner), asking(triton, contract, photo, owner) as ask:
        found = await ask()
    rows = zip(found.label_ids.tolist(), found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True)
    return [{"label": contract.labels[label], "score": score, "box": box} for label, score, box in rows]


async def users(options: argparse.Namespace) -> Counted:
    """All users' answers; one with another number of boxes is a failure."""
    photo = options.photo.read_bytes()
    async with slots(options.triton) as (triton, contract, owner), AsyncExitStack() as stack:
        asks = [await stack.enter_async_context(asking(triton, contract, photo, owner)) for _ in range(options.users)]
        window = Window(options.warmup, options.seconds)
        await asyncio.gather(*(user(ask, options.boxes, window) for ask in asks))
    return window.counted


async def user(ask: Ask, expected: int, window: Window) -> None:
    while not window.is_over():
        asked_s = time.perf_counter()
        try:
            right = len(await ask()) == expected
        except WireError:
            right = False
        if right:
            window.answered(asked_s)
        else:
            window.failed()


def main() -> None:
    parser = load.parser(__doc__)
    parser.add_argument("--triton", required=True, help="host:port of its gRPC")
    options = parser.parse_args()
    asyncio.run(users(options)).write(options.out)


if __name__ == "__main__":
    main()
