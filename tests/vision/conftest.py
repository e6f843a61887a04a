"""mmdeploy publishes its SDK for x86-64 and Python up to 3.11: elsewhere the comparisons with it cannot run."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("mmdeploy_runtime") else ["test_transforms_sdk.py", "test_heads_sdk.py"]
