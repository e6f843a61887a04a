"""Whether the kernel slows the clocks of a Jetson, which neither tegrastats nor jtop says.

Alerts are cooling devices (`gpu-throttle-alert`, …, `hot-surface-alert`) whose state is above 0 while they are on.
Over-current events are counted since the start of the machine, by soctherm-oc-event's hwmon. Both are described in
NVIDIA's Jetson Linux Developer Guide, "Platform Power and Performance".
"""

from pathlib import Path

ALERT = "-alert"
MOST_DIGITS = 20


def alerts(root: Path = Path("/")) -> tuple[str, ...]:
    """The alerts that are on; none where there are none to be on."""
    on = []
    for folder in root.glob("sys/class/thermal/cooling_device*"):
        name, state = _text(folder / "type"), _text(folder / "cur_state")
        if name is not None and name.endswith(ALERT) and state not in {None, "", "0"}:
            on.append(name)
    return tuple(sorted(on))


def overcurrent_events(root: Path = Path("/")) -> int | None:
    """Since the machine was started; None where nothing counts them."""
    counts = [_text(path) for path in root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")]
    known = [int(count) for count in counts if count is not None and count.isdecimal() and len(count) < MOST_DIGITS]
    return sum(known) if known else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
