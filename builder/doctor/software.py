"""Whether the device's versions belong together: JetPack, TensorRT, and the Triton that is to load its engines."""

from collections.abc import Iterator

from builder.devices.record import Device
from builder.doctor.finding import Finding, Level
from builder.versions import Release, release_of_l4t, releases
from vision.errors import BuildError

IGPU = "-igpu"
SERVERS_CUDA = "sbsa-linux"
FIRST_WITH_ONE_CUDA = 38
"""The first L4T whose CUDA is the servers' one, too."""
INSTALL_TENSORRT = "sudo apt install python3-libnvinfer libnvinfer-bin python3-numpy python3-venv"
INSTALL_DEVICE = (
    "/usr/bin/python3 -m venv --clear --system-site-packages .venv/device && "
    ".venv/device/bin/pip install --require-hashes --no-deps -r requirements/device.txt"
)
JETPACK = "sudo apt install nvidia-jetpack"


def software(device: Device, image: str | None) -> Iterator[Finding]:
    """`image` is one that is meant to run Triton; what runs now is in the device."""
    images = [*device.triton_images, *([] if image is None else [image.rpartition("/")[2]])]
    if device.kind != "jetson":
        yield from _pc(device, images)
        return
    yield Finding("ok", "device", _told(device))
    yield from _tensorrt(device)
    try:
        release = release_of_l4t(device.l4t or "")
    except BuildError:
        known = ", ".join(release.jetpack_told for release in releases())
        yield Finding(
            "fail",
            "Triton",
            f"JetPack {device.jetpack} (L4T {device.l4t}) has no Triton in docker/versions.env",
            f"JetPack {known}",
            "try an image of the same CUDA and TensorRT, and add its row to docker/versions.env",
        )
        return
    yield from _versions(device, release)
    yield from _server(device, release, images)


def _told(device: Device) -> str:
    jetpack = f"JetPack {device.jetpack} (L4T {device.l4t})"
    where = "" if device.container is None else f", seen from a {device.container} container"
    return f"{device.model}, {device.gpu} (compute capability {device.compute_capability}), {jetpack}{where}"


def _pc(device: Device, images: list[str]) -> Iterator[Finding]:
    if device.kind == "cpu":
        yield Finding("ok", "device", f"{device.model}, {device.architecture}, no NVIDIA GPU: models run on the CPU")
    else:
        gpu = f"{device.gpu} (compute capability {device.compute_capability}), driver {device.driver}"
        yield Finding("ok", "device", f"{device.model}, {device.architecture}, {gpu}")
        yield from _tensorrt(device)
    for image in images:
        if image.endswith(IGPU):
            right = image.removesuffix(IGPU)
            yield Finding("fail", "Triton", f"{image} is for Jetsons", f"{right} on a PC", f"docker pull {right}")
        else:
            yield Finding("ok", "Triton", f"{image} is for PCs")


def _tensorrt(device: Device) -> Iterator[Finding]:
    python = device.python
    level: Level = "fail" if device.kind == "jetson" else "warn"
    if device.tensorrt is None and device.kind == "jetson":
        yield Finding("fail", "TensorRT", "none, neither library nor Python module", "the JetPack's own", JETPACK)
    elif device.tensorrt is None:
        yield Finding("ok", "TensorRT", "none: engines are built and run in Triton's container")
    elif python is None or python.tensorrt is None:
        where = "no Python" if python is None else f"{python.executable} ({python.version}) cannot import it"
        expected = "its module, which builds engines"
        command = f"{INSTALL_TENSORRT} && {INSTALL_DEVICE}"
        yield Finding(level, "TensorRT", f"{device.tensorrt}, but {where}", expected, command)
    elif python.lacks:
        found = f"{device.tensorrt} in {python.executable} ({python.version}), without {' and '.join(python.lacks)}"
        command = INSTALL_DEVICE if python.lacks == ("polygraphy",) else f"{INSTALL_TENSORRT} && {INSTALL_DEVICE}"
        yield Finding(level, "TensorRT", found, "what engines are built through, beside it", command)
    else:
        cuda = "" if device.cuda is None else f", CUDA {device.cuda}"
        yield Finding("ok", "TensorRT", f"{device.tensorrt} in {python.executable} ({python.version}){cuda}")


def _versions(device: Device, release: Release) -> Iterator[Finding]:
    """On the device itself; a container brings its own."""
    if device.container is not None or device.tensorrt is None or _begins(device.tensorrt, release.tensorrt):
        return
    yield Finding(
        "warn",
        "TensorRT",
        f"{device.tensorrt}, which is not the JetPack's",
        f"{release.tensorrt} with JetPack {device.jetpack}; engines are loaded by the TensorRT that Triton brings",
        "run `python -m builder ensure` in Triton's container",
    )


def _server(device: Device, release: Release, images: list[str]) -> Iterator[Finding]:
    l4t = int((device.l4t or "0").partition(".")[0])
    if device.cuda_target == SERVERS_CUDA and l4t < FIRST_WITH_ONE_CUDA:
        found = f"CUDA for servers ({SERVERS_CUDA}): a dGPU image on Tegra, whose GPU it cannot use"
        yield Finding("fail", "Triton", found, *_right(release))
    if device.triton is not None and not _begins(device.triton, release.triton_version):
        found = f"{device.triton} in /opt/tritonserver"
        yield Finding("warn", "Triton", found, f"{release.triton_version}, with another TensorRT", _right(release)[1])
    for image in images:
        yield _image(image, release)
    if device.triton is None and not images:
        yield Finding("ok", "Triton", f"none seen; the one for this JetPack is {release.triton}{_sure(release)}")
    elif device.triton is not None and _begins(device.triton, release.triton_version):
        yield Finding("ok", "Triton", f"{device.triton} in /opt/tritonserver, which belongs to this JetPack")


def _image(image: str, release: Release) -> Finding:
    if image == release.triton:
        return Finding("ok", "Triton", f"{image}, which belongs to this JetPack{_sure(release)}")
    expected, command = _right(release)
    if release.triton.endswith(IGPU) and not image.endswith(IGPU):
        return Finding("fail", "Triton", f"{image} is a dGPU image, and Tegra's GPU is none", expected, command)
    others = [other.jetpack_told for other in releases() if other.triton == image]
    if others:
        return Finding("fail", "Triton", f"{image} is for JetPack {others[0]}", expected, command)
    if image.endswith(IGPU) and not release.is_archive and not release.triton.endswith(IGPU):
        return Finding("fail", "Triton", f"{image} is for JetPack 6, with another CUDA", expected, command)
    if release.is_archive:
        return Finding("fail", "Triton", f"{image}, but no image of Triton runs on this JetPack", expected, command)
    return Finding("warn", "Triton", f"{image}, which brings another TensorRT", expected, command)


def _sure(release: Release) -> str:
    return "" if release.confirmed != "no" else ", as far as is known"


def _right(release: Release) -> tuple[str, str]:
    expected = f"{release.triton} for JetPack {release.jetpack_told}"
    if release.is_archive:
        return (
            expected,
            f"unpack {release.triton} from Triton's release {release.triton_version} into /opt/tritonserver",
        )
    return expected, f"start {release.triton} in its place (docker/versions.env)"


def _begins(version: str, with_version: str) -> bool:
    wanted = with_version.split(".")
    return version.split(".")[: len(wanted)] == wanted
