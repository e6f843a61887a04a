"""Sources of OpenMMLab that cannot be built: each says where, what was expected, what came and what to do."""

from dataclasses import replace

import pytest

from builder.frameworks.job import Job
from tests.frameworks.jobs import NEEDS_FRAMEWORKS, ROOT, End, ends_of, in_frameworks
from tests.frameworks.test_openmmlab_mmcls import NEW

pytestmark = list(NEEDS_FRAMEWORKS)
FRUITS = tuple(f"fruit {number}" for number in range(30))  # as write_checkpoints.py names them
CONFIGS = {
    "good": NEW,
    "custom": NEW + "custom_imports = dict(imports=['our_backbones.hornet'], allow_failed_imports=False)\n",
    "unknown-model": NEW.replace("type='MobileNetV2'", "type='HorNetOfOurs'"),
    "unknown-transform": NEW.replace("dict(type='CenterCrop', crop_size=224)", "dict(type='Albumentations')"),
    "pillow-decodes": NEW.replace("'LoadImageFromFile'", "'LoadImageFromFile', imdecode_backend='pillow'"),
    "long-edge": NEW.replace("edge='short'", "edge='long'"),
    "labels": NEW.replace("type='CustomDataset'", "type='CustomDataset', metainfo=dict(classes=('a', 'b'))"),
    "shifted": NEW.replace(
        "type='CustomDataset'", f"type='CustomDataset', metainfo=dict(classes={FRUITS[1:] + FRUITS[:1]})"
    ),
    "case": NEW.replace(
        "type='CustomDataset'", f"type='CustomDataset', metainfo=dict(classes={('Fruit 0', *FRUITS[1:])})"
    ),
    "hidden": NEW + "custom_imports = dict(imports=['ours'], allow_failed_imports=False)\n",
    "no-model": "answer = 42\n",
    "no-python": "model = dict(\n",
    "no-pipeline": NEW.replace("test_dataloader", "other_dataloader"),
    "segmentor": NEW.replace("'mmpretrain'", "'mmseg'"),
}
CASES = {
    "another-shape": (
        "good",
        "four",
        "export",
        ["1 of another shape: head.fc.weight (4, 1280) in place of (30, 1280)"],
    ),
    "another-architecture": ("good", "resnet", "export", ["missing: backbone.conv1", "1 unexpected: conv1.weight"]),
    "truncated": ("good", "truncated", "export", ["200,000 bytes", "Fetch it again", "cut off"]),
    "web-page": ("good", "page", "export", ["page.pth (16 bytes)", "no checkpoint that torch can read"]),
    "list": ("good", "list", "export", ["no state_dict", "list"]),
    "pickle": ("good", "pickle", "export", ["Unknown", "run any code", "--trust-checkpoint"]),
    "custom-imports": ("custom", "new", "export", ["'our_backbones.hornet'", "beside"]),
    "unknown-model": ("unknown-model", "new", "export", ["HorNetOfOurs", "custom_imports"]),
    "unknown-transform": ("unknown-transform", "new", "contract", ["'Albumentations'", "served are"]),
    "pillow-decodes": ("pillow-decodes", "new", "contract", ["imdecode_backend='pillow'"]),
    "long-edge": ("long-edge", "new", "contract", ["edge='long'"]),
    "labels": ("labels", "new", "contract", ["num_classes=30", "2 labels (a, b)"]),
    "no-labels": ("good", "resnet-unnamed", "contract", ["metainfo=dict(classes="]),
    "shifted": (
        "shifted",
        "new",
        "contract",
        [
            "metainfo of the test data set has fruit 1,",
            "the checkpoint's own meta has fruit 0,",
            "labels_checked: false",
        ],
    ),
    "case": ("case", "new", "contract", ["label 0 is 'Fruit 0' in one and 'fruit 0' in the other"]),
    "no-model": ("no-model", "new", "export", ["no `model = dict(…)`", "answer"]),
    "no-python": ("no-python", "new", "export", ["cannot be read as a configuration"]),
    "no-pipeline": ("no-pipeline", "new", "contract", ["test_dataloader.dataset.pipeline"]),
    "segmentor": ("segmentor", "new", "export", ["'mmseg'"]),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, End]:
    """How each job ended, and those that must not fail."""
    folder = tmp_path_factory.mktemp("bad")
    in_frameworks([str(ROOT / "tests/frameworks/write_checkpoints.py"), str(folder)])
    (folder / "resnet-unnamed.pth").write_bytes((folder / "resnet.pth").read_bytes())
    for name, text in CONFIGS.items():
        (folder / f"{name}.py").write_text(text)

    def job(config: str, checkpoint: str) -> Job:
        settings = {"config": str(folder / f"{config}.py")}
        # No photo: an inference that finds nothing wrong with its source has nothing to do.
        labels = tuple("abc" * 10) if checkpoint in ("four", "resnet") else None
        return Job("infer", "openmmlab", settings, folder / "out", folder / f"{checkpoint}.pth", labels=labels)

    jobs = {name: job(config, checkpoint) for name, (config, checkpoint, _, _) in CASES.items()}
    (folder / "shifted.txt").write_text("\n".join([*FRUITS[1:], FRUITS[0]]))
    given = job("good", "new")
    given.source["labels"] = str(folder / "shifted.txt")
    jobs["given"] = given
    jobs["settled"] = replace(given, source={**given.source, "labels_checked": False})
    (folder / "ours.py").write_text("import sched\n\nassert sched.scheduler\n")
    (folder / "sched.py").write_text("raise AssertionError('this one hides the standard library')\n")
    jobs["hidden"] = job("hidden", "new")
    jobs["history"] = job("good", "new")
    jobs["trusted"] = replace(job("good", "pickle"), trust_checkpoint=True)
    # A configuration's steps are read by an export alone.
    jobs = {
        name: replace(job, command="export") if CASES.get(name, [""] * 3)[2] == "contract" else job
        for name, job in jobs.items()
    }
    return dict(zip(jobs, ends_of(folder, *jobs.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_bad_sources_say_what_is_wrong(ends: dict[str, End], name: str) -> None:
    """The step and the words that name what came."""
    *_, step, words = CASES[name]
    end = ends[name]
    assert end is not None
    assert end[0] == step
    assert [word for word in words if word not in end[1]] == [], end[1]


def test_labels_at_odds_are_settled_by_the_recipe(ends: dict[str, End]) -> None:
    """A `labels:` file against the checkpoint's own names is refused, unless the recipe says that it is right."""
    end = ends["given"]
    assert end is not None
    assert end[0] == "contract"
    assert "the labels given are fruit 1," in end[1]
    assert "the checkpoint's own meta has fruit 0," in end[1]
    assert ends["settled"] is None


def test_modules_beside_a_configuration_hide_no_others(ends: dict[str, End]) -> None:
    """They are found, and a sched.py or random.py there is not taken for the standard library's."""
    assert ends["hidden"] is None


def test_what_mmengine_pickles_is_read(ends: dict[str, End]) -> None:
    """A trainer's own checkpoint, with the history of its losses, needs no trust."""
    assert ends["history"] is None


def test_trust_reads_what_else_is_pickled(ends: dict[str, End]) -> None:
    """Trusted, the refused pickle is unpickled: here it lacks its class, as no untrusted reading would find out."""
    end = ends["trusted"]
    assert end is not None
    assert "Unknown" in end[1]
    assert "--trust-checkpoint" not in end[1]
