"""The OpenMMLab recipes, exported and run by their own frameworks, against the same models as they will be served."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from builder.frameworks.job import Answer, Job
from tests.frameworks.jobs import NEEDS_FRAMEWORKS, ROOT, ends_of, odd_photos
from tests.frameworks.served import MAX_PIXELS, Served, on_photo
from vision.decode import image_from_bytes

pytestmark = list(NEEDS_FRAMEWORKS)
RECIPES = ("balloon-rtmdet", "fruit-mobilenetv2", "garbage-efficientnet", "garbage-efficientnet-centercrop")
CLEAR, FAINT = 0.3, 0.1
SCORE = 1e-3
AT_THE_EDGE = ROOT / "recipes/photos/colours.jpg"
"""RTMDet sees balloons here that overlap by more than its threshold in the picture, and by less beyond its edge."""


@dataclass(frozen=True)
class Both:
    """A recipe's model as it is served, and its framework's answers."""

    recipe: str
    out: Path
    served: Served
    answers: dict[Path, Answer]


def _job(recipe: str, out: Path, photos: tuple[Path, ...] = ()) -> Job:
    folder = ROOT / "recipes" / recipe
    source = yaml.safe_load((folder / "recipe.yaml").read_text())["source"]
    config = str((folder / source["config"]).resolve())
    checkpoint = (folder / source["checkpoint"]["file"]).resolve()
    command = "infer" if photos else "export"
    return Job(command, "openmmlab", {"config": config}, out, checkpoint, photos=photos, score_floor=FAINT)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=RECIPES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp(request.param)
    photos = (*odd_photos(folder / "photos"), ROOT / "tests/assets/balloons.jpg", AT_THE_EDGE)
    export, infer = _job(request.param, folder / "export"), _job(request.param, folder / "infer", photos)
    assert ends_of(folder, export, infer) == [None, None]
    answers = {photo: Answer.load(infer.out / f"{number:05}.npz") for number, photo in enumerate(photos)}
    return Both(request.param, export.out, Served(export.out), answers)


def test_pixels_are_the_frameworks_own(both: Both) -> None:
    """The steps read from the training configuration make the tensor that the framework feeds its network, exactly."""
    for photo, answer in both.answers.items():
        tensor = both.served.tensor(photo)
        assert tensor.shape == answer.tensor.shape
        assert np.abs(tensor - answer.tensor).max() == 0, photo.name


def test_answers_are_the_frameworks_own(both: Both) -> None:
    """Probabilities, or boxes with their scores and labels, agree on every photo."""
    for photo, answer in both.answers.items():
        if answer.probabilities is not None:
            assert both.served.probabilities(photo) == pytest.approx(answer.probabilities, abs=SCORE)
            continue
        expected = on_photo(answer, photo, 1)
        clear = int((expected.scores > CLEAR).sum())
        found = both.served.detections(photo, FAINT)
        assert found.scores[:clear] == pytest.approx(expected.scores[:clear], abs=SCORE)
        assert found.boxes_xyxy[:clear] == pytest.approx(expected.boxes_xyxy[:clear], abs=0.1)
        assert found.label_ids[:clear].tolist() == expected.label_ids[:clear].tolist()
        assert len(found) == clear or found.scores[clear] < CLEAR + SCORE


def test_the_sdk_bundle_lies_beside(both: Both) -> None:
    """mmdeploy's own bundle is written too, but where its SDK lacks the transform."""
    files = {path.name for path in (both.out / "sdk").iterdir()}
    assert {"end2end.onnx", "labels.txt"} <= files
    assert ("pipeline.json" in files) is (both.recipe != "garbage-efficientnet-centercrop")


def test_thresholds_are_the_trainings(both: Both) -> None:
    """A detector's suppression is that of its test_cfg; a classifier's softmax stands in the graph."""
    head = json.loads((both.out / "source.json").read_text())["postprocess"]
    if head["head"] == "mmdet":
        assert head == {
            "head": "mmdet",
            "boxes": "dets",
            "label_ids": "labels",
            "score_threshold": 0.001,
            "max_detections": 300,
        }
        detail = json.loads((both.out / "sdk/detail.json").read_text())
        assert detail["codebase_config"]["post_processing"]["iou_threshold"] == 0.65
    else:
        assert head["activation"] == "none"


def test_random_weights_are_drawn_alike(tmp_path: Path) -> None:
    """Export and inference of a job without a checkpoint use the same weights; another seed draws others."""
    config = {"config": str(ROOT / "recipes/fruit-mobilenetv2/mobilenet_v2_160.py")}
    [photo] = odd_photos(tmp_path / "photos")[:1]
    jobs = [
        Job("export", "openmmlab", config, tmp_path / "export", None, seed=3),
        Job("infer", "openmmlab", config, tmp_path / "infer", None, seed=3, photos=(photo,)),
        Job("infer", "openmmlab", config, tmp_path / "other", None, seed=4, photos=(photo,)),
    ]
    assert ends_of(tmp_path, *jobs) == [None, None, None]
    served = Served(tmp_path / "export").probabilities(photo)
    same, other = (Answer.load(tmp_path / name / "00000.npz").probabilities for name in ("infer", "other"))
    assert same is not None
    assert other is not None
    assert served == pytest.approx(same, abs=1e-5)
    assert np.abs(served - other).max() > 1e-4


def test_sdk_agrees_where_it_can(both: Both, tmp_path: Path) -> None:
    """`mmdeploy_runtime` gives the same on the bundle, for a photo that its cruder resize leaves alone."""
    mmdeploy_runtime = pytest.importorskip("mmdeploy_runtime", reason="has wheels for x86-64 and Python 3.11 alone")
    if not (both.out / "sdk/pipeline.json").exists():
        pytest.skip("the SDK lacks EfficientNetCenterCrop")
    edges = [step.edge for step in both.served.source.preprocess if step.op == "resize_shorter_edge"]
    photo = ROOT / "tests/assets/balloons.jpg"
    image = image_from_bytes(photo.read_bytes(), max_pixels=MAX_PIXELS)
    if edges:  # mmdeploy exports of ResizeEdge neither library nor interpolation
        image = np.asarray(cv2.resize(image, (edges[0] + 32, edges[0])), np.uint8)
        photo = tmp_path / "photo.png"
        cv2.imwrite(str(photo), image)
        classifier = mmdeploy_runtime.Classifier(model_path=str(both.out / "sdk"), device_name="cpu", device_id=0)
        [(label, score), *_] = classifier(image)
        probabilities = both.served.probabilities(photo)
        assert label == probabilities.argmax()
        assert score == pytest.approx(probabilities.max(), abs=SCORE)
    else:
        detector = mmdeploy_runtime.Detector(model_path=str(both.out / "sdk"), device_name="cpu", device_id=0)
        dets, labels, _ = detector(image)
        kept = dets[:, 4] > CLEAR
        found = both.served.detections(photo, CLEAR)
        assert found.boxes_xyxy == pytest.approx(dets[kept, :4], abs=0.1)
        assert found.scores == pytest.approx(dets[kept, 4], abs=SCORE)
        assert found.label_ids.tolist() == labels[kept].tolist()
