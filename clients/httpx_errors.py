"""httpx's errors in this project's words."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from clients.addresses import DEFAULT_URL
from vision.errors import BackendUnavailable, DeadlineExceeded, InvalidArgument


@contextmanager
def translated(url: str, timeout_s: float, hide: Callable[[str], str] = str) -> Iterator[None]:
    """Turn whatever httpx raises, and a deadline that passes, into our errors; `hide` what a server said meanwhile."""
    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as exc:
        raise DeadlineExceeded(f"no answer from {url} within {timeout_s:g} s; is the gateway busy?") from exc
    except httpx.ConnectError as exc:
        raise BackendUnavailable(
            f"there is no gateway at {url} ({_reason(exc)}); start one with `make run`, or give the address of another"
        ) from exc
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
        raise InvalidArgument(f"{url!r} is no address of a gateway ({exc}); it looks like {DEFAULT_URL}") from exc
    except (httpx.HTTPError, httpx.StreamError) as exc:
        said = hide(repr(exc))
        raise BackendUnavailable(f"the connection to {url} broke ({said}); send the request again") from None


def _reason(exc: BaseException) -> str:
    """What the operating system said; what stands on it says no more than that every attempt failed."""
    while (cause := exc.__cause__ or exc.__context__) is not None:
        exc = cause.exceptions[-1] if isinstance(cause, BaseExceptionGroup) else cause
    if isinstance(exc, ConnectionError) and exc.errno is not None:  # asyncio puts the address in place of the reason
        return f"{os.strerror(exc.errno)}: {exc.strerror}"
    return str(exc)
