"""A configuration and a checkpoint, seen to belong together, as one model that can be exported and run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed

from builder.frameworks.job import Job, JobError
from builder.frameworks.labels import labels_from_setting
from builder.frameworks.openmmlab import config as configs
from builder.frameworks.openmmlab.checkpoint import load_into, weights_from_file

NOISE_HW = (128, 128)


@dataclass(frozen=True, slots=True)
class Trained:
    """`plain` holds the weights as float32, and the labels, and nothing else: OpenMMLab's own tools read it."""

    config: Config
    plain: Path
    labels: tuple[str, ...]

    @property
    def codebase(self) -> configs.Codebase:
        return configs.codebase_of(self.config)


def trained_from_job(job: Job, scratch: Path) -> Trained:
    """Read the job's configuration and checkpoint, or draw weights from its seed where it has none.

    Raises:
        JobError: either is broken, they do not belong together, or nobody names the classes.
    """
    config = configs.config_from_file(Path(job.source["config"]))
    weights = None
    if job.checkpoint is not None:
        weights = weights_from_file(job.checkpoint, trusted=job.trust_checkpoint)
    file = job.source.get("labels")
    labels = configs.labels_of(
        config,
        weights.meta if weights else {},
        job.labels or (None if file is None else labels_from_setting(file)),
        checked=job.source.get("labels_checked", True),
    )
    model = _model(config, job.seed, drawn=weights is None)
    if weights is not None and job.checkpoint is not None:
        load_into(model, weights, job.checkpoint.name)
    plain = scratch / "plain.pth"
    # Lists and strings, as weights_only reads them.
    torch.save({"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": list(labels)}}}, plain)
    return Trained(config, plain, labels)


def _model(config: Config, seed: int, *, drawn: bool) -> Any:
    codebase = configs.codebase_of(config)
    if codebase == "mmdet":
        from mmdet.utils import register_all_modules
    else:
        from mmpretrain.utils import register_all_modules
    register_all_modules(init_default_scope=False)
    init_default_scope(codebase)
    if config.model.get("data_preprocessor") is None:
        config.model.data_preprocessor = config.get("data_preprocessor")
    try:
        if drawn:
            set_random_seed(seed)
        model = MODELS.build(config.model)
        if drawn:
            model.init_weights()
            _settle(model)
    except (KeyError, ImportError) as exc:
        raise JobError(
            "export", f"the model cannot be built: {str(exc).strip(chr(34))}; is it in custom_imports?"
        ) from exc
    except (TypeError, ValueError, AssertionError) as exc:
        raise JobError(
            "export", f"the model cannot be built from the configuration: {type(exc).__name__}: {exc}"
        ) from exc
    return model


def _settle(model: torch.nn.Module) -> None:
    """Give every BatchNorm the statistics of noise: with none, what reaches a random network's end is constant."""
    model = revert_sync_batchnorm(model)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # an average over all that is seen, which is one batch
    model.train()
    with torch.no_grad():
        model(torch.randn(2, 3, *NOISE_HW), mode="tensor")
