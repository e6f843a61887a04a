"""The errors of `websockets` in this project's words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed, InvalidProxy, InvalidURI, WebSocketException

from clients.addresses import DEFAULT_URL
from clients.stream.connection import Refused
from clients.wire import Reply, error_from_reply
from vision.errors import BackendFailure, BackendUnavailable, DeadlineExceeded, InvalidArgument, JetserveError, TooLarge

MESSAGE_TOO_BIG = 1009
SERVICE_RESTART = 1012
AT_ONCE_S = 0.0
"""What is not there does not say when to come back."""


@contextmanager
def translated(url: str, timeout_s: float, hide: Callable[[str], str] = str) -> Iterator[None]:
    """Turn whatever websockets raises, and a deadline that passes, into our errors; `hide` what the other side said.

    `CapacityError` and `DeadlineExceeded` are worth another attempt, the others are not.
    """
    try:
        yield
    except Refused as exc:
        raise _refused(exc, hide) from exc
    except ConnectionClosed as exc:
        raise _closed(url, exc, hide) from None  # which has the reason as it came
    except TimeoutError as exc:
        raise DeadlineExceeded(f"no answer from {url} within {timeout_s:g} s; is the gateway busy?") from exc
    except OSError as exc:
        raise BackendUnavailable(
            f"there is no gateway at {url} ({exc}); start one with `make run`, or give the address of another",
            AT_ONCE_S,
        ) from exc
    except (InvalidURI, InvalidProxy) as exc:
        raise InvalidArgument(f"{url!r} is no address of a gateway ({exc}); it looks like {DEFAULT_URL}") from exc
    except WebSocketException as exc:  # a handshake that broke, or was none
        raise BackendUnavailable(
            f"{url} did not open a stream ({hide(repr(exc))}); is this a gateway, and does a proxy before it let"
            " WebSockets through?",
            AT_ONCE_S,
        ) from None


def _refused(exc: Refused, hide: Callable[[str], str]) -> JetserveError:
    response = exc.response
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    error = error_from_reply(Reply(response.status_code, headers, bytes(response.body or b""), hide))
    if isinstance(error, BackendFailure) and response.status_code in (502, 504):
        return BackendUnavailable(error.detail)  # a proxy whose gateway is away for now
    return error


def _closed(url: str, exc: ConnectionClosed, hide: Callable[[str], str]) -> JetserveError:
    received = exc.rcvd
    reason = hide(received.reason) if received is not None else ""
    if received is not None and received.code == MESSAGE_TOO_BIG:
        return TooLarge(f"a frame is larger than the gateway takes ({reason}); send a smaller one")
    if received is not None and received.code == SERVICE_RESTART:
        return BackendUnavailable(f"the gateway at {url} was stopped", AT_ONCE_S)
    said = f"{received.code} {reason}".strip() if received is not None else "without a word"
    return BackendUnavailable(f"the connection to {url} broke ({said})", AT_ONCE_S)
