"""For HEALTHCHECK, in images without curl: `python healthcheck.py http://127.0.0.1:8080/health/live`.

Ends with 0 when the address answers 200, else with 1 and what it said, which `docker inspect` shows.
"""

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0


def main(url: str) -> int:
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # a proxy of the environment knows no loopback
    try:
        with direct.open(url, timeout=TIMEOUT_S):
            return 0
    except urllib.error.HTTPError as exc:
        print(f"{url} answered {exc.code}: {exc.read().decode(errors='replace')}")  # noqa: T201 - for docker inspect
    except OSError as exc:
        print(f"{url} does not answer: {exc}")  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
