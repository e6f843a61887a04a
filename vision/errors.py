"""Every error that a person or program outside can meet.

    JetserveError
    ├── RequestError                what the caller sent
    │   ├── InvalidImage            invalid_image
    │   ├── InvalidArgument         invalid_argument
    │   ├── UnsupportedMediaType    unsupported_media_type
    │   ├── TooLarge                too_large
    │   ├── Unauthorized            unauthorized
    │   ├── Forbidden               forbidden
    │   ├── UnknownModel            unknown_model
    │   ├── UnknownPath             unknown_path
    │   └── MethodNotAllowed        method_not_allowed
    ├── CapacityError               worth another try later: `retry_after_s`
    │   ├── Overloaded              overloaded
    │   ├── RateLimited             rate_limited
    │   ├── ModelNotReady           model_not_ready
    │   └── BackendUnavailable      backend_unavailable
    ├── DeadlineExceeded            deadline_exceeded
    ├── BackendFailure              backend_failure
    ├── InternalError               internal
    ├── ContractError               a contract that says less or other than serving needs
    └── BuildError                  a conversion or import that must not be published

Leaves with a `kind` travel over the wire as `{"error": kind, "detail": message}`; transports map kinds to their
own status codes, and clients map them back to these classes. A message says what was expected, what came, and
what to do.
"""

from typing import ClassVar


class JetserveError(Exception):
    """The root: catch it to catch everything this project raises on purpose."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class WireError(JetserveError):
    """An error with a stable name on the wire."""

    kind: ClassVar[str]


class RequestError(WireError):
    """The request is at fault; sent again unchanged it fails again."""


class InvalidImage(RequestError):
    """The bytes are no image that can be decoded whole."""

    kind = "invalid_image"


class InvalidArgument(RequestError):
    """A parameter is unknown, of the wrong type, or out of range."""

    kind = "invalid_argument"


class UnsupportedMediaType(RequestError):
    """The content type, or the format of the bytes, is not served."""

    kind = "unsupported_media_type"


class TooLarge(RequestError):
    """More bytes or pixels than the server takes."""

    kind = "too_large"


class Unauthorized(RequestError):
    """No credentials, or wrong ones."""

    kind = "unauthorized"


class Forbidden(RequestError):
    """Credentials that do not reach this far."""

    kind = "forbidden"


class UnknownModel(RequestError):
    """No model of that name or version; the message lists what there is."""

    kind = "unknown_model"


class UnknownPath(RequestError):
    """No endpoint at that path."""

    kind = "unknown_path"


class MethodNotAllowed(RequestError):
    """An endpoint, but not with that method."""

    kind = "method_not_allowed"


class CapacityError(WireError):
    """Nothing is wrong with the request: send it again after `retry_after_s`."""

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Overloaded(CapacityError):
    """Every permit, or the model's queue, is taken."""

    kind = "overloaded"


class RateLimited(CapacityError):
    """The caller's own allowance is used up."""

    kind = "rate_limited"


class ModelNotReady(CapacityError):
    """The model exists and does not serve: it is loading, failed to load, or has no valid contract."""

    kind = "model_not_ready"


class BackendUnavailable(CapacityError):
    """Triton cannot be reached."""

    kind = "backend_unavailable"


class DeadlineExceeded(WireError):
    """The answer was not ready in time."""

    kind = "deadline_exceeded"


class BackendFailure(WireError):
    """Triton answered, with a failure or with something the contract rules out."""

    kind = "backend_failure"


class InternalError(WireError):
    """A fault of this project's own; the log holds the traceback."""

    kind = "internal"


class ContractError(JetserveError):
    """A contract that is incomplete, contradicts itself, or does not fit its model."""


class BuildError(JetserveError):
    """A step of a conversion or import failed; nothing was published."""

    def __init__(self, step: str, detail: str) -> None:
        super().__init__(f"{step}: {detail}")
        self.step = step


def wire_errors() -> dict[str, type[WireError]]:
    """Every kind that can stand on the wire, with its class."""

    def leaves(cls: type[WireError]) -> list[type[WireError]]:
        below = cls.__subclasses__()
        return [leaf for sub in below for leaf in leaves(sub)] if below else [cls]

    return {leaf.kind: leaf for leaf in leaves(WireError)}
