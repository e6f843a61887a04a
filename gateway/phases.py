"""Where a request's time went."""


def server_timing(milliseconds: dict[str, float]) -> str:
    """The value of a `Server-Timing` header (W3C Server Timing): `decode;dur=4.2, …, total;dur=31.7`."""
    return ", ".join(f"{name};dur={spent_ms:g}" for name, spent_ms in milliseconds.items())
