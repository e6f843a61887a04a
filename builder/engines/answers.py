"""What the engine program says, in our own types."""

from typing import Any, TypeVar

from builder.engines.jobs import KINDS, Built, Described, EngineError, Tensor

T = TypeVar("T", Built, Described, Tensor)


def described_from_result(fields: dict[str, Any]) -> Described:
    return _from_fields(Described, fields)


def built_from_result(fields: dict[str, Any]) -> Built:
    tensors = {key: tuple(map(_tensor, fields.get(key, ()))) for key in ("inputs", "outputs")}
    return _from_fields(Built, {**fields, **tensors, "notes": tuple(fields.get("notes", ()))})


def error_from_answer(fields: dict[str, Any]) -> EngineError:
    kind, detail = fields.get("kind"), str(fields.get("detail", "no detail"))
    return EngineError(kind if kind in KINDS else "internal", detail)


def _tensor(fields: dict[str, Any]) -> Tensor:
    return _from_fields(Tensor, {**fields, "shape": tuple(fields["shape"])})


def _from_fields(cls: type[T], fields: dict[str, Any]) -> T:
    try:
        return cls(**fields)
    except (TypeError, KeyError) as exc:
        raise EngineError("internal", f"the engine program's answer does not fit: {exc}") from exc
