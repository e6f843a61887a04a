"""Sizes that are free: an engine is built for a range of each, and somebody must say which."""

from collections.abc import Iterator
from dataclasses import dataclass

from builder.lint.finding import Finding
from builder.lint.network import Network


@dataclass(frozen=True, slots=True)
class Profile:
    """The range of batches that the engine is to be built for, as the contract has it: 1 to `max_batch`."""

    max_batch: int


def findings(network: Network, profile: Profile | None) -> Iterator[Finding]:
    for value in network.inputs():
        if not value.type.tensor_type.HasField("shape"):
            yield Finding("fail", f"input {value.name!r}", "its shape is not known at all", "export it with shapes")
            continue
        sides = value.type.tensor_type.shape.dim
        free = [str(side.dim_param or index) for index, side in enumerate(sides) if not side.dim_value]
        is_batch = bool(sides) and not sides[0].dim_value
        if is_batch and profile is None:
            yield Finding(
                "warn",
                f"input {value.name!r}",
                f"its batch ({free[0]}) is free, and no profile says from where to where",
                "say it with --max-batch, or lint the recipe or the built model, whose contract says it",
            )
        if others := free[1:] if is_batch else free:
            yield Finding(
                "fail",
                f"input {value.name!r}",
                f"{', '.join(others)} may be of any size, and an engine is built here for one size",
                "export with fixed height and width",
            )
        if profile is not None and not is_batch and sides and profile.max_batch > sides[0].dim_value:
            yield Finding(
                "fail",
                f"input {value.name!r}",
                f"its batch is fixed at {sides[0].dim_value}, and up to {profile.max_batch} are to be served",
                "export with a free batch, or say serve.max_batch in the recipe",
            )
