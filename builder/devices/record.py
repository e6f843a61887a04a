"""A device as it was found: versions, GPU, memory, power, disk. Made by `device_from_system`, carried as JSON."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from vision.errors import BuildError

STEP = "device"
REPORT_VERSION: Literal[1] = 1

Kind = Literal["jetson", "x86-gpu", "cpu"]


class DeviceError(BuildError):
    """A machine that is not known, or a report that is none; the message names what was found."""

    def __init__(self, detail: str) -> None:
        super().__init__(STEP, detail)


class Part(BaseModel):
    """Frozen, and strict about its fields: a report of another version is refused, not half understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Memory(Part):
    """Of the machine; on a Jetson the GPU's, too."""

    total_bytes: int
    available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    zram_bytes: int = 0
    """Of the swap, what is memory itself, compressed."""


class Space(Part):
    """Of the file system that a folder lies on."""

    folder: str
    total_bytes: int
    free_bytes: int


class PowerMode(Part):
    """nvpmodel's, as it stands, with the names of the others by number."""

    number: int
    name: str
    others: dict[int, str] = {}


class Clock(Part):
    """The GPU's, in Hz: now, and the bounds that the power mode and `jetson_clocks` set; `most_hz` is its own."""

    now_hz: int
    low_hz: int
    high_hz: int
    most_hz: int


class Zone(Part):
    """One thermal zone, in °C, and the temperature at which the kernel begins to slow the clocks, if it says so."""

    name: str
    celsius: float
    throttles_at: float | None = None


class Interpreter(Part):
    """The device's own Python, the one that TensorRT's module is built for; `tensorrt` is None where it has none."""

    executable: str
    version: str
    tensorrt: str | None
    lacks: tuple[str, ...] = ()
    """Of what the engine program needs beside TensorRT, what it cannot import."""


class Device(Part):
    """One machine. None is what the machine does not say (see `notes`) or does not have."""

    kind: Kind
    model: str
    architecture: str
    soc: str | None = None
    l4t: str | None = None
    jetpack: str | None = None
    kernel: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    tensorrt: str | None = None
    gpu: str | None = None
    gpu_memory_bytes: int | None = None
    """A card's own; None on a Jetson, where the GPU uses the machine's."""
    driver: str | None = None
    compute_capability: str | None = None
    dla_cores: int | None = None
    memory: Memory
    disk: Space | None = None
    shared_memory: Space | None = None
    power_mode: PowerMode | None = None
    gpu_clock: Clock | None = None
    zones: tuple[Zone, ...] = ()
    throttled: tuple[str, ...] = ()
    """What slows the clocks right now, as the kernel names it: `gpu-throttle-alert`."""
    overcurrent_events: int | None = None
    """How often the supply was too weak since the machine was started."""
    container: str | None = None
    cuda_target: str | None = None
    """Whose CUDA it is: `aarch64-linux` a Tegra's before JetPack 7, `sbsa-linux` a server's, `x86_64-linux` a PC's."""
    triton: str | None = None
    """The version of the Triton in /opt/tritonserver, where this is its container or its archive was unpacked."""
    triton_images: tuple[str, ...] = ()
    """Triton's images that run here, as far as this program may ask Docker."""
    python: Interpreter | None = None
    notes: tuple[str, ...] = ()
    """What could not be read, and why."""
    conflicts: tuple[str, ...] = ()
    """What the machine says in two places, and otherwise in each."""
    report_version: Literal[1] = REPORT_VERSION

    @property
    def has_dla(self) -> bool:
        """Whether engines may be built for its deep learning accelerators; False where that is not known."""
        return bool(self.dla_cores)

    def to_json(self) -> str:
        """The report that `doctor` reads again on another machine."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a report.

        Raises:
            DeviceError: it is none, or another version's.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise DeviceError(
                f"not a report of a device: {where}: {first['msg']}; write one there with "
                "`python -m builder doctor --write-report device.json`"
            ) from exc
