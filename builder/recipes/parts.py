"""The parts that recipes and the settings of sources are made of."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationInfo,
    model_validator,
)

from builder.recipes.labels import problem_of_label
from vision.contract import MAX_BATCH, Decode, Fraction
from vision.serving import MAX_INSTANCES, MAX_THREADS

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["cpu", "onnxruntime", "jetson"]
"""What Triton runs it with: its Python backend, its ONNX Runtime backend, or an engine that a Jetson builds of it."""
NotNegative = Annotated[float, Field(ge=0)]
NEAR_TIE = 0.02
"""Probabilities that differ by less name two classes equally well."""


class Part(BaseModel):
    """A part of a recipe: unknown fields are errors, and nothing is changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    """The path made absolute, where the reader of a recipe says which folder it is relative to."""
    if info.context is None:
        return path
    whole: Path = (info.context / path).resolve()
    if not whole.exists():
        raise ValueError(f"{path} does not exist in {info.context}")
    return whole


RecipePath = Annotated[Path, AfterValidator(_beside_the_recipe)]
"""A file or folder, written relative to its recipe; absolute and seen to exist once the recipe has been read."""

MAX_RESULTS = 10_000
"""Of boxes or classes an image."""


def _label(label: str) -> str:
    if (problem := problem_of_label(label)) is not None:
        raise ValueError(f"a label {problem}")
    return label.strip()


Label = Annotated[str, AfterValidator(_label)]
LabelSettings = Annotated[
    Annotated[RecipePath, Tag("file")] | Annotated[tuple[Label, ...], Field(min_length=1), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "file"),
]
"""Labels in the order of their ids: a file with one a line, or a list; held to the same in both."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CheckpointFile(Part):
    """A file beside the recipe. Its name's last eight hex digits, where it has them, must be its SHA-256's first."""

    file: str
    sha256: Sha256 | None = None


class CheckpointUrl(Part):
    """Fetched once into a cache, and used only with this SHA-256."""

    url: str
    sha256: Sha256


class CheckpointPackage(Part):
    """A file inside an installed Python package of the frameworks' environment: `package` and `file` within it."""

    package: str
    file: str
    sha256: Sha256


class CheckpointRandom(Part):
    """Random weights from a seed: for what can be converted, and not for what can be found in a photo."""

    random: int


def _kind_of_checkpoint(value: Any) -> str | None:
    names = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return next((f"of {kind}" for kind in ("package", "url", "random", "file") if kind in names), None)


Checkpoint = Annotated[
    Annotated[CheckpointFile, Tag("of file")]
    | Annotated[CheckpointUrl, Tag("of url")]
    | Annotated[CheckpointPackage, Tag("of package")]
    | Annotated[CheckpointRandom, Tag("of random")],
    Discriminator(
        _kind_of_checkpoint,
        custom_error_type="checkpoint",
        custom_error_message="expected one of file, url, package and random in it",
    ),
]


class Serve(Part):
    """How the model is to be served; None leaves it to the source."""

    score_threshold: Fraction | None = None
    max_detections: Annotated[int, Field(ge=1, le=MAX_RESULTS)] | None = None
    top_k: Annotated[int, Field(ge=1, le=MAX_RESULTS)] | None = None
    max_batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = None
    instances: Annotated[int, Field(ge=1, le=MAX_INSTANCES)] | None = None
    threads: Annotated[int, Field(ge=0, le=MAX_THREADS)] | None = None
    decode: Decode | None = None
    """`fast`: large JPEGs are scaled down while they are decoded; `evaluate --sides onnx,fast` tells its cost."""


class Tolerance(Part):
    """How far the published model may be from its source's own inference, on every image.

    A detector needs `iou` and `unmatched`, a classifier `top_k`: `builder.parity.needed` says so before anything is
    compared.
    """

    pixels: NotNegative
    """Largest difference of the preprocessed tensor, on the 0-255 scale."""
    outputs: NotNegative | None = None
    """Largest difference of raw outputs, relative to the output's own largest value; None compares none."""
    score: NotNegative
    """Largest difference of the score of matched boxes, or of probabilities."""
    iou: Fraction | None = None
    """Least overlap of matched boxes."""
    unmatched: Annotated[int, Field(ge=0)] | None = None
    """Boxes of an image that may lack a partner, on either side, among those above `score_threshold` + `score`.

    Only where a better box of the same label on the other side explains it by its suppression; others may never.
    """
    top_k: PositiveInt | None = None
    """So many first classes must be the same, in order, but for those whose probabilities are within `near_tie`."""
    tie: NotNegative | None = None
    """Classes whose probabilities in the source differ by no more may change places; None: see `near_tie`."""
    agreement: Fraction | None = None
    """Least share of images whose first class is the same, for int8; None: of all. Only with `top_k: 1`."""

    @property
    def near_tie(self) -> float:
        """`tie`, or `score` where that is less than is worth a name."""
        return min(self.score, NEAR_TIE) if self.tie is None else self.tie

    @model_validator(mode="after")
    def _agreement_is_of_the_first(self) -> Self:
        if self.agreement is not None and self.top_k != 1:
            raise ValueError("agreement is the share of images whose first class is the same: it needs top_k: 1")
        return self


class Parity(Part):
    """The gate. `images` are patterns relative to the recipe."""

    images: Annotated[tuple[str, ...], Field(min_length=1)]
    tolerances: dict[Precision, Tolerance]
