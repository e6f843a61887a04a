"""`python -m gateway.worker NUMBER CHANNEL`: one of several processes that serve on one port.

Started by `workers`, from which it gets HTTP's connections on CHANNEL, a Unix socket that it was born with. The
settings are in the environment, as for `python -m gateway`.
"""

import asyncio
import socket
import sys
from contextlib import suppress

import uvicorn

from gateway.exposition import count_as
from gateway.http_server import Server, config_from_settings
from gateway.logs import log_to_stderr
from gateway.memory import keep_freed_memory
from gateway.settings import settings_from_environment


def main() -> int:
    number, descriptor = map(int, sys.argv[1:])
    settings = settings_from_environment()
    count_as(number)
    keep_freed_memory()
    log_to_stderr(settings.log_level, f"worker {number}")
    with suppress(KeyboardInterrupt), socket.socket(fileno=descriptor) as channel:
        server = WorkerServer(config_from_settings(settings), channel, settings.drain_s)
        server.run(sockets=[])
    return 0 if server.started else 1


class WorkerServer(Server):
    """Serves the connections that it is handed, and listens for none."""

    def __init__(self, config: uvicorn.Config, channel: socket.socket, drain_s: float) -> None:
        super().__init__(config, drain_s)
        self._channel = channel
        self._beginning: set[asyncio.Task[object]] = set()
        channel.setblocking(False)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._channel, self._take)
        self._channel.send(b".")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        await super().shutdown(sockets)

    def _take(self) -> None:
        loop = asyncio.get_running_loop()
        message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        if not message:  # whoever started this one has ended
            loop.remove_reader(self._channel)
            self.should_exit = True
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn makes them itself
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


if __name__ == "__main__":
    sys.exit(main())
