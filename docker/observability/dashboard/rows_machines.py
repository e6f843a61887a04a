"""What does the work: Tritons, gateways, devices."""

from panel import Panel, Query, Row
from rows_serving import BOTH, HERE, MODEL, rate, share

SHARED = f'{BOTH}, path="shared_memory"'

TRITON = Row(
    "Triton",
    8,
    (
        Panel(
            "Queue",
            "Mean time that a request waits in Triton for an instance and for company, by Triton's own account.",
            "s",
            (
                Query(
                    f"{rate('nv_inference_queue_duration_us', MODEL, 'model')}"
                    f" / {rate('nv_inference_request_success', MODEL, 'model')} / 1e6",
                    "{{model}}",
                ),
            ),
        ),
        Panel(
            "Batch size",
            "Images in one run of the model: inferences by executions. Above 1 requests share runs.",
            "none",
            (
                Query(
                    f"{rate('nv_inference_count', MODEL, 'model')} / {rate('nv_inference_exec_count', MODEL, 'model')}",
                    "{{model}}",
                ),
            ),
        ),
        Panel(
            "Waiting in Triton",
            "Requests that Triton has not begun.",
            "none",
            (Query(f"sum by (model) (nv_inference_pending_request_count{{{MODEL}}})", "{{model}}"),),
        ),
        Panel(
            "Inferences and executions",
            "Images that went through the network a second, and runs of it.",
            "ops",
            (
                Query(rate("nv_inference_count", MODEL, "model"), "{{model}} images"),
                Query(rate("nv_inference_exec_count", MODEL, "model"), "{{model}} runs"),
            ),
        ),
        Panel(
            "Compute",
            "Mean time in the model: putting inputs in place, the network, taking outputs out.",
            "s",
            tuple(
                Query(
                    f"{rate(f'nv_inference_compute_{part}_duration_us', MODEL, 'model')}"
                    f" / {rate('nv_inference_request_success', MODEL, 'model')} / 1e6",
                    f"{{{{model}}}} {part}",
                )
                for part in ("input", "infer", "output")
            ),
            stacked=True,
        ),
        Panel(
            "Failures in Triton",
            "Requests that Triton failed, by its reason, a second.",
            "reqps",
            (Query(rate("nv_inference_request_failure", MODEL, "model, reason"), "{{model}} {{reason}}"),),
        ),
    ),
)

REPLICAS = Row(
    "Replicas",
    8,
    (
        Panel(
            "Replicas up",
            "1 for a Triton that the gateway sends requests to.",
            "none",
            (Query(f"gateway_replica_up{{{HERE}}}", "{{instance}} → {{replica}}"),),
            most=1,
        ),
        Panel(
            "In flight by replica",
            "Requests that the replica works on now.",
            "none",
            (Query(f"sum by (replica) (gateway_replica_in_flight{{{HERE}}})", "{{replica}}"),),
            stacked=True,
        ),
        Panel(
            "Share by replica",
            "Of the calls of the window, how many each replica took: even, where all are as quick.",
            "percentunit",
            (
                Query(
                    f"{rate('gateway_replica_requests_total', HERE, 'replica')} / on () group_left ()"
                    f" {rate('gateway_replica_requests_total', HERE)}",
                    "{{replica}}",
                ),
            ),
            most=1,
        ),
        Panel(
            "Retries",
            "Calls that were sent once more, to another replica, a second.",
            "reqps",
            (Query(rate("gateway_retries_total", HERE, "reason"), "{{reason}}"),),
        ),
        Panel(
            "Calls by outcome",
            "What each replica answered, a second.",
            "reqps",
            (Query(rate("gateway_replica_requests_total", HERE, "replica, outcome"), "{{replica}} {{outcome}}"),),
        ),
        Panel(
            "Tritons reached",
            "1 where the gateway could ask a Triton for its models.",
            "none",
            (Query(f"gateway_triton_reachable{{{HERE}}}", "{{instance}}"),),
            most=1,
        ),
    ),
)

GATEWAYS = Row(
    "Gateways",
    8,
    (
        Panel(
            "Permits",
            "Taken, and how many there are: all of a gateway's workers together.",
            "none",
            (
                Query(f"gateway_permits_taken{{{HERE}}}", "{{instance}} taken"),
                Query(f"gateway_permits{{{HERE}}}", "{{instance}} all"),
                Query(f"gateway_requests_in_flight{{{HERE}}}", "{{instance}} in work"),
            ),
        ),
        Panel(
            "Through shared memory",
            "Share of the calls to Triton whose photos went through shared memory.",
            "percentunit",
            (Query(share("gateway_tensor_path_requests_total", SHARED, BOTH, "model"), "{{model}}"),),
            most=1,
        ),
        Panel(
            "Shared memory",
            "Bytes of all slots.",
            "bytes",
            (Query(f"gateway_shared_memory_bytes{{{HERE}}}", "{{instance}}"),),
            stacked=True,
        ),
        Panel(
            "Slots",
            "Slots, and pieces that Triton has yet to let go of.",
            "none",
            (
                Query(f"gateway_shared_memory_slots{{{HERE}}}", "{{instance}} slots"),
                Query(f"gateway_shared_memory_retired{{{HERE}}}", "{{instance}} retired"),
            ),
        ),
        Panel(
            "Workers",
            "Processes that serve, of each gateway.",
            "none",
            (Query(f"gateway_workers{{{HERE}}}", "{{instance}}"),),
        ),
        Panel(
            "Versions",
            "Gateways by the version that they run: two lines while a new one is rolled out.",
            "none",
            (Query(f"count by (version) (gateway_build_info{{{HERE}}})", "{{version}}"),),
            stacked=True,
        ),
    ),
)

DEVICE = Row(
    "Device (a Jetson)",
    8,
    (
        Panel(
            "GPU and memory bus",
            "Share of the time that they work. Thor's GPU is told by jtop only.",
            "percentunit",
            (
                Query(f"gateway_device_gpu_load_ratio{{{HERE}}}", "{{instance}} GPU"),
                Query(f"gateway_device_memory_bus_load_ratio{{{HERE}}}", "{{instance}} memory bus"),
            ),
            most=1,
        ),
        Panel(
            "CPU",
            "Share of the time that the cores work, all together.",
            "percentunit",
            (Query(f"avg by (instance) (gateway_device_cpu_load_ratio{{{HERE}}})", "{{instance}}"),),
            most=1,
        ),
        Panel(
            "Clocks",
            "Of the GPU and the fastest core: what a power mode or throttling allows.",
            "hertz",
            (
                Query(f"gateway_device_gpu_clock_hertz{{{HERE}}}", "{{instance}} GPU"),
                Query(f"max by (instance) (gateway_device_cpu_clock_hertz{{{HERE}}})", "{{instance}} CPU"),
            ),
        ),
        Panel(
            "Memory",
            "Of CPU and GPU together, and swap.",
            "bytes",
            (
                Query(f"gateway_device_memory_used_bytes{{{HERE}}}", "{{instance}} used"),
                Query(f"gateway_device_memory_total_bytes{{{HERE}}}", "{{instance}} all"),
                Query(f"gateway_device_swap_used_bytes{{{HERE}}}", "{{instance}} swap"),
            ),
        ),
        Panel(
            "Power",
            "What the module draws, and each rail that is measured.",
            "watt",
            (
                Query(f"gateway_device_power_watts{{{HERE}}}", "{{instance}} module"),
                Query(f"gateway_device_rail_power_watts{{{HERE}}}", "{{instance}} {{rail}}"),
            ),
        ),
        Panel(
            "Temperature",
            "By thermal zone; PMIC is left out, whose figure is no measurement.",
            "celsius",
            (Query(f'gateway_device_temperature_celsius{{{HERE}, zone!~"pmic.*"}}', "{{instance}} {{zone}}"),),
            bad_from=90,
        ),
        Panel(
            "Throttling",
            "1 while the kernel slows the clocks, and what for.",
            "none",
            (
                Query(f"gateway_device_throttled{{{HERE}}}", "{{instance}} throttled"),
                Query(f"gateway_device_throttle_alert{{{HERE}}}", "{{instance}} {{alert}}"),
            ),
            most=1,
        ),
        Panel(
            "Over-current",
            "Events since the device was started.",
            "none",
            (Query(f"gateway_device_overcurrent_events{{{HERE}}}", "{{instance}}"),),
        ),
        Panel(
            "Last look",
            "Seconds since the device was last looked at.",
            "s",
            (Query(f"time() - gateway_device_sample_timestamp_seconds{{{HERE}}}", "{{instance}}"),),
            bad_from=60,
        ),
    ),
)

MACHINE = Row(
    "Machine",
    8,
    (
        Panel(
            "CPU of the machine",
            "Share of the time that its cores work, whoever they work for.",
            "percentunit",
            (
                Query(
                    '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$window]))',
                    "{{instance}}",
                ),
            ),
            most=1,
        ),
        Panel(
            "Memory of the machine",
            "What is left to take, and how much there is.",
            "bytes",
            (
                Query("node_memory_MemAvailable_bytes", "{{instance}} left"),
                Query("node_memory_MemTotal_bytes", "{{instance}} all"),
            ),
        ),
        Panel(
            "Disks",
            "Share that is left: of models, of metrics, and of the memory that gateway and Triton share.",
            "percentunit",
            (Query("node_filesystem_avail_bytes / node_filesystem_size_bytes", "{{instance}} {{mountpoint}}"),),
            most=1,
        ),
    ),
)

ROWS = (TRITON, REPLICAS, GATEWAYS, DEVICE, MACHINE)
