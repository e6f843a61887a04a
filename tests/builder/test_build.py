import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from builder.publishing.inventory import model_of
from tests.builder.conftest import Builder, snapshot
from tests.builder.networks import write_bundle
from tests.builder.recipes import onnx_source, write_loose_recipe, write_photos, write_recipe
from vision.contract import contract_from_json

STEPS = ["export", "contract", "check", "batch", "fold", "precision", "verify", "verify", "parity", "publish"]


def test_one_line_a_step(build: Builder, recipe: Path) -> None:
    """In a pipe: the steps in their order, and what each found."""
    assert build(recipe) == 0
    assert [line.split()[0] for line in build.out.splitlines() if line[0] != " "] == STEPS
    assert build.out.splitlines()[-1] == "publish   model_repository/toy/1"
    assert build.err == ""


def test_a_version_holds_its_papers(build: Builder, recipe: Path) -> None:
    """What serving needs, and how it came about: recipe, build, parity report with pictures."""
    build(recipe)
    version = build.version()
    served = {"model.onnx", "contract.json", "config.pbtxt", "model.py"}
    assert {path.name for path in version.iterdir()} == served | {
        "recipe.yaml",
        "build.json",
        "parity.json",
        "parity.html",
    }
    assert (version / "recipe.yaml").read_bytes() == (recipe / "recipe.yaml").read_bytes()
    assert json.loads((version / "parity.json").read_text())["passed"] is True
    assert b"<img" in (version / "parity.html").read_bytes()
    contract = contract_from_json((version / "contract.json").read_bytes())
    assert contract.input.dtype == "UINT8"
    assert contract.provenance.model_sha256 == sha256((version / "model.onnx").read_bytes()).hexdigest()


def test_build_json_says_what_was_built_from_what(build: Builder, tmp_path: Path) -> None:
    """Source, files, hashes, precision, target, tools, when, and how long each step took."""
    recipe = write_recipe(tmp_path / "bare", onnx_source(tmp_path / "bare"))
    assert build(recipe) == 0, build.err
    made = json.loads((build.version() / "build.json").read_text())
    network = (recipe / "network.onnx").read_bytes()
    assert made["recipe"] == "bare"
    assert made["kind"] == "onnx"
    assert made["checkpoint"] is None
    assert made["files"] == {"onnx": {"name": "network.onnx", "sha256": sha256(network).hexdigest()}}
    assert made["source_sha256"] == sha256(network).hexdigest()
    assert made["model_sha256"] == sha256((build.version() / "model.onnx").read_bytes()).hexdigest()
    assert (made["target"], made["precision"], made["in_graph"]) == ("cpu", "fp32", ["normalise"])
    assert {"jetserve", "onnx", "onnxruntime"} <= set(made["tools"])
    assert set(made["seconds"]) >= {"export", "fold", "verify", "parity"}
    assert made["created"].endswith("+00:00")


def test_a_fixed_batch_is_made_dynamic_where_it_verifies(build: Builder, tmp_path: Path) -> None:
    """A graph exported for one image takes more, unless the recipe wants one."""
    recipe = write_recipe(tmp_path / "bare", onnx_source(tmp_path / "bare"))
    build(recipe)
    assert contract_from_json((build.version() / "contract.json").read_bytes()).max_batch > 1
    write_recipe(recipe, onnx_source(recipe), serve={"max_batch": 1})
    build(recipe)
    assert contract_from_json((build.version(2) / "contract.json").read_bytes()).max_batch == 1


def test_the_same_again_publishes_nothing(build: Builder, recipe: Path) -> None:
    """Nothing that is served; --force does, and so does whatever changes what is served."""
    build(recipe)
    before = served_files(build)
    assert build(recipe) == 0
    assert "unchanged" in build.out.splitlines()[-1]
    assert served_files(build) == before
    build(recipe, "--force")
    assert build.out.splitlines()[-1].endswith("toy/2")
    build(recipe, "--no-fold")
    assert build.out.splitlines()[-1].endswith("toy/3")
    assert contract_from_json((build.version(3) / "contract.json").read_bytes()).input.dtype == "FP32"


def served_files(build: Builder) -> dict[str, str]:
    """Every file of the repository but the papers, with its content's hash."""
    papers = {"build.json", "parity.json", "parity.html", "recipe.yaml"}
    found = snapshot(build.folder / "model_repository")
    return {name: content for name, content in found.items() if Path(name).name not in papers}


def test_an_unchanged_version_has_the_papers_of_its_last_build(build: Builder, recipe: Path) -> None:
    """What was compared last is what its report says; nothing else lies about, and what is served stays."""
    build(recipe)
    before = served_files(build)
    write_photos(build.folder / "mine", 5)
    assert build(recipe, "--photos", build.folder / "mine") == 0, build.err
    assert "unchanged" in build.out.splitlines()[-1]
    assert len(json.loads((build.version() / "parity.json").read_text())["images"]) == 8
    assert (build.version() / "parity.html").read_text().count("<article>") == 8
    assert served_files(build) == before


def test_the_report_is_the_models(build: Builder, recipe: Path) -> None:
    """Its title is the name in URLs; the source stands below."""
    build(recipe, "--name", "another")
    page = (build.version(name="another") / "parity.html").read_text()
    assert "<h1>Parity of another</h1>" in page
    source = contract_from_json((build.version(name="another") / "contract.json").read_bytes()).provenance.source
    assert f"<dt>Source</dt><dd>{source}: " in page
    assert json.loads((build.version(name="another") / "parity.json").read_text())["model"] == "another"


def test_what_the_recipe_says_of_serving_is_served(build: Builder, tmp_path: Path) -> None:
    """Thresholds, batch, instances and threads."""
    serve = {"score_threshold": 0.45, "max_detections": 7, "max_batch": 3, "instances": 2, "threads": 1}
    assert build(write_recipe(tmp_path / "recipe", serve=serve)) == 0, build.err
    contract = contract_from_json((build.version() / "contract.json").read_bytes())
    assert contract.max_batch == 3
    assert contract.postprocess.model_dump(include={"score_threshold", "max_detections"}) == {
        "score_threshold": 0.45,
        "max_detections": 7,
    }
    config = (build.version() / "config.pbtxt").read_text()
    assert "count: 2" in config


def test_a_targets_own_settings(build: Builder, tmp_path: Path) -> None:
    """`serving` counts for its target alone, and for more than `serve`; what the model does not take is refused."""
    serving = {"cpu": {"instances": 3, "preferred_batch": [2, 4], "queue_delay_us": 300}, "jetson": {"instances": 7}}
    assert build(write_recipe(tmp_path / "recipe", serve={"instances": 2, "threads": 1}, serving=serving)) == 0, (
        build.err
    )
    config = (build.version() / "config.pbtxt").read_text()
    assert "instance_group { count: 3 kind: KIND_CPU }" in config
    assert "dynamic_batching { preferred_batch_size: [2, 4] max_queue_delay_microseconds: 300 }" in config
    assert 'key: "threads" value { string_value: "1" }' in config
    serving = {"cpu": {"preferred_batch": [64]}}
    assert build(write_recipe(tmp_path / "large", serve={"max_batch": 4}, serving=serving)) == 1
    assert "takes batches of 1 to 4, but [64] are preferred" in build.err


def test_tritons_own_backend_needs_no_python_file(build: Builder, recipe: Path) -> None:
    """--target onnxruntime is for a Triton that has the backend."""
    assert build(recipe, "--target", "onnxruntime") == 0
    assert not (build.version() / "model.py").exists()
    assert 'platform: "onnxruntime_onnx"' in (build.version() / "config.pbtxt").read_text()


@pytest.mark.parametrize("target", ["jetson", "tensorrt"])
def test_for_a_jetson_the_engine_is_left_to_the_device(build: Builder, recipe: Path, target: str) -> None:
    """Another repository, whose config names the engine that is still to be built; the last line says so."""
    assert build(recipe, "--target", target) == 0, build.err
    version = build.version(repository="model_repository_jetson")
    assert {"model.onnx", "contract.json", "config.pbtxt"} <= {path.name for path in version.iterdir()}
    assert not (version / "model.py").exists()
    assert not (build.folder / "model_repository").exists()
    config = model_config_pb2.ModelConfig()
    text_format.Parse((version / "config.pbtxt").read_text(), config)
    assert (config.platform, config.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert json.loads((version / "build.json").read_text())["target"] == "jetson"
    assert "built on the device" in build.out.splitlines()[-1]


@pytest.mark.parametrize("accelerator", ["none", "cuda", "tensorrt"])
def test_an_accelerator_puts_onnx_runtime_on_the_gpu(build: Builder, recipe: Path, accelerator: str) -> None:
    """Triton's own ONNX Runtime backend; the version can be read back as one of the builder's."""
    assert build(recipe, "--target", "onnxruntime", "--accelerator", accelerator) == 0, build.err
    config = model_config_pb2.ModelConfig()
    text_format.Parse((build.version() / "config.pbtxt").read_text(), config)
    gpu, cpu = model_config_pb2.ModelInstanceGroup.KIND_GPU, model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert config.instance_group[0].kind == (cpu if accelerator == "none" else gpu)
    assert model_of(build.folder / "model_repository", "toy").versions[0].problem is None


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_is_published_and_said(
    build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """In the contract and in build.json; int8 with the recipe's photos beneath the data's root."""
    write_photos(tmp_path / "data" / "fruit", 4)
    monkeypatch.setenv("JETSERVE_DATA", str(tmp_path / "data"))
    recipe = write_loose_recipe(tmp_path / "bare", calibration={"images": ["fruit/*.png"]})
    assert build(recipe, "--precision", precision) == 0, build.err
    assert contract_from_json((build.version() / "contract.json").read_bytes()).provenance.precision == precision
    assert json.loads((build.version() / "build.json").read_text())["precision"] == precision
    assert "4 photos" in build.out


def test_fp16_needs_no_data_set(build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the recipe's calibration photos are not there it is measured on the parity photos, and said so."""
    monkeypatch.setenv("JETSERVE_DATA", str(tmp_path / "nowhere"))
    recipe = write_loose_recipe(tmp_path / "bare", calibration={"images": ["fruit/*.png"]})
    assert build(recipe, "--precision", "fp16") == 0, build.err
    assert "fp16 is measured on the parity photos instead" in build.out
    assert str(tmp_path / "nowhere" / "fruit") in build.out
    assert "measured on 3 photos" in build.out


def test_more_photos_can_be_given(build: Builder, recipe: Path) -> None:
    """A folder or a pattern, beside the recipe's own."""
    write_photos(build.folder / "mine", 5)
    build(recipe, "--photos", build.folder / "mine", "--photos", "mine/photo-4.*")
    assert "8 images agree" in build.out
    assert "nowhere" in build.refused("parity", recipe, "--photos", "nowhere")


def test_several_recipes_go_on_after_a_failure(build: Builder, tmp_path: Path) -> None:
    """A table at the end says which were built; one failure is exit code 1."""
    good, other = write_recipe(tmp_path / "good"), write_recipe(tmp_path / "other", name="other")
    bad = write_recipe(tmp_path / "bad", name="bad")
    (bad / "bundle" / "end2end.onnx").write_bytes(b"no")
    assert build(good, bad, other) == 1
    table = build.out.splitlines()[-3:]
    assert [line.split()[:2] for line in table] == [["good", "built"], ["bad", "failed"], ["other", "built"]]
    assert "failed at check" in table[1]
    assert build.version(name="other").exists()
    assert build(good, other) == 0
    assert build(good, other, "--name", "x") == 1


def test_the_log_is_kept(build: Builder, recipe: Path) -> None:
    """One a build, by name and time, with every step."""
    build(recipe)
    build(recipe)
    logs = list((build.folder / ".builds" / "toy").glob("*.log"))
    assert len(logs) == 2
    for step in STEPS:
        assert f"{step}: begun" in logs[0].read_text()


def test_a_bundle_in_a_zip_is_built_as_well(build: Builder, tmp_path: Path) -> None:
    """Whatever `import` takes, a recipe can name."""

    write_bundle(tmp_path / "packed" / "sdk")
    shutil.make_archive(str(tmp_path / "recipe" / "sdk"), "zip", tmp_path / "packed")
    recipe = write_recipe(tmp_path / "recipe", {"kind": "sdk-bundle", "bundle": "sdk.zip"})
    assert build(recipe) == 0, build.err
