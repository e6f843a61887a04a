"""The ways to a server. Each is opened by every user for itself, or once for all requests of an open loop."""

from collections.abc import Sequence
from typing import Protocol

from loadtest.images import Image
from loadtest.users.answers import Answer


class Door(Protocol):
    """One user's connection."""

    def ask(self, model: str, image: Image) -> tuple[float, Answer]:
        """When the answer had come (`time.monotonic`), and what it is, which takes a moment more to find out.

        Never raises for what the server or the network does.
        """


class Way(Protocol):
    """Opened once a process."""

    def models(self) -> list[str]:
        """Those that can be asked.

        Raises:
            vision.errors.JetserveError: nobody can be asked.
        """

    def prepare(self, models: Sequence[str], images: Sequence[Image]) -> None:
        """Do what can be done before anything is measured.

        Raises:
            vision.errors.JetserveError: a model that cannot be asked.
        """

    def door(self, at_once: int) -> Door:
        """One that takes so many requests at a time."""
