"""Serves `model.onnx`, which lies beside this file, with ONNX Runtime in Triton's Python backend.

Copied by the builder into a model's version folder, for a Triton that has no ONNX Runtime backend of its own. Runs
in Triton's environment, where nothing else of this project can be imported. Parameters in `config.pbtxt`:

    threads     threads within one operator; "0" is one per core
    providers   ONNX Runtime execution providers, in order of preference, separated by commas
"""

import faulthandler
import functools
import json
import os
import select
import signal
import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
}


class TritonPythonModel:
    """One instance of the model: one ONNX Runtime session."""

    def initialize(self, args):
        """Open the session and check that graph and configuration agree, so that a mistake stops the load."""
        if not np.__version__.startswith("1."):
            raise RuntimeError(
                f"NumPy {np.__version__} is installed, and with NumPy 2 Triton's Python backend answers with empty "
                "outputs: install numpy<2 in Triton's environment"
            )
        loaded = end_with(os.getppid())
        config = json.loads(args["model_config"])
        self.max_batch = int(config["max_batch_size"])
        self.inputs, self.outputs = config["input"], config["output"]
        folder = Path(args["model_repository"]) / args["model_version"]
        self.session = session_from_parameters(folder / "model.onnx", config.get("parameters", {}))
        self.run_rows = self._rows_of_a_run()
        self._check_tensors("input", self.inputs, self.session.get_inputs())
        self._check_tensors("output", self.outputs, self.session.get_outputs())
        self._warm_up()
        loaded()

    def execute(self, requests):
        """Answer every request, joining those of equal shape into one run.

        A request that is wrong, or that the graph cannot run, is answered with its own error.
        """
        responses = [None] * len(requests)
        feeds = {}
        for index, request in enumerate(requests):
            try:
                feeds[index] = self._feed_from_request(request)
            except ValueError as exc:
                responses[index] = error_response(str(exc), pb_utils.TritonError.INVALID_ARG)
            except Exception as exc:  # noqa: BLE001 - raised further, it would fail the requests beside it
                message = f"the request cannot be read: {exc!r}"
                responses[index] = error_response(message, pb_utils.TritonError.INTERNAL)
        for indices in self._batches(feeds):
            answers = self._answers([feeds[index] for index in indices])
            for index, answer in zip(indices, answers, strict=True):
                responses[index] = answer
        return responses

    def finalize(self):
        self.session = None

    def _feed_from_request(self, request):
        """Arrays by input name, as views of Triton's shared memory; ValueError where one is not as declared."""
        feed = {}
        for declared in self.inputs:
            name = declared["name"]
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                raise ValueError(f"input {name!r} is missing")
            feed[name] = array = tensor.as_numpy()
            expected = shape_from_config(declared, self.max_batch)
            if not fits(array.shape, expected) or array.dtype != numpy_type(declared):
                raise ValueError(
                    f"input {name!r}: expected {numpy_type(declared)} {expected}, got {array.dtype} {list(array.shape)}"
                )
        if self.max_batch and len({len(array) for array in feed.values()}) != 1:
            raise ValueError(f"inputs differ in batch: { {name: len(array) for name, array in feed.items()} }")
        return feed

    def _batches(self, feeds):
        """Indices of requests that can be run together, in order of arrival, each at most one run long."""
        open_batches = {}
        for index, feed in feeds.items():
            if not self.max_batch:
                yield [index]
                continue
            key = tuple(array.shape[1:] for array in feed.values())
            indices, rows = open_batches.get(key, ([], 0))
            if indices and rows + batch_size(feed) > self.run_rows:
                yield indices
                indices, rows = [], 0
            open_batches[key] = ([*indices, index], rows + batch_size(feed))
        yield from (indices for indices, _ in open_batches.values())

    def _answers(self, feeds):
        """One response a feed; when the joint run fails, each is run alone so that only the culprit fails."""
        try:
            return [response_from_outputs(outputs) for outputs in self._run(feeds)]
        except Exception as exc:  # noqa: BLE001 - ONNX Runtime's own errors share no other base
            if len(feeds) > 1:
                return [self._answers([feed])[0] for feed in feeds]
            return [error_response(f"the graph failed on this request: {exc}", pb_utils.TritonError.INTERNAL)]

    def _run(self, feeds):
        """Outputs by name for each feed, from one run of the graph."""
        joint = feeds[0]
        rows = [batch_size(feed) for feed in feeds] if self.max_batch else [0]
        if len(feeds) > 1:
            joint = {name: np.concatenate([feed[name] for feed in feeds]) for name in joint}
        if self.fixed_batch:
            joint = {name: padded(array, self.fixed_batch) for name, array in joint.items()}
        names = [declared["name"] for declared in self.outputs]
        outputs = dict(zip(names, self.session.run(names, joint), strict=True))
        if not self.max_batch:
            return [outputs]
        expected = self.fixed_batch or sum(rows)
        for name, array in outputs.items():
            if len(array) != expected:
                raise ValueError(f"output {name!r} has {len(array)} rows for {expected} images")
        ends = np.cumsum(rows)
        return [
            {name: array[end - count : end] for name, array in outputs.items()}
            for end, count in zip(ends, rows, strict=True)
        ]

    def _rows_of_a_run(self):
        """Images a run takes: `max_batch_size`, or the batch that is fixed in the graph; smaller runs are padded."""
        first = [tensor.shape[0] for tensor in self.session.get_inputs() if tensor.shape]
        self.fixed_batch = first[0] if self.max_batch and first and isinstance(first[0], int) else 0
        if self.fixed_batch and self.max_batch > self.fixed_batch:
            raise RuntimeError(
                f"model.onnx takes exactly {self.fixed_batch} images a run, but max_batch_size is {self.max_batch}: "
                f"set it to {self.fixed_batch}, or export the model with a dynamic batch"
            )
        return self.fixed_batch or self.max_batch

    def _check_tensors(self, kind, declared, found):
        graph = {tensor.name: tensor for tensor in found}
        names = [tensor["name"] for tensor in declared]
        unmatched = set(names) ^ set(graph) if kind == "input" else set(names) - set(graph)
        if unmatched:
            raise RuntimeError(
                f"{kind}s differ in {sorted(unmatched)}: config.pbtxt has {names}, model.onnx has {list(graph)}"
            )
        for tensor in declared:
            onnx = graph[tensor["name"]]
            shape = shape_from_config(tensor, self.max_batch)
            onnx_type = TRITON_TYPES.get(onnx.type, onnx.type)
            if onnx_type != tensor["data_type"] or (onnx.shape and not may_fit(shape, onnx.shape, self.max_batch)):
                raise RuntimeError(
                    f"{kind} {tensor['name']!r}: config.pbtxt says {tensor['data_type']} {shape}, "
                    f"model.onnx says {onnx_type} {onnx.shape}: import the model again"
                )

    def _warm_up(self):
        """Run once on zeros: a graph that cannot run fails at load, and the first request is no slower than others."""
        shapes = {tensor["name"]: shape_from_config(tensor, 0) for tensor in self.inputs}
        if any(side < 0 for shape in shapes.values() for side in shape):
            return  # any size: nothing says which one the graph accepts
        batch = [1] if self.max_batch else []
        self._run([{t["name"]: np.zeros(batch + shapes[t["name"]], numpy_type(t)) for t in self.inputs}])


WATCH_S = 2.0
STUCK_S = 15.0


def end_with(pid):
    """End this process, the backend's stub, when Triton ends.

    The stub looks for that itself, but waits forever on a lock in shared memory if Triton was killed holding it
    (3 of 16 kills after an inference, Triton 2.51.0). It may hold Python's own lock meanwhile, and then no thread of
    Python's can act: the watchdog that `faulthandler` keeps in C ends the process if nobody has put it off for a while.
    Loading a graph may take as long as it likes: the watchdog starts when the function that this returns is called.
    """
    triton = os.pidfd_open(pid)
    put_off = functools.partial(faulthandler.dump_traceback_later, STUCK_S, exit=True, file=2)
    is_loaded = threading.Event()

    def loaded():
        is_loaded.set()
        put_off()

    def watch():
        ended = select.poll()
        ended.register(triton, select.POLLIN)
        while not ended.poll(WATCH_S * 1000):
            if is_loaded.is_set():
                put_off()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    return loaded


def session_from_parameters(path, parameters):
    """An ONNX Runtime session for the file at `path`; RuntimeError when it or a parameter is wrong."""
    if not path.is_file():
        raise RuntimeError(f"{path} does not exist: import the model again")
    values = {name: value["string_value"] for name, value in parameters.items()}
    threads = values.get("threads", "0")
    if not threads.isdecimal():
        raise RuntimeError(f"parameter threads is {threads!r}: expected a whole number, 0 for one per core")
    wanted = [name.strip() for name in values.get("providers", "CPUExecutionProvider").split(",")]
    available = ort.get_available_providers()
    if unknown := [name for name in wanted if name not in available]:
        raise RuntimeError(f"parameter providers names {unknown}; this ONNX Runtime has {available}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(threads)
    # Threads spin during a run, which makes it quick, and stop after it: the gateway may be on the same cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(path), options, providers=wanted)


def shape_from_config(tensor, max_batch):
    """The full shape, -1 for any size, with the batch first where the model has one."""
    dims = [int(side) for side in tensor["dims"]]
    return [-1, *dims] if max_batch else dims


def numpy_type(tensor):
    return np.dtype(pb_utils.triton_string_to_numpy(tensor["data_type"]))


def fits(shape, expected):
    """Whether an array's shape is the expected one, where -1 is any size."""
    return len(shape) == len(expected) and all(e in (-1, s) for s, e in zip(shape, expected, strict=True))


def may_fit(shape, onnx_shape, max_batch):
    """Whether a shape of the configuration and one of the graph can be the same; names and -1 are any size."""
    pairs = list(zip(shape, onnx_shape, strict=False))[1 if max_batch else 0 :]
    return len(shape) == len(onnx_shape) and all(s == -1 or s == o or not isinstance(o, int) for s, o in pairs)


def batch_size(feed):
    return len(next(iter(feed.values())))


def padded(array, rows):
    """`array` with its last row repeated up to `rows`, as a graph with a fixed batch needs."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def response_from_outputs(outputs):
    """Row slices of C-contiguous arrays are contiguous: nothing is copied here."""
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])


def error_response(message, code):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
