"""Recorded machines, read; and machines that nobody knows, refused."""

import sys
from pathlib import Path

import pytest

from builder.device import Device, DeviceError, device_from_system
from builder.devices.record import PowerMode
from builder.devices.tegra import JETPACKS
from builder.devices.tools import run_tool
from builder.doctor.hardware import strongest
from builder.engines.program import PYTHONS, VARIABLE
from builder.versions import number_from_version, releases
from tests.devices.recorded import FOLDER, NAMES, device_of, tools, written

ORIN = "proc/device-tree/compatible"
RELEASE = "etc/nv_tegra_release"
MEMORY = {"proc/meminfo": "MemTotal: 8 kB\nMemAvailable: 4 kB\n"}
JETSON = MEMORY | {RELEASE: "# R36 (release), REVISION: 4.3, GCID: 1\n", ORIN: "nvidia,p3701-0005\0nvidia,tegra234\0"}
ARM = {"uname": "5.15.148-tegra aarch64\n"}


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_of_a_recorded_machine(name: str, tmp_path: Path) -> None:
    """What its files and tools say is in its report, word for word, and the report is the device again."""
    device = device_of(name, tmp_path)
    assert device.to_json() == (FOLDER / name / "device.json").read_text()
    assert Device.from_json(device.to_json()) == device


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("agx-xavier-jp5.0.1", ("jetson", "5.0.1", "34.1.1", "8.4.0", "11.4", "Xavier", "7.2", True)),
        ("xavier-nx-jp5.1.2", ("jetson", "5.1.2", "35.4.1", "8.5.2", "11.4", "Xavier", "7.2", True)),
        ("orin-nano-jp5.1.1", ("jetson", "5.1.1", "35.3.1", "8.5.2", "11.4", "Orin", "8.7", False)),
        ("agx-orin-jp6.0", ("jetson", "6.0", "36.3.0", "8.6.2", "12.2", "Orin", "8.7", True)),
        ("orin-nano-jp6.2", ("jetson", "6.2", "36.4.3", "10.3.0", "12.6", "Orin", "8.7", False)),
        ("orin-nx-jp6.2-troubled", ("jetson", "6.2", "36.4.3", "10.3.0", "12.6", "Orin", "8.7", True)),
        ("thor-jp7.0", ("jetson", "7.0", "38.2.0", "10.13.3", "13.0", "NVIDIA Thor", "11.0", False)),
        ("agx-orin-jp7.2", ("jetson", "7.2", "39.2.0", "10.16.1", "13.2", "Orin", "8.7", True)),
        ("x86-gpu", ("x86-gpu", None, None, "10.7.0", "12.6", "NVIDIA GeForce RTX 4070", "8.9", False)),
        ("nothing", ("cpu", None, None, None, None, None, None, False)),
    ],
)
def test_what_engines_belong_to(name: str, facts: tuple[object, ...], tmp_path: Path) -> None:
    """Kind, JetPack, L4T, TensorRT, CUDA, GPU, compute capability and DLA, as the device's papers have them."""
    device = device_of(name, tmp_path)
    found = (device.kind, device.jetpack, device.l4t, device.tensorrt, device.cuda, device.gpu)
    assert (*found, device.compute_capability, device.has_dla) == facts


def test_a_container_says_what_it_cannot_see(tmp_path: Path) -> None:
    """Without device tree and nvpmodel the SoC comes from /sys, and what is missing is noted, not made up."""
    device = device_of("orin-nano-jp6.2-container", tmp_path)
    assert (device.container, device.soc, device.tensorrt, device.triton) == ("docker", "tegra234", "10.3.0", "2.49.0")
    assert (device.power_mode, device.dla_cores, device.has_dla) == (None, None, False)
    assert "6.0 GiB" in device.notes[0]
    assert any("nvpmodel" in note for note in device.notes)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({RELEASE: "# R36 (release), REVISION: 9.9, GCID: 1\n"}, "unknown L4T 36.9.9"),
        ({RELEASE: "# R32 (release), REVISION: 7.1, GCID: 1\n"}, "unknown L4T 32.7.1"),
        ({RELEASE: "# R40 (release), REVISION: 1.0, GCID: 1\n"}, "unknown L4T 40.1.0"),
        ({RELEASE: "# R36 (release), REVISION: 4"}, "says '# R36 (release), REVISION: 4'"),
        ({RELEASE: "\x1b[2J" + "x" * 10**6}, "says '[2Jxxx"),
        ({RELEASE: "my own build\n"}, "says 'my own build'"),
        ({RELEASE: ""}, "says 'an empty file'"),
        ({ORIN: "nvidia,p3448-0000\0nvidia,tegra210\0"}, "unknown SoC (nvidia,p3448-0000, nvidia,tegra210)"),
        ({ORIN: "nvidia,p9999-0000\0nvidia,tegra999\0"}, "unknown SoC (nvidia,p9999-0000, nvidia,tegra999)"),
        ({ORIN: "nvidia,tegra2340\0"}, "unknown SoC (nvidia,tegra2340)"),
        ({ORIN: ""}, "no /proc/device-tree/compatible, and soc_id none"),
    ],
)
def test_an_unknown_jetson_is_refused_by_what_was_found(files: dict[str, str], found: str, tmp_path: Path) -> None:
    """An L4T, a SoC or a file that is not known is an error that quotes it; nothing near it is taken instead."""
    with pytest.raises(DeviceError) as refused:
        device_from_system(written(JETSON | files, tmp_path), tools(ARM))
    assert found in refused.value.detail
    assert len(refused.value.detail) < 1000
    assert refused.value.detail.isprintable()


def test_an_l4t_that_nothing_says_is_refused_with_the_mount_that_shows_it(tmp_path: Path) -> None:
    """In a container without /etc/nv_tegra_release the error says how to let it in."""
    files = MEMORY | {"sys/devices/soc0/family": "Tegra\n", "sys/devices/soc0/soc_id": "35\n"}
    with pytest.raises(DeviceError, match="-v /etc/nv_tegra_release:/etc/nv_tegra_release:ro"):
        device_from_system(written(files, tmp_path), tools(ARM))


def test_the_package_says_l4t_where_the_file_does_not(tmp_path: Path) -> None:
    """nvidia-l4t-core's version begins with L4T's; a package that was removed says nothing."""
    files = {name: text for name, text in JETSON.items() if name != RELEASE}
    status = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 35.4.1-20230801124926\n"
    device = device_from_system(written(files | {"var/lib/dpkg/status": status}, tmp_path / "a"), tools(ARM))
    assert (device.l4t, device.jetpack) == ("35.4.1", "5.1.2")
    removed = status.replace("install ok installed", "deinstall ok config-files")
    with pytest.raises(DeviceError, match="nor the package nvidia-l4t-core"):
        device_from_system(written(files | {"var/lib/dpkg/status": removed}, tmp_path / "b"), tools(ARM))


def test_an_arm_server_with_a_card_is_no_jetson_and_no_pc(tmp_path: Path) -> None:
    """A GPU in a machine of another kind is refused by its name."""
    answers = {"uname": "6.11.0 aarch64\n", "nvidia-smi": "NVIDIA GB10, 12.1, [N/A], 580.95.05\n"}
    with pytest.raises(DeviceError, match=r"NVIDIA GB10 \(compute capability 12.1\) in a machine of aarch64"):
        device_from_system(written(MEMORY, tmp_path), tools(answers))


def test_a_machine_that_says_next_to_nothing_is_read_all_the_same(tmp_path: Path) -> None:
    """No tool answers, and every fact that would come from one is None; without meminfo it is an error."""
    device = device_from_system(written(MEMORY, tmp_path / "a"), lambda command: None)
    assert (device.kind, device.disk, device.shared_memory, device.python) == ("cpu", None, None, None)
    with pytest.raises(DeviceError, match="/proc/meminfo says no MemTotal and no MemAvailable"):
        device_from_system(tmp_path / "b", lambda command: None)


def test_nonsense_in_optional_files_is_as_good_as_none(tmp_path: Path) -> None:
    """Broken JSON, a zone without a number and a strange mode leave their facts out, and the rest is read."""
    files = {
        "usr/local/cuda/version.json": "{",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "hot",
        "var/lib/nvpmodel/status": "pmode:0007",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >",
        "sys/class/devfreq/17000000.gpu/cur_freq": "1",
        "sys/class/devfreq/17000000.gpu/min_freq": "9" * 5000,
        "sys/class/thermal/thermal_zone1/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone1/temp": "9" * 400,
        "sys/fs/cgroup/memory.max": "4096",
        "sys/fs/cgroup/memory.stat": "anon\ninactive_file many more\n",
        "proc/swaps": "Filename Type Size\n/dev/zram0 partition much\n",
        "proc/device-tree/model": "Orin\x1b[31m \ufffd" + "!" * 1000,
    }
    device = device_from_system(written(JETSON | files, tmp_path), tools(ARM))
    assert (device.cuda, device.zones, device.power_mode, device.gpu_clock) == (None, (), None, None)
    assert (device.memory.available_bytes, device.memory.zram_bytes) == (4096, 0)
    assert device.model.startswith("Orin[31m")
    assert len(device.model) <= 200


@pytest.mark.parametrize("answer", ["", "null", "[]", '["a", "b"]', "7", '["/usr/bin/python3", 3, null, []]'])
def test_a_python_that_answers_nonsense_is_none(answer: str, tmp_path: Path) -> None:
    """As one that is not there."""
    device = device_from_system(written(MEMORY, tmp_path), tools({"/usr/bin/python3": answer}))
    assert device.python is None


def test_the_python_is_the_one_that_engines_are_built_with(tmp_path: Path) -> None:
    """The first there is, also where the second has TensorRT: the engine program would not take the second, either."""
    first, second = map(str, PYTHONS)
    answers = {first: f'["{first}", "3.10.12", null, ["polygraphy"]]', second: f'["{second}", "3.10.12", "10.3.0", []]'}
    device = device_from_system(written(JETSON, tmp_path), tools(ARM | answers))
    assert device.python is not None
    assert (device.python.executable, device.python.lacks, device.tensorrt) == (first, ("polygraphy",), None)


def test_a_real_python_tells_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """This project's own for tests has NumPy and polygraphy, and no TensorRT."""
    monkeypatch.setenv(VARIABLE, sys.executable)
    python = device_from_system().python
    assert python is not None
    assert (python.executable, python.tensorrt, python.lacks) == (sys.executable, None, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a report"),
        ("[]", "not a report"),
        ('{"kind": "jetson"}', "model: Field required"),
        ('{"kind": "toaster"}', "kind: Input should be"),
    ],
)
def test_what_is_no_report_is_refused(text: str, problem: str) -> None:
    """The error names what is wrong and how a report is made."""
    with pytest.raises(DeviceError, match=problem) as refused:
        Device.from_json(text)
    assert "--write-report device.json" in refused.value.detail


def test_a_report_of_another_version_is_refused(tmp_path: Path) -> None:
    """A field that this version does not know, and another report_version, are errors: nothing is half understood."""
    text = device_of("thor-jp7.0", tmp_path).to_json()
    for changed in (text.replace('"report_version": 1', '"report_version": 2'), text.replace('"soc"', '"chip"')):
        with pytest.raises(DeviceError, match="not a report"):
            Device.from_json(changed)


def test_the_table_of_jetpacks_agrees_with_the_table_of_triton_images() -> None:
    """The first and last L4T of each row of docker/versions.env are known, and are of that row's JetPacks."""
    for release in releases():
        for l4t, jetpack in zip(release.l4t, release.jetpack, strict=True):
            assert JETPACKS[l4t] == jetpack
    numbers = [number_from_version(l4t) for l4t in JETPACKS]
    assert numbers == sorted(numbers)


def test_tools_that_fail_hang_or_are_missing_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process: its output when it succeeds, None when it fails, hangs or is not there."""
    assert run_tool([sys.executable, "-c", "print('there')"]) == "there\n"
    assert run_tool([sys.executable, "-c", "print('there'); raise SystemExit(1)"]) is None
    assert run_tool(["no-such-tool"]) is None
    monkeypatch.setattr("builder.devices.tools.PATIENCE_S", 0.2)
    assert run_tool([sys.executable, "-c", "import time; time.sleep(60)"]) is None


def test_the_machine_that_runs_the_tests_can_be_read() -> None:
    """No recorded tree, no stand-in: this machine's own files and tools."""
    device = device_from_system()
    assert device.memory.total_bytes >= device.memory.available_bytes > 0
    assert device.disk is not None
    assert device.python is not None


@pytest.mark.parametrize(
    ("modes", "best"),
    [
        ({0: "15W", 1: "25W", 2: "MAXN_SUPER", 3: "7W"}, 2),
        ({0: "MODE_15W_2CORE", 5: "MODE_10W_DESKTOP", 6: "MODE_20W_2CORE", 8: "MODE_20W_6CORE"}, 8),
        ({0: "MAXN", 1: "MODE_15W", 2: "MODE_30W", 3: "MODE_50W"}, 0),
        ({0: "10W", 1: "7W_AI", 2: "7W_CPU"}, 0),
        ({}, None),
    ],
)
def test_the_strongest_mode_is_not_always_number_0(modes: dict[int, str], best: int | None) -> None:
    """MAXN before watts, watts before cores; where the modes are not known, none is called low."""
    assert strongest(PowerMode(number=0, name="x", others=modes)) == best


def test_every_recorded_machine_names_its_sources() -> None:
    """The README has a row for each."""
    readme = (FOLDER / "README.md").read_text()
    assert [name for name in NAMES if f"| `{name}` |" not in readme] == []


def test_a_control_groups_limit_counts_where_it_leaves_less(tmp_path: Path) -> None:
    """What the kernel would end is not available; pages of files that it can give back at once are."""
    gib = 2**30
    files = {
        "proc/meminfo": f"MemTotal: {8 * gib // 1024} kB\nMemAvailable: {6 * gib // 1024} kB\n",
        "sys/fs/cgroup/memory.max": str(4 * gib),
        "sys/fs/cgroup/memory.current": str(3 * gib),
        "sys/fs/cgroup/memory.stat": f"anon {gib}\ninactive_file {gib}\n",
    }
    device = device_from_system(written(files, tmp_path / "a"), lambda command: None)
    assert device.memory.available_bytes == 2 * gib
    first = {name.replace("cgroup/", "cgroup/memory/"): text for name, text in files.items()}
    for new, old in (("memory.max", "memory.limit_in_bytes"), ("memory.current", "memory.usage_in_bytes")):
        first[f"sys/fs/cgroup/memory/{old}"] = first.pop(f"sys/fs/cgroup/memory/{new}")
    device = device_from_system(written(first, tmp_path / "c"), lambda command: None)
    assert device.memory.available_bytes == 2 * gib  # as JetPack 5 has it
    free = files | {"sys/fs/cgroup/memory.max": "max"}
    assert device_from_system(written(free, tmp_path / "b"), lambda command: None).memory.available_bytes == 6 * gib
