"""A WebSocket's handshake with headers of the caller's."""

import logging
from dataclasses import replace

from websockets.asyncio.client import ClientConnection
from websockets.datastructures import Headers, HeadersLike
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

WITHOUT_HEADERS = logging.getLogger("websockets.client.without_headers")
"""What `websockets` logs to where headers are given: its lines for debugging have those of the handshake."""
WITHOUT_HEADERS.addFilter(lambda record: record.levelno > logging.DEBUG)


class Refused(Exception):  # noqa: N818 - what the gateway did
    """The handshake was answered with another status than 101."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the handshake was answered with {response.status_code}")
        self.response = response


class Connection(ClientConnection):
    """Follows no redirect, as requests do not: `websockets` would, and take headers along to another host."""

    async def handshake(
        self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = None
    ) -> None:
        """With a `Host` in place of the address's, not beside it.

        Raises:
            Refused: a redirect, or any other answer.
        """
        headers = Headers(additional_headers or {})
        if host := headers.pop("Host", None):
            uri = self.protocol.uri  # of the handshake alone: the connection is there
            self.protocol.uri = replace(uri, host=host, port=443 if uri.secure else 80)  # whose port is not written
        try:
            await super().handshake(headers, user_agent_header)
        except InvalidStatus as exc:
            raise Refused(exc.response) from exc
