"""Where the log goes, and what a line looks like."""

import logging


def log_to_stderr(level: str, who: str = "") -> None:
    """From `level` on; lines say `who` where several processes share the stream."""
    name = f" {who}" if who else ""
    logging.basicConfig(level=level.upper(), format=f"%(asctime)s{name} %(levelname)s %(name)s: %(message)s")
    # What it has to say below that are the heads of callers' handshakes, keys and cookies among them.
    logging.getLogger("uvicorn.error").setLevel(max(logging.INFO, logging.getLogger().level))
