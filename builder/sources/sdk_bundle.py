"""An mmdeploy SDK bundle in a recipe."""

from typing import Literal

from builder.recipes.parts import Part, RecipePath, Serve
from builder.source import Source, Wishes
from builder.sources.bundle import source_from_bundle
from vision.contract import Interpolation, Library


class SdkBundleSource(Part):
    """The bundle's folder or zip; `labels` where it holds none, and `resize_…` what it lost of a ResizeEdge."""

    kind: Literal["sdk-bundle"]
    bundle: RecipePath
    labels: RecipePath | None = None
    resize_library: Library | None = None
    resize_interpolation: Interpolation | None = None


def source_from_settings(settings: SdkBundleSource, serve: Serve) -> Source:
    """Read the bundle.

    Raises:
        BuildError: as `builder.sources.bundle.source_from_bundle` does.
    """
    wishes = Wishes(
        labels=settings.labels,
        score_threshold=serve.score_threshold,
        max_detections=serve.max_detections,
        top_k=serve.top_k,
        resize_library=settings.resize_library,
        resize_interpolation=settings.resize_interpolation,
    )
    return source_from_bundle(settings.bundle, wishes)
