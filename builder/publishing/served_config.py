"""`config.pbtxt` as `triton_config` writes it, read again: whether a version could still be served with it."""

import re
from dataclasses import dataclass

from builder.publishing.triton_config import BACKEND_LINES, TENSORRT_ACCELERATOR, Backend

TEXT = r'"(?:[^"\\\n]|\\["\\]|\\[0-7]{3})*"'
PARAMETER = re.compile(rf"parameters \{{ key: ({TEXT}) value \{{ string_value: ({TEXT}) \}} \}}")
NAME = re.compile(rf"name: ({TEXT})")
LINES = (
    NAME,
    PARAMETER,
    re.compile(r"max_batch_size: \d+"),
    re.compile(rf"(?:input|output) \{{ name: {TEXT} data_type: TYPE_[A-Z0-9]+ dims: \[-?\d+(?:, -?\d+)*\] \}}"),
    re.compile(r"instance_group \{ count: \d+(?: kind: KIND_[CG]PU)? \}"),
    re.compile(re.escape(TENSORRT_ACCELERATOR)),
    re.compile(r"dynamic_batching \{.*\}"),
    re.compile(r"version_policy \{ specific \{ versions: \d+ \} \}"),
    *(re.compile(re.escape(line)) for lines in BACKEND_LINES.values() for line in lines.splitlines()),
)
ESCAPE = re.compile(rb"\\([0-7]{3}|.)")


@dataclass(frozen=True, slots=True)
class Config:
    """What a version's files are held against."""

    name: str
    backend: Backend
    contract: str


def config_from_bytes(data: bytes) -> Config | None:
    """Read a whole `config.pbtxt`; None of one with a line that the builder does not write, or without one it does."""
    try:
        lines = data.decode("ascii").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return None
    if not all(any(pattern.fullmatch(line) for pattern in LINES) for line in lines):
        return None
    names = [found[1] for line in lines if (found := NAME.fullmatch(line))]
    contracts = [
        found[2] for line in lines if (found := PARAMETER.fullmatch(line)) and unquoted(found[1]) == "contract"
    ]
    needed = ("max_batch_size", "input", "output", "instance_group", "version_policy")
    is_whole = all(any(line.startswith((f"{start} ", f"{start}:")) for line in lines) for start in needed)
    backends = [backend for backend, written in BACKEND_LINES.items() if set(written.splitlines()) <= set(lines)]
    if not is_whole or len(names) != 1 or len(contracts) != 1 or len(backends) != 1:
        return None
    try:
        return Config(unquoted(names[0]), backends[0], unquoted(contracts[0]))
    except UnicodeDecodeError:
        return None


def unquoted(text: str) -> str:
    """What `triton_config.quoted` wrote."""

    def plain(found: re.Match[bytes]) -> bytes:
        return bytes([int(found[1], 8)]) if len(found[1]) == 3 else found[1]

    return ESCAPE.sub(plain, text[1:-1].encode()).decode()
