"""What float16 and int8 cost on each recipe's evaluation photos, beside float32, all on ONNX Runtime's CPU provider.

    python -m builder build recipes/*/ --repository REPOSITORY          # the float32 networks
    .venv/dev/bin/python -m benchmarks.precision --repository REPOSITORY --out benchmarks/results/precision.json

Scales come from the recipe's calibration photos; those that it is evaluated on are never among them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from benchmarks import record
from builder.build import Order, calibration_photos
from builder.calibration import Calibration, calibration_from_photos
from builder.evaluate.data import dataset_from_settings
from builder.evaluate.metrics import HEADLINES, figures
from builder.evaluate.samples import Dataset
from builder.evaluate.sides import GraphSide
from builder.graphs.overflow import MEASURED
from builder.graphs.precision import with_fp16, with_int8
from builder.progress import Progress
from builder.publishing.publication import served
from builder.recipes.parts import Precision
from builder.recipes.photos import data_root
from builder.recipes.recipe import Recipe, recipe_from_folder
from builder.verify import Side

RECIPES = (
    "balloon-rtmdet",
    "fruit-mobilenetv2",
    "garbage-efficientnet",
    "garbage-efficientnet-centercrop",
    "object-resnet18",
    "plate-ssd-mobilenet",
)
MOST_PHOTOS = 100
"""To calibrate on: more moved no figure here, and take their time."""


def converted(recipe: Recipe, side: Side) -> Iterator[tuple[Precision, Side, Calibration | None, list[str]]]:
    """The float32 network, and what the builder makes of it, each with what it was measured on and the notes."""
    yield "fp32", side, None, []
    model = onnx.load_model_from_string(side.model)
    photos = calibration_photos(Order(recipe, precision="int8"), Progress())
    for precision in ("fp16", "int8"):
        limit = MEASURED if precision == "fp16" else MOST_PHOTOS
        calibration = calibration_from_photos(photos, side.contract, limit=limit)
        convert, notes = (with_fp16 if precision == "fp16" else with_int8), list[str]()
        made = convert(model, calibration, on_note=notes.append)
        yield precision, Side(made.SerializeToString(), side.contract), calibration, notes


def measured(side: Side, dataset: Dataset) -> dict[str, float | None]:
    """The figures of `python -m builder evaluate`, side `onnx`."""
    with Progress(lambda name, text: None, None, None).step("onnx") as step:
        answers = {sample.name: found for sample, found in GraphSide("onnx", side, "").answers(dataset.samples, step)}
    return figures(dataset, side.contract.labels, answers)


def costs(recipe: Recipe, repository: Path) -> dict[str, Any]:
    """One recipe's part of the record."""
    if recipe.evaluation is None:
        return {}
    dataset = dataset_from_settings(recipe.evaluation, data_root())
    _, side = served(repository, recipe.name)
    found: dict[str, Any] = {}
    for precision, network, calibration, notes in converted(recipe, side):
        values = measured(network, dataset)
        found[precision] = {
            "megabytes": round(len(network.model) / 1e6, 2),
            "measured_on": len(calibration or ()),
            "notes": notes,
            "figures": {name: None if value is None else round(value, 4) for name, value in values.items()},
        }
        print(f"{recipe.name:20} {precision} {values[HEADLINES[dataset.task]]:.3f}", flush=True)
    return {"photos": len(dataset.samples), "data_sha256": dataset.fingerprint, "precisions": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repository", type=Path, required=True, help="where the float32 networks were published")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = {
        name: costs(recipe_from_folder(record.ROOT / "recipes" / name), options.repository) for name in options.recipes
    }
    record.write(options.out, {"benchmark": "precision", "recipes": found})


if __name__ == "__main__":
    main()
