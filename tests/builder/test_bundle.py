import contextlib
import copy
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder import archive
from builder.source import Wishes
from builder.sources.bundle import source_from_bundle
from tests.builder.networks import STRETCH, documents, write_bundle
from vision.contract import ClassifierHead, MmdetHead
from vision.errors import BuildError

Bundle = Callable[..., Path]


def refused(path: Path, step: str, *parts: str, wishes: Wishes | None = None) -> None:
    with pytest.raises(BuildError) as caught:
        source_from_bundle(path, wishes or Wishes())
    assert caught.value.step == step, caught.value
    for part in parts:
        assert part in caught.value.detail


def zipped(folder: Path, path: Path, top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for entry in folder.iterdir():
            file.write(entry, top + entry.name)
    return path


@pytest.mark.parametrize("top", ["", "balloon-sdk/"])
def test_a_zip_reads_like_its_folder(bundle_with: Bundle, tmp_path: Path, top: str) -> None:
    """A bundle may come as a zip, its files at the top or in one folder; macOS' shadow files do not disturb."""
    folder = bundle_with()
    path = zipped(folder, tmp_path / "bundle.zip", top)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__MACOSX/._deploy.json", b"x")
        file.writestr("__MACOSX/deploy.json", b"x")
    came, expected = source_from_bundle(path, Wishes()), source_from_bundle(folder, Wishes())
    assert came.onnx == expected.onnx
    assert (came.preprocess, came.postprocess, came.labels) == (
        expected.preprocess,
        expected.postprocess,
        ("balloon", "kite"),
    )


def test_heads_and_tools_are_what_the_bundle_says(bundle_with: Bundle) -> None:
    """Threshold, box count and top-k come from the postprocess task, versions from deploy.json and detail.json."""
    detector = source_from_bundle(bundle_with(), Wishes())
    assert detector.postprocess == MmdetHead(boxes="dets", label_ids="labels", score_threshold=0.2, max_detections=50)
    assert detector.tools == {"mmdeploy": "1.3.1", "mmdet": "3.3.0"}
    assert detector.precision == "fp32"
    classifier = source_from_bundle(bundle_with(task="Classifier", transforms=STRETCH), Wishes())
    assert classifier.postprocess == ClassifierHead(scores="output", activation="none", top_k=2)


def test_what_is_asked_for_wins(bundle_with: Bundle, tmp_path: Path) -> None:
    """Labels, threshold, box count and top-k given at import replace the bundle's."""
    (tmp_path / "names.txt").write_text("\ufeffeins\r\nzwei und drei\r\n\n")
    wishes = Wishes(labels=tmp_path / "names.txt", score_threshold=0.4, max_detections=7, top_k=1)
    detector = source_from_bundle(bundle_with(), wishes)
    assert detector.labels == ("eins", "zwei und drei")
    assert detector.postprocess == MmdetHead(boxes="dets", label_ids="labels", score_threshold=0.4, max_detections=7)
    classifier = source_from_bundle(bundle_with(task="Classifier", transforms=STRETCH), wishes)
    assert classifier.postprocess == ClassifierHead(scores="output", activation="none", top_k=1)


def test_a_threshold_meant_for_ap_is_pointed_out(bundle_with: Bundle) -> None:
    """RTMDet's score_thr of 0.001 serves nearly every box: it is kept, and the person who imports is told."""
    changed = documents("Detector", [])["pipeline.json"]
    changed["pipeline"]["tasks"][2]["params"]["score_thr"] = 0.001
    changed["pipeline"]["tasks"][0]["transforms"] = STRETCH
    folder = bundle_with(changed={"pipeline.json": changed})
    assert "--score-threshold" in source_from_bundle(folder, Wishes()).notes[0]
    assert source_from_bundle(folder, Wishes(score_threshold=0.001)).notes == ()


def test_the_count_of_boxes_has_no_default(bundle_with: Bundle) -> None:
    """Without max_per_img the exporter's keep_top_k counts, and without that the person must say."""
    pipeline = documents("Detector", STRETCH)["pipeline.json"]
    del pipeline["pipeline"]["tasks"][2]["params"]["max_per_img"]
    detail = {"codebase_config": {"post_processing": {"keep_top_k": 33}}}
    with_count = bundle_with(changed={"pipeline.json": pipeline, "detail.json": detail})
    head = source_from_bundle(with_count, Wishes()).postprocess
    assert isinstance(head, MmdetHead)
    assert head.max_detections == 33
    refused(bundle_with(changed={"pipeline.json": pipeline}), "contract", "--max-detections")


def test_top_k_is_at_most_the_classes_there_are(bundle_with: Bundle) -> None:
    """A head trained with topk=(1, 5) on one class answers with one, as in the SDK."""
    source = source_from_bundle(bundle_with(task="Classifier", transforms=STRETCH, labels="only\n"), Wishes())
    assert source.postprocess == ClassifierHead(scores="output", activation="none", top_k=1)


@pytest.mark.parametrize(
    ("labels", "part"), [(None, "--labels"), ("", "no labels"), ("balloon\n\nkite\n", "empty line 2")]
)
def test_labels_have_no_default(bundle_with: Bundle, labels: str | None, part: str) -> None:
    """mmdeploy exports no class names: they are given, or the bundle is refused; an empty line would shift ids."""
    refused(bundle_with(labels=labels), "contract", part)


def test_labels_must_be_text(bundle_with: Bundle, tmp_path: Path) -> None:
    """A labels file that is missing, no UTF-8 or too large is refused by its name."""
    folder = bundle_with()
    refused(folder, "contract", "none.txt", wishes=Wishes(labels=tmp_path / "none.txt"))
    (tmp_path / "latin.txt").write_bytes("Löwe\n".encode("latin-1"))
    refused(folder, "contract", "latin.txt", "UTF-8", wishes=Wishes(labels=tmp_path / "latin.txt"))
    (folder / "labels.txt").write_bytes(b"L\xf6we\n")
    refused(folder, "contract", "labels.txt", "UTF-8")
    (tmp_path / "long.txt").write_bytes(b"a\n" * archive.MAX_TEXT_BYTES)
    refused(folder, "contract", "long.txt", wishes=Wishes(labels=tmp_path / "long.txt"))


@pytest.mark.parametrize("name", ["end2end.onnx", "deploy.json", "pipeline.json", "detail.json"])
def test_a_missing_file_is_named(bundle_with: Bundle, name: str) -> None:
    """Each of the four files is needed."""
    folder = bundle_with()
    (folder / name).unlink()
    refused(folder, "read", name)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """A path that is not there, a file that is no zip, and an empty folder."""
    refused(tmp_path / "nowhere", "read", "nowhere", "No such file")
    (tmp_path / "text.zip").write_text("hello")
    refused(tmp_path / "text.zip", "read", "text.zip", "zip")
    refused(tmp_path, "read", "end2end.onnx", "deploy.json")


@pytest.mark.parametrize(("content", "part"), [(b"{", "JSON"), (b"[]", "list"), (b"\xff\xfe", "JSON")])
def test_broken_json_is_named(bundle_with: Bundle, content: bytes, part: str) -> None:
    """A file that is no JSON object is refused by its name."""
    folder = bundle_with()
    (folder / "pipeline.json").write_bytes(content)
    refused(folder, "read", "pipeline.json", part)


@pytest.mark.parametrize("name", ["../end2end.onnx", "/etc/passwd", "a/../../b", "..\\evil", "C:/evil"])
def test_a_zip_that_points_outside_is_refused(bundle_with: Bundle, tmp_path: Path, name: str) -> None:
    """Zip-slip: no entry may leave the archive, wanted or not."""
    path = zipped(bundle_with(), tmp_path / "bundle.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"x")
    refused(path, "read", "outside")


def test_a_zip_bomb_is_refused_unread(bundle_with: Bundle, tmp_path: Path) -> None:
    """An entry that grows beyond anything weights do, or beyond its kind's limit, is never unpacked."""
    folder = bundle_with()
    (folder / "end2end.onnx").write_bytes(bytes(16 * 2**20))
    refused(zipped(folder, tmp_path / "bomb.zip"), "read", "end2end.onnx", "grows")
    (folder / "end2end.onnx").write_bytes(b"small")
    (folder / "pipeline.json").write_bytes(b" " * (archive.MAX_TEXT_BYTES + 1))
    refused(zipped(folder, tmp_path / "long.zip"), "read", "pipeline.json", "at most")
    refused(folder, "read", "pipeline.json", "at most")


def test_a_zip_of_very_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle has a handful of files."""
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as file:
        for number in range(4):
            file.writestr(f"{number}", b"")
    refused(tmp_path / "many.zip", "read", "4 files")


def test_a_zip_with_two_bundles_or_a_deep_one_is_refused(bundle_with: Bundle, tmp_path: Path) -> None:
    """Which one would be a guess."""
    folder = bundle_with()
    path = zipped(folder, tmp_path / "two.zip", "a/")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("b/deploy.json", b"{}")
    refused(path, "read", "'a/'", "'b/'")
    refused(zipped(folder, tmp_path / "deep.zip", "a/b/"), "read", "a/b/")


def test_a_damaged_zip_is_refused(bundle_with: Bundle, tmp_path: Path) -> None:
    """Cut off, flipped bytes (the CRC tells), encrypted."""
    path = zipped(bundle_with(), tmp_path / "bundle.zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "read", "bundle.zip")
    with zipfile.ZipFile(zipped(bundle_with(), path)) as file:
        start = file.getinfo("end2end.onnx").header_offset
    flipped = bytearray(whole)
    flipped[start + 60] ^= 0xFF
    path.write_bytes(flipped)
    refused(path, "read", "bundle.zip")
    locked = bytearray(whole)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = locked.find(signature)
        while position >= 0:
            flags = struct.unpack_from("<H", locked, position + offset)[0]
            struct.pack_into("<H", locked, position + offset, flags | 1)
            position = locked.find(signature, position + 1)
    path.write_bytes(locked)
    refused(path, "read", "bundle.zip", "encrypted")


@pytest.mark.parametrize(
    ("name", "where", "value", "parts"),
    [
        ("deploy.json", ["version"], "0.14.0", ["0.14.0", "1.x"]),
        ("deploy.json", ["task"], "Segmentor", ["'Segmentor'", "'Detector'"]),
        ("deploy.json", ["models"], [], ["0 models"]),
        ("deploy.json", ["models", 0, "backend"], "tensorrt", ["'tensorrt'", "onnxruntime deploy config"]),
        ("deploy.json", ["models", 0, "precision"], "FP8", ["'FP8'"]),
        (
            "pipeline.json",
            ["pipeline", "tasks", 0, "transforms", 1, "type"],
            "MultiScaleFlipAug",
            ["MultiScaleFlipAug"],
        ),
        ("pipeline.json", ["pipeline", "tasks", 0, "module"], "Crop", ["Crop", "Transform"]),
        ("pipeline.json", ["pipeline", "tasks", 1, "input_map"], {}, ["input_map", "'img'"]),
        ("pipeline.json", ["pipeline", "tasks", 2, "component"], "ResizeInstanceMask", ["ResizeInstanceMask"]),
        ("pipeline.json", ["pipeline", "tasks", 2, "component"], "VisionTransformerClsHead", ["VisionTransformerCls"]),
        ("pipeline.json", ["pipeline", "tasks", 2, "params", "min_bbox_size"], 8, ["min_bbox_size 8"]),
        ("pipeline.json", ["pipeline", "tasks", 2, "params", "score_thr"], None, ["--score-threshold"]),
    ],
)
def test_what_is_not_served_is_named(
    tmp_path: Path, name: str, where: list[str | int], value: object, parts: list[str]
) -> None:
    """Another exporter, task, backend, precision, module or head: refused by its name, with what to do."""
    files = documents("Detector", STRETCH)
    _set(files[name], where, value)
    refused(write_bundle(tmp_path / "bundle", changed={name: files[name]}), "contract", *parts)


def _set(node: Any, where: list[str | int], value: object) -> None:
    for key in where[:-1]:
        node = node[key]
    node[where[-1]] = value


def _paths(node: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if above:
        yield above
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _paths(value, (*above, key))


@pytest.mark.parametrize("task", ["Detector", "Classifier"])
def test_no_broken_field_escapes_the_error_tree(tmp_path: Path, task: str) -> None:
    """Whatever stands in a field of the JSON files, reading ends with a source or a BuildError, never a traceback."""
    folder = write_bundle(tmp_path / "bundle", task=task)
    for name, document in documents(task, STRETCH).items():
        for where in _paths(document):
            for junk in (None, True, -1, 1e999, "junk", [], [None], {}, {"img": "junk"}):
                broken = copy.deepcopy(document)
                _set(broken, list(where), junk)
                (folder / name).write_text(json.dumps(broken))
                with contextlib.suppress(BuildError):
                    source_from_bundle(folder, Wishes())
        (folder / name).write_text(json.dumps(document))
