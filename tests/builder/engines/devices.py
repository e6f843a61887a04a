"""Recorded devices, and many jobs on one."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.tensorrt_api.device import ROOT

MANY = ROOT / "tests" / "tensorrt_api" / "many.py"
Answer = dict[str, Any]


class Bench:
    """One version's answers to many jobs, in a process that has begun with the first question."""

    def __init__(self, version: str, python: Path, folder: Path) -> None:
        self.version = version
        self.release = tuple(map(int, version.split(".")))[:2]
        self.folder = folder
        self._python = python
        self._jobs: dict[str, Mapping[str, Any]] = {}
        self._answers: dict[str, Answer] = {}

    def add(self, name: str, job: Mapping[str, Any]) -> None:
        self._jobs[name] = job

    def path(self, name: str) -> Path:
        return self.folder / name

    def __getitem__(self, name: str) -> Answer:
        if not self._answers:
            jobs, answers = self.folder / "jobs.json", self.folder / "answers.json"
            jobs.write_text(json.dumps(list(self._jobs.values())))
            command: list[str | Path] = [self._python, "-I", MANY, jobs, answers]
            done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            self._answers = dict(zip(self._jobs, json.loads(answers.read_text()), strict=True))
        return self._answers[name]

    def header(self, name: str) -> Answer:
        """How an engine was built: the flags, types and limits that TensorRT was given."""
        data = self.path(f"{name}.plan").read_bytes()
        header: Answer = json.loads(data.split(b"\n")[1])
        return header
