"""The start of Triton's container, on a recorded machine: `on_device.py NAME FOLDER [OPTION OF TRITONSERVER …]`.

What comes before Triton sees the machine of tests/devices, and looks for artefacts more often than in the container;
the second part, which becomes Triton, is started as there.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from builder.commands import ensure
from builder.device import Device, device_from_system
from builder.interrupts import end_like_ctrl_c
from tests.devices.recorded import machine_of


def main(name: str, folder: Path, arguments: list[str]) -> int:
    root, run = machine_of(name, folder)

    def device_from_recording(**where: Any) -> Device:
        return device_from_system(root, run, **where)

    serving = import_module("serving")
    for module in (serving, ensure):
        vars(module)["device_from_system"] = device_from_recording
    vars(ensure)["EVERY_S"] = 0.3
    code: int = serving.main(arguments)
    return code


if __name__ == "__main__":
    end_like_ctrl_c()
    try:
        sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
    except KeyboardInterrupt:
        sys.exit(130)
