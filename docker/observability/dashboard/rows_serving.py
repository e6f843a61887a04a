"""What is asked, what is answered and how long it takes."""

from panel import Panel, Query, Row

RELEASE = 'namespace=~"$namespace", release=~"$release"'
HERE = f'{RELEASE}, instance=~"$gateway"'
MODEL = f'{RELEASE}, model=~"$model"'
BOTH = f'{HERE}, model=~"$model"'
FAULTS = "internal|backend_failure|backend_unavailable|model_not_ready|deadline_exceeded"
FAILED = f'{BOTH}, outcome=~"{FAULTS}"'
ANSWERABLE = f'{BOTH}, outcome=~"ok|{FAULTS}"'
REFUSED = f'{BOTH}, outcome=~"overloaded|rate_limited"'
WHOLE = f'{BOTH}, phase="total"'
PHASES = f'{BOTH}, phase!="total"'


def firing(labels: str = 'alertstate="firing"') -> str:
    """The project's alerts that fire, with those about no release, of disks for instance; and nobody else's."""
    own = f'ALERTS{{{labels}, product="jetserve"'
    return f'{own}, {RELEASE}}} or {own}, release=""}}'


def rate(metric: str, labels: str, by: str = "") -> str:
    """A counter's rate over the chosen window, added up by these labels."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$window]))" if by else f"sum(rate({metric}{{{labels}}}[$window]))"


def share(metric: str, some: str, of: str, by: str) -> str:
    """Of a counter's rate, what has the labels `some`; 0 where nothing has."""
    whole = rate(metric, of, by)
    return f"({rate(metric, some, by)} or 0 * {whole}) / {whole}"


def quantile(share: float, labels: str, by: str) -> str:
    """Of the time of the phases with these labels."""
    buckets = rate("gateway_phase_seconds_bucket", labels, f"{by}, le")
    return f"histogram_quantile({share}, {buckets})"


REQUESTS = rate("gateway_requests_total", BOTH)

NOW = Row(
    "Now",
    4,
    (
        Panel("Requests", "Requests of all kinds a second.", "reqps", (Query(REQUESTS, "requests"),), "stat", 4),
        Panel(
            "Failed",
            "Share of the requests that failed by no fault of the caller's; refusals (429) are not among them.",
            "percentunit",
            (Query(share("gateway_requests_total", FAILED, ANSWERABLE, ""), "failed"),),
            "stat",
            4,
            most=1,
            bad_from=0.001,
        ),
        Panel(
            "p99", "Time of an answer, of 99 in 100.", "s", (Query(quantile(0.99, WHOLE, "phase"), "p99"),), "stat", 4
        ),
        Panel(
            "Gateways and Tritons",
            "How many answer when Prometheus asks them.",
            "none",
            (
                Query(f'sum(up{{job="jetserve-gateway", {RELEASE}}}) or vector(0)', "gateways"),
                Query(f'sum(up{{job="jetserve-triton", {RELEASE}}}) or vector(0)', "Tritons"),
            ),
            "stat",
            4,
        ),
        Panel(
            "Models ready",
            "Models that every gateway can ask, and those that none or only some can.",
            "none",
            (
                Query(
                    f"count(min by (namespace, release, model) (gateway_model_ready{{{BOTH}}}) == 1) or vector(0)",
                    "ready",
                ),
                Query(
                    f"count(min by (namespace, release, model) (gateway_model_ready{{{BOTH}}}) == 0) or vector(0)",
                    "not ready",
                ),
            ),
            "stat",
            4,
        ),
        Panel(
            "Alerts",
            "Alerts that fire. What each means and what to do: docs/12-watching.md.",
            "none",
            (Query(f"count({firing()}) or vector(0)", "firing"),),
            "stat",
            4,
            bad_from=1,
        ),
    ),
)

PROMISES = Row(
    "Promises",
    8,
    (
        Panel(
            "Availability: budget burnt",
            "How many times faster than the objective allows requests fail. Above 14.4 in an hour somebody is woken.",
            "none",
            (
                Query(f"model:availability:burn1h{{{MODEL}}}", "{{model}} 1 h {{namespace}} {{release}}"),
                Query(f"model:availability:burn6h{{{MODEL}}}", "{{model}} 6 h {{namespace}} {{release}}"),
            ),
            bad_from=14.4,
        ),
        Panel(
            "Latency: budget burnt",
            "The same for answers that take longer than the threshold.",
            "none",
            (
                Query(f"model:latency:burn1h{{{MODEL}}}", "{{model}} 1 h {{namespace}} {{release}}"),
                Query(f"model:latency:burn6h{{{MODEL}}}", "{{model}} 6 h {{namespace}} {{release}}"),
            ),
            bad_from=14.4,
        ),
        Panel(
            "Alerts that fire",
            "By name, with what they are about.",
            "none",
            (Query(firing(), "{{alertname}}"),),
            "table",
        ),
    ),
)

ASKED = Row(
    "Requests",
    8,
    (
        Panel(
            "Requests by model",
            "A second. `-` is every name that no model has.",
            "reqps",
            (Query(rate("gateway_requests_total", BOTH, "model"), "{{model}}"),),
            stacked=True,
        ),
        Panel(
            "Requests by outcome",
            "ok, a kind of error, or caller_gone: whoever asked hung up.",
            "reqps",
            (Query(rate("gateway_requests_total", BOTH, "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Requests by transport",
            "http, grpc, oip-http (Triton's protocol over HTTP), and the frames of streams.",
            "reqps",
            (Query(rate("gateway_requests_total", BOTH, "transport"), "{{transport}}"),),
            stacked=True,
        ),
        Panel(
            "Failures by outcome",
            "Those that count against availability, a second.",
            "reqps",
            (Query(rate("gateway_requests_total", FAILED, "model, outcome"), "{{model}} {{outcome}}"),),
        ),
        Panel(
            "Refused (429)",
            "Share of the requests that found no permit, or the model's queue full.",
            "percentunit",
            (Query(share("gateway_requests_total", REFUSED, BOTH, "model"), "{{model}}"),),
            most=1,
            bad_from=0.05,
        ),
        Panel(
            "Frames dropped",
            "Frames of streams that gave way to newer ones, a second: the camera is faster than the model.",
            "reqps",
            (Query(rate("gateway_frames_dropped_total", BOTH, "model, transport"), "{{model}} {{transport}}"),),
        ),
    ),
)

TIME = Row(
    "Time",
    9,
    (
        Panel(
            "Waterfall",
            "Mean time of a request by phase, upon each other: together they are the whole. A phase that some requests"
            " do not have counts as none for these. What each is: docs/05-gateway.md.",
            "s",
            (
                Query(
                    f"{rate('gateway_phase_seconds_sum', PHASES, 'phase')} / on () group_left ()"
                    f" {rate('gateway_phase_seconds_count', WHOLE)}",
                    "{{phase}}",
                ),
            ),
            width=12,
            stacked=True,
        ),
        Panel(
            "Whole requests",
            "Median and p99 of the time in the gateway, by model; the network to the caller is not in it.",
            "s",
            (
                Query(quantile(0.5, WHOLE, "model"), "{{model}} p50"),
                Query(quantile(0.99, WHOLE, "model"), "{{model}} p99"),
            ),
            width=12,
        ),
        Panel(
            "p99 by phase",
            "Which phase the slow requests spend their time in.",
            "s",
            (Query(quantile(0.99, PHASES, "phase"), "{{phase}}"),),
            width=12,
        ),
        Panel(
            "Slow answers",
            "Share of the answers that take longer than jetserve:latency:threshold, in five minutes.",
            "percentunit",
            (
                Query(
                    f"model:answers_slow:rate5m{{{MODEL}}} / model:answers:rate5m{{{MODEL}}}",
                    "{{model}} {{namespace}} {{release}}",
                ),
            ),
            width=12,
            most=1,
            bad_from=0.01,
        ),
    ),
)

ROWS = (NOW, PROMISES, ASKED, TIME)
