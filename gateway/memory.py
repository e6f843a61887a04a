"""How the C library keeps freed memory: photos and batches of a few megabytes come and go with every request."""

import ctypes
import sys
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_KEPT_BYTES = 32 << 20
"""The most that glibc takes for M_MMAP_THRESHOLD: a photo of 11 megapixels. Larger ones still go back at once."""
KEPT_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Let freed buffers be used again rather than handed to the kernel; False where the C library is not glibc.

    By default every decoded photo is mapped anew and its pages are faulted in one by one: half of the time that
    decoding takes (docs/log.md).
    """
    if sys.platform != "linux":
        return False
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
    return False
