"""Whether what trim.py left does all that a gateway asks of it; ends with 1 where not. What it imports gets compiled.

It calls every function of OpenCV that `vision` and `gateway` call (a test holds the two together), and runs a gateway.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import simplejpeg
from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: F401
from PIL import Image

import clients.__main__  # noqa: F401 - compiled by being imported

READY_S = 60.0


def pictures() -> None:
    """What is decoded is what was drawn."""
    cv2.setNumThreads(1)
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.rectangle(image, (20, 20), (140, 100), (40, 160, 220), cv2.FILLED)
    face = cv2.FontFace("sans")
    _, _, width, _ = cv2.getTextSize((0, 0), "balloon", (0, 0), face, 14, 500)
    cv2.putText(image, "balloon", (30, 60), (255, 255, 255), face, 14, 500)
    require(40 < width < 80 and (image == 255).any(), "no letters")
    lossless = {".png": [cv2.IMWRITE_PNG_COMPRESSION, 1], ".bmp": [], ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}
    for suffix, options in lossless.items():
        _, encoded = cv2.imencode(suffix, image, options)
        require(np.array_equal(cv2.imdecode(encoded, cv2.IMREAD_COLOR), image), f"{suffix} is not what was encoded")
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    jpeg = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    require(np.array_equal(jpeg, simplejpeg.decode_jpeg(encoded.tobytes(), "BGR")), "two decoders of JPEG disagree")
    for way in (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE):
        cv2.rotate(image, way)
    require(
        np.array_equal(cv2.flip(cv2.transpose(image), 1), cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)), "turned wrong"
    )
    for way in (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4):
        require(cv2.resize(image, (64, 48), interpolation=way).shape == (48, 64, 3), "resized wrong")
    padded = cv2.copyMakeBorder(image, 1, 2, 3, 4, cv2.BORDER_CONSTANT, value=(1, 1, 1))
    require(len(cv2.split(padded)) == 3 and padded.shape == (123, 167, 3), "padded wrong")
    for way in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS):
        Image.fromarray(image).resize((64, 48), way)
    try:
        cv2.imdecode(np.empty(0, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return
    require(False, "an empty picture is decoded")


def gateway() -> None:
    """It starts without a Triton, tells so, shows its documentation, and ends when it is told to."""
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=os.environ | {"GATEWAY_TRITON": "127.0.0.1:9"})
    try:
        deadline = time.monotonic() + READY_S
        while status("health/live") != 200:
            require(process.poll() is None and time.monotonic() < deadline, "the gateway does not start")
            time.sleep(0.05)
        require(status("docs") == status("metrics") == status("openapi.json") == 200, "a page is missing")
        require(status("v1/models/balloon/predict", b"no picture") == 503, "Triton is not missed")
    finally:
        process.terminate()
    require(process.wait(timeout=READY_S) in (0, -signal.SIGTERM), "the gateway does not end as it should")


def status(path: str, body: bytes | None = None) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:8080/{path}", body, {"content-type": "image/jpeg"})
    try:
        with urllib.request.urlopen(request, timeout=READY_S) as answer:  # noqa: S310 - http
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        print(exc.code, exc.read().decode())  # noqa: T201 - of the build
        return exc.code
    except OSError:
        return 0


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"proof: {otherwise}")


if __name__ == "__main__":
    pictures()
    gateway()
