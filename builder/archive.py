"""The files of a bundle, from a folder or a zip, read into memory and never unpacked to disk."""

import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from vision.errors import BuildError

MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit for one message, and so for one ONNX file
MAX_TEXT_BYTES = 4 * 2**20  # of the JSON files and labels.txt
MAX_ENTRIES = 10_000
MAX_RATIO = 200  # weights hardly compress; what shrinks more than this was made to fill memory


def files_from_path(path: Path, names: frozenset[str]) -> dict[str, bytes]:
    """Those of `names` that the bundle holds, by name. A zip may keep them in one top folder.

    Raises:
        BuildError: no such folder or zip, a damaged or encrypted zip, entries that point outside it, or that are
            larger than any model can be.
    """
    try:
        if path.is_dir():
            return {name: _bounded(path / name, _limit_of(name)) for name in names if (path / name).is_file()}
        with zipfile.ZipFile(path) as archive:
            return _from_zip(archive, path, names)
    except zipfile.BadZipFile as exc:
        raise BuildError("read", f"{path} is neither a folder nor a whole zip file ({exc}); copy it again") from exc
    except (
        RuntimeError,
        NotImplementedError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
    ) as exc:  # encrypted, an unknown compression, damaged
        raise BuildError("read", f"{path} cannot be unpacked ({exc}); pack it again as a plain zip") from exc
    except OSError as exc:
        raise BuildError("read", f"cannot read {path}: {exc.strerror or exc}; expected a bundle folder or zip") from exc


def file_from_path(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of one file.

    Raises:
        BuildError: it cannot be read, or is larger than `limit` bytes.
    """
    try:
        return _bounded(path, limit)
    except OSError as exc:
        raise BuildError("read", f"cannot read {path}: {exc.strerror or exc}") from exc


def _bounded(path: Path, limit: int) -> bytes:
    _check_size(str(path), path.stat().st_size, limit)
    return path.read_bytes()


def _limit_of(name: str) -> int:
    """Of one of a bundle's files."""
    return MAX_FILE_BYTES if name.endswith(".onnx") else MAX_TEXT_BYTES


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise BuildError("read", f"{name} has {size} bytes, expected at most {limit}; is it the file that was meant?")


def _from_zip(archive: zipfile.ZipFile, path: Path, names: frozenset[str]) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MAX_ENTRIES:
        raise BuildError("read", f"{path} holds {len(entries)} files, over {MAX_ENTRIES}; expected a bundle's few")
    for entry in entries:
        inside = PurePosixPath(entry.filename.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or ":" in entry.filename:
            raise BuildError("read", f"{path} holds {entry.filename!r}, which points outside it; it is not a bundle")
    top = _top_folder(entries, path, names)
    wanted = {top + name: name for name in names}
    return {wanted[entry.filename]: _unpacked(archive, entry, path) for entry in entries if entry.filename in wanted}


def _top_folder(entries: list[zipfile.ZipInfo], path: Path, names: frozenset[str]) -> str:
    """What stands before the wanted files' names: nothing, or one folder and a slash."""
    tops = {
        entry.filename[: -len(PurePosixPath(entry.filename).name)]
        for entry in entries
        if PurePosixPath(entry.filename).name in names and not entry.filename.startswith("__MACOSX/")
    }
    if len(tops) > 1:
        raise BuildError("read", f"{path} holds bundle files in {sorted(tops)}; expected one bundle in one folder")
    top = tops.pop() if tops else ""
    if top.count("/") > 1:
        raise BuildError("read", f"{path} holds its bundle in {top!r}; expected it at the top or in one top folder")
    return top


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    """The entry's bytes. Its header's size is checked here; zipfile stops there, and checks the CRC."""
    name = f"{path}: {entry.filename}"
    _check_size(name, entry.file_size, _limit_of(entry.filename))
    if entry.file_size > MAX_TEXT_BYTES and entry.file_size > MAX_RATIO * entry.compress_size:
        raise BuildError("read", f"{name} grows from {entry.compress_size} to {entry.file_size} bytes; no model does")
    with archive.open(entry) as file:
        return file.read(entry.file_size)
