"""What the frameworks' environment exported, as a `Source`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from builder.archive import MAX_TEXT_BYTES, file_from_path
from builder.recipes.parts import Part
from builder.source import Source
from vision.contract import Head, Step
from vision.errors import BuildError

MODEL, DESCRIPTION = "model.onnx", "source.json"


class Description(Part):
    """`source.json`: the fields of `Source` but for the ONNX."""

    name: str
    task: Literal["detection", "classification"]
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    input_name: str
    layout: Literal["NHWC", "NCHW"]
    preprocess: tuple[Step, ...]
    postprocess: Head
    precision: Literal["fp32", "fp16", "int8"]
    tools: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


def source_from_job(folder: Path) -> Source:
    """Read `model.onnx` and `source.json`, which a worker's `export` wrote.

    Raises:
        BuildError: a file that is not there, or fields that are missing, unknown or wrong: the exporter is at fault.
    """
    try:
        described = Description.model_validate_json(file_from_path(folder / DESCRIPTION, MAX_TEXT_BYTES))
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise BuildError("export", f"the exporter described its ONNX wrongly, please report it: {problems}") from exc
    fields = {name: getattr(described, name) for name in Description.model_fields}
    return Source(onnx=file_from_path(folder / MODEL), **fields)
