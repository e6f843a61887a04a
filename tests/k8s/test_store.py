"""Triton reads its models from S3 by itself, as `models.source: s3` has it: the real Triton of the image for a CPU."""

from pathlib import Path

import httpx
import pytest

from builder.__main__ import main as build
from tests.gateway.serving import eventually, running_gateway
from tests.k8s.chart import environment, of_kind, rendered
from tests.k8s.store import KEY_ID, store
from tests.local_triton import ROOT, LocalTriton, require_triton

BALLOON = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
PHOTO = ROOT / "tests" / "assets" / "balloons.jpg"


def test_a_model_in_a_store_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the arguments and variables that the chart gives to Triton's container."""
    require_triton()
    assert (
        build(["import", str(BALLOON), "--name", "balloon", "--repository", str(tmp_path / "bucket/repository")]) == 0
    )
    with store(tmp_path / "bucket") as address:
        [workload] = of_kind(
            rendered("models.source=s3", f"models.s3.url={address}", "models.s3.secret=store"), "StatefulSet"
        )
        [container] = workload["spec"]["template"]["spec"]["containers"]
        for name in environment(container):
            secret = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": "secret"}
            monkeypatch.setenv(name, secret.get(name) or environment(container)[name])
        triton = LocalTriton(tmp_path / "triton", *container["args"])
        triton.start()
        try:
            with running_gateway(triton.address) as gateway:
                eventually(lambda: gateway.http.get("/health/ready").status_code == httpx.codes.OK, within_s=20)
                found = gateway.predict("balloon", PHOTO.read_bytes()).json()["results"][0]["detections"]
        finally:
            triton.kill()
    assert [each["label"] for each in found if each["score"] > 0.5] == ["balloon"] * 5
