"""Shared memory that is removed when its owner has died, and never while it lives."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from gateway import segments
from gateway.segments import PREFIX, SHM, Owner, abandoned, swept

OWNS = """
import sys, time
from pathlib import Path
from gateway.segments import Owner
owner = Owner.here(Path(sys.argv[1]))
kept = [owner.segment(4096) for _ in range(3)]
print(kept[0].name, flush=True)
time.sleep(60)
"""


@pytest.fixture
def shm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the test's own in shared memory."""
    folder = SHM / f"jetserve_test_{os.getpid()}"
    folder.mkdir()
    yield folder
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


def test_a_segment_is_memory_for_this_user_alone(shm: Path) -> None:
    """Its name tells the process, its bytes are all there, and another mapping of the name sees them."""
    owner = Owner.here(shm)
    segment = owner.segment(10_000)
    assert segment.path.stat().st_blocks * 512 >= 10_000  # before anything is written
    segment.memory[:] = 7
    assert segment.name.startswith(f"jetserve_gateway_{os.getpid()}_")
    status = segment.path.stat()
    assert (status.st_mode & 0o777, status.st_size) == (0o600, 10_000)
    assert np.fromfile(segment.path, np.uint8).tolist() == [7] * 10_000
    owner.close()


def test_memory_outlives_its_name(shm: Path) -> None:
    """Who has mapped a segment goes on with it when its name is gone."""
    owner = Owner.here(shm)
    memory, path = (segment := owner.segment(4096)).memory, segment.path
    segment.remove()
    memory[:] = 1
    assert not path.exists()
    assert int(memory.sum()) == 4096
    owner.close()


def open_files(folder: Path) -> int:
    """Of this process; other threads of it may open and close some at any time, elsewhere."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += descriptor.readlink().is_relative_to(folder)
    return found


def test_no_files_stay_open_and_closing_leaves_nothing(shm: Path) -> None:
    """A descriptor a segment, and one for the lock."""
    owner = Owner.here(shm)
    kept = [owner.segment(4096) for _ in range(20)]
    del kept[10:]
    # mmap keeps a descriptor of its own for each of them.
    assert open_files(shm) == 1 + len(kept)
    kept.clear()
    owner.close()
    assert open_files(shm) == 0
    assert list(shm.iterdir()) == []


def test_what_a_killed_gateway_left_is_swept_and_what_a_living_one_has_is_not(shm: Path) -> None:
    """Whatever its process id: the lock tells."""
    living = Owner.here(shm)
    kept = living.segment(4096)
    process = subprocess.Popen([sys.executable, "-c", OWNS, str(shm)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        try:
            name = process.stdout.readline().strip()
            assert swept(shm) == []
        finally:
            process.kill()
    assert (shm / name).exists()
    assert sorted(swept(shm)) == [f"{name[:-1]}{i}" for i in range(3)]
    assert sorted(path.name for path in shm.iterdir()) == sorted([kept.name, f"{kept.name[:-2]}.lock"])
    assert swept(shm) == []
    living.close()


def test_only_what_a_gateway_of_this_user_made_is_swept(shm: Path) -> None:
    """A lock's name is anybody's to choose: no pattern, no link, no other user's."""
    stem = f"{PREFIX}1_{'0' * 16}"
    kept = [f"{PREFIX}*.lock", f"{PREFIX}1_*.lock", f"{PREFIX}x.lock", f"{stem}_0", f"{stem}_x", f"{stem}.lock.lock"]
    for name in kept:
        (shm / name).touch()
    (shm / f"{stem}.lock").symlink_to(shm / kept[0])
    assert swept(shm) == []
    assert sorted(path.name for path in shm.iterdir()) == sorted([*kept, f"{stem}.lock"])
    (shm / f"{stem}.lock").unlink()
    (shm / f"{stem}.lock").touch()
    assert swept(shm) == [f"{stem}_0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_left_is_not_swept(shm: Path) -> None:
    """Whoever may open its lock: this user's root."""
    stem = f"{PREFIX}1_{'0' * 16}"
    for name in (f"{stem}.lock", f"{stem}_0"):
        (shm / name).touch()
        os.chown(shm / name, 12345, 12345)
    assert swept(shm) == []
    assert len(list(shm.iterdir())) == 2


def test_names_without_a_segment_are_abandoned(shm: Path) -> None:
    """If they are such as gateways give."""
    owner = Owner.here(shm)
    name, gone = owner.segment(4096).name, f"{PREFIX}1_{'0' * 16}_7"
    assert abandoned([name, gone, "other", f"x{gone}", f"{gone}x"], shm) == [gone]
    owner.close()
    assert abandoned([name], shm) == [name]


def test_threads_that_grow_at_once_leave_room_together(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks at what is free when no other is about to take it."""
    owner, looking, most = Owner.here(shm), [0], [0]
    statvfs = os.statvfs

    def watched(folder: Path) -> os.statvfs_result:
        looking[0] += 1
        most[0] = max(most[0], looking[0])
        threading.Event().wait(0.02)
        looking[0] -= 1
        return statvfs(folder)

    monkeypatch.setattr(os, "statvfs", watched)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(owner.segment, [4096] * 8))
    assert most == [1]
    owner.close()


def test_room_is_left_for_triton(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that took all of it would make Triton's models fail; the message says what to do."""
    owner = Owner.here(shm)
    monkeypatch.setattr(segments, "KEPT_FREE_BYTES", 1 << 50)
    with pytest.raises(OSError, match="--shm-size"):
        owner.segment(4096)
    owner.close()
    assert list(shm.iterdir()) == []
