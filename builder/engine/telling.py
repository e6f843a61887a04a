"""The lines of standard output."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO


class Telling:
    """One JSON line a message, on a stream that libraries which print do not reach."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @classmethod
    def instead_of_stdout(cls) -> Telling:
        """Keep standard output for this, and send what everybody else prints there to standard error."""
        own = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        return cls(own)

    def progress(self, fraction: float | None, text: str) -> None:
        self._line({"progress": fraction, "text": text})

    def result(self, fields: dict[str, Any]) -> None:
        self._line({"result": fields})

    def error(self, kind: str, detail: str) -> None:
        self._line({"error": {"kind": kind, "detail": detail}})

    def _line(self, value: dict[str, Any]) -> None:
        self._stream.write(json.dumps(value) + "\n")
        self._stream.flush()
