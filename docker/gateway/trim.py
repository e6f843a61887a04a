"""Leave out of an environment what the gateway never runs: python trim.py SITE_PACKAGES. Needs binutils.

What, how much and why is in docs/11-containers.md; proof.py tries what must still work.
"""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

NEVER_IMPORTED = ["numpy/f2py", "numpy/_core/include", "pygments"]  # rich wants pygments for source code in a terminal
NEVER_READ = ["*.pyi", "*.a", "*.pyx", "*.pxd", "*.h"]
WITH_SYMBOLS = ["ml_dtypes/*.so", "uvloop/*.so", "rapidjson*.so"]
"""Libraries that a wheel's maker has patched must stay as they are: stripped, some can no longer be loaded."""
NEVER_CALLED = re.compile(r"lib(av(codec|format|util)|sw\w+|vpx|crypto|ssl|drm|openblas|gfortran|quadmath)\w*[-.]")
"""Of OpenCV's: FFmpeg and what it stands on, for videos; OpenBLAS, for linear algebra."""
NO_INSTRUCTION = ".byte 0x0f, 0x0b, 0, 0"  # amd64: ud2; arm64, where it reads 0x00000b0f: udf


def main(site: Path) -> None:
    for name in [*NEVER_IMPORTED, *(str(path.relative_to(site)) for path in site.rglob("tests") if path.is_dir())]:
        shutil.rmtree(site / name, ignore_errors=True)  # one may lie in another
    for pattern in NEVER_READ:
        for path in list(site.rglob(pattern)):
            path.unlink()
    for pattern in WITH_SYMBOLS:
        for path in site.glob(pattern):
            output("strip", "--strip-unneeded", path)
    wanted = {symbol for symbol, _ in symbols(next(site.glob("cv2/cv2*.so")), "--undefined-only")}
    for path in list(site.glob("opencv_python_headless.libs/*")):
        if NEVER_CALLED.match(path.name):
            replace(path, wanted)


def replace(library: Path, wanted: set[str]) -> None:
    """A library of the same name with the `wanted` ones of its functions, each of which ends the process; or none."""
    by_version = defaultdict(list)
    for symbol, version in symbols(library, "--defined-only"):
        if symbol in wanted:
            by_version[version].append(symbol)
    if not by_version:  # needed by others of these alone
        library.unlink()
        return
    found = sorted(symbol for named in by_version.values() for symbol in named)
    lines = [f".globl {symbol}\n.type {symbol}, %function\n{symbol}:\n" for symbol in found]
    source, built, versions = (Path(f"/tmp/empty.{end}") for end in ("s", "o", "map"))  # noqa: S108 - in a build stage
    source.write_text(f".text\n{''.join(lines)}{NO_INSTRUCTION}\n")
    output("as", source, "-o", built)
    blocks = [
        f"{version} {{ {' '.join(f'{symbol};' for symbol in named)} }};\n" for version, named in by_version.items()
    ]
    versions.write_text("".join(blocks) if all(by_version) else "{ *; };")
    output("ld", "-shared", "-soname", library.name, "--version-script", versions, "-o", library, built)


def symbols(library: Path, kind: str) -> set[tuple[str, str]]:
    """Names and versions ("" where it has none) of the library's dynamic symbols."""
    lines = output("nm", "--dynamic", kind, "--with-symbol-versions", library).split("\n")
    parts = [re.split("@+", line.split()[-1]) for line in lines if line]
    return {(name, version[0] if version else "") for name, *version in parts}


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - binutils


if __name__ == "__main__":
    main(Path(sys.argv[1]))
