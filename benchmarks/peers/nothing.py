"""A server that answers at once, whatever it is asked: what remains is the load itself, and the kernel's sockets.

python -m benchmarks.peers.nothing --port N --answer FILE
"""

import argparse
import asyncio
from pathlib import Path
from typing import cast

import httptools
import uvloop


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self, answer: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        self._answer = head.encode() + answer
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The parser has seen a whole request."""
        self._transport.write(self._answer)


async def serve(port: int, answer: bytes) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Answering(answer), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.answer.read_bytes()))


if __name__ == "__main__":
    main()
