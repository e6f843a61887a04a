"""What a request may ask for beside the answer."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from clients.echo import quoted
from clients.options import ADAPTER, Options, options_from_values
from vision.errors import InvalidArgument

SCHEMAS: dict[str, dict[str, Any]] = ADAPTER.json_schema()["properties"]
"""The JSON schema of each option."""


NONE = Options()


def options_from_query(pairs: Sequence[tuple[str, str]], beside: Sequence[str] = ()) -> Options:
    """Options from a query as it came, in which a name may stand twice.

    `beside` are the names of parameters that were taken out before, for the message that lists all.

    Raises:
        InvalidArgument: such a name, and what `options_from_parameters` refuses.
    """
    if not pairs:
        return NONE
    times = Counter(name for name, _ in pairs)
    if repeated := [name for name in times if times[name] > 1]:
        raise InvalidArgument(f"the parameter {quoted(repeated[0])} is there {times[repeated[0]]} times; give it once")
    return options_from_parameters(dict(pairs), beside)


def options_from_parameters(parameters: Mapping[str, str], beside: Sequence[str] = ()) -> Options:
    """Options from the words of a query or of request parameters; `beside` as above.

    Raises:
        InvalidArgument: an unknown name, with the known ones, or a wrong value.
    """
    for name in parameters:
        if name not in SCHEMAS:
            known = [*SCHEMAS, *beside]
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            raise InvalidArgument(f"there is no parameter {quoted(name)}; {hint}The parameters are: {', '.join(known)}")
    return options_from_values(parameters)
