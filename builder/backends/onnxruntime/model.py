"""Serves `model.onnx`, which lies beside this file, with ONNX Runtime in Triton's Python backend.

Copied by the builder into a model's version folder, for a Triton that has no ONNX Runtime backend of its own. Runs
in Triton's environment, where nothing else of this project can be imported. Parameters in `config.pbtxt`:

    threads     how many there are; "0" is one per core. An image that comes alone is run with all of them, several
                images are spread over them, each run with one
    providers   ONNX Runtime execution providers, in order of preference, separated by commas; threads count on the CPU
    filler      "0" where an image that has fewer entries than another in an output of open size may end in zeros
"""

import collections
import concurrent.futures
import contextlib
import faulthandler
import fcntl
import functools
import json
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read as it is loaded: else it reports to its makers
try:
    import onnxruntime as ort
except ImportError as exc:
    raise ImportError(
        f"{exc}: this model was built with --target cpu, and the Python of this Triton has no ONNX Runtime, as that of "
        "NVIDIA's images: serve it with jetserve/triton-cpu, or build it with --target jetson or --target onnxruntime"
    ) from exc

CPU = "CPUExecutionProvider"
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
    """One instance of the model. Alone, an image is run with all threads; several are spread over them, one each.

    Several instances share the threads: one that works while no other does has all of them, else each has its part.
    """

    def initialize(self, args):
        """Open the sessions and check that graph and configuration agree, so that a mistake stops the load."""
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
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        names = [declared["name"] for declared in self.outputs]
        self.graph = Graph(folder / "model.onnx", parameters, names, is_batched=self.max_batch > 0)
        instances = sum(group["count"] for group in config["instance_group"])
        self.share = max(1, self.graph.threads // instances)
        self.turns = Turns(folder / "model.onnx") if instances > 1 else None
        self.run_rows = self._rows_of_a_run()
        self._check_tensors("input", self.inputs, self.graph.inputs)
        self._check_tensors("output", self.outputs, self.graph.outputs)
        self.can_cut = parameters.get("filler") == "0" or not any(-1 in shape_from_config(t, 0) for t in self.outputs)
        self._warm_up()
        loaded()

    def execute(self, requests):
        """Answer every request, those of equal shape together.

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
        with self.turns.taken(by=len(requests)) if self.turns else ALWAYS_ALONE as is_alone:
            threads = self.graph.threads if is_alone else self.share
            for indices in self._alike(feeds):
                answers = self._answers([feeds[index] for index in indices], threads)
                for index, answer in zip(indices, answers, strict=True):
                    responses[index] = answer
        return responses

    def finalize(self):
        self.graph = None

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

    def _alike(self, feeds):
        """Indices of requests that can be run together, in order of arrival."""
        groups = {}
        for index, feed in feeds.items():
            key = tuple(array.shape[1:] for array in feed.values()) if self.max_batch else index
            groups.setdefault(key, []).append(index)
        return groups.values()

    def _answers(self, feeds, threads):
        """One response a feed, whose rows are spread over the graph's threads; those of a failed piece are run alone,
        so that only the culprit fails.
        """
        if not self.max_batch:
            return [self._alone(feed, threads) for feed in feeds]
        pieces = list(self._pieces([batch_size(feed) for feed in feeds], threads))
        if len(feeds) == len(pieces) == 1:
            return [self._alone(feeds[0], threads)]
        parts = [[cut(feeds[part.feed], part) for part in piece] for piece in pieces]
        runs = self.graph.runs(parts, threads, self.fixed_batch)
        found = {index: [] for index in range(len(feeds))}
        for piece, outputs in zip(pieces, runs, strict=True):
            end = 0
            for part in piece:
                begin, end = end, end + part.end - part.begin
                rows = None if outputs is None else {name: array[begin:end] for name, array in outputs.items()}
                found[part.feed].append(rows)
        return [
            self._alone(feed, threads) if None in found[index] else response_from_outputs(joined(found[index]))
            for index, feed in enumerate(feeds)
        ]

    def _alone(self, feed, threads):
        """The response to one feed, run by itself."""
        try:
            [outputs] = self.graph.runs([[feed]], threads, self.fixed_batch, strict=True)
        except Exception as exc:  # noqa: BLE001 - ONNX Runtime's own errors share no other base
            return error_response(f"the graph failed on this request: {exc}", pb_utils.TritonError.INTERNAL)
        if self.max_batch:
            outputs = {name: array[: batch_size(feed)] for name, array in outputs.items()}
        return response_from_outputs(outputs)

    def _pieces(self, rows, threads):
        """Parts of requests that are run together: about as many rows in each piece, a piece a thread or more.

        A request is cut only where its answers can be put together again: outputs of one shape, or ones whose missing
        entries the configuration says how to fill.
        """
        share = min(self.run_rows, self.fixed_batch or -(-sum(rows) // threads))
        piece, room = [], share
        for feed, count in enumerate(rows):
            begin = 0
            while begin < count:
                wanted = count - begin
                taken = min(wanted, room) if self.can_cut else wanted
                if piece and taken > room:
                    yield piece
                    piece, room = [], share
                    continue
                piece.append(Part(feed, begin, begin + taken))
                begin, room = begin + taken, room - taken
                if room <= 0:
                    yield piece
                    piece, room = [], share
        if piece:
            yield piece

    def _rows_of_a_run(self):
        """Images a run takes: `max_batch_size`, or the batch that is fixed in the graph; smaller runs are padded."""
        first = [tensor.shape[0] for tensor in self.graph.inputs if tensor.shape]
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
        feed = {t["name"]: np.zeros(batch + shapes[t["name"]], numpy_type(t)) for t in self.inputs}
        for pieces in ([[feed]], [[feed]] * self.graph.threads):
            self.graph.runs(pieces, self.graph.threads, self.fixed_batch, strict=True)


Part = collections.namedtuple("Part", "feed begin end")
"""Rows of a request: which one, from where, up to where."""


CROWD_S = 0.1
"""For so long after requests met, others are expected: a pause of a millisecond between two is no lone request."""


class Turns:
    """Whether any other instance is at work, in whichever process: a lock on a file that all of them have.

    Where files cannot be locked, on some network file systems, each instance has its part of the threads, always.
    """

    def __init__(self, path):
        self.path, self.file = path, path.open("rb")
        self.crowd_until_s = 0.0
        self.is_told = False

    @contextlib.contextmanager
    def taken(self, by):
        """A block for `by` requests, alone or shared.

        Alone where no other instance is in one, which then waits for its end: threads of the two that fought for the
        same cores would take longer than both one after the other.
        """
        now_s, others = time.monotonic(), not self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_alone = by == 1 and not others and now_s > self.crowd_until_s
        if by > 1 or others:
            self.crowd_until_s = now_s + CROWD_S
        if not is_alone:
            self._lock(fcntl.LOCK_SH)
        try:
            yield is_alone
        finally:
            self._lock(fcntl.LOCK_UN)

    def _lock(self, operation):
        """Whether it was done; not where another instance has the lock, or there are none on this file system."""
        try:
            fcntl.flock(self.file, operation)
        except BlockingIOError:
            return False
        except OSError as exc:
            if not self.is_told:
                sys.stderr.write(f"{self.path} cannot be locked ({exc}): no instance will have all threads\n")
            self.is_told = True
            return False
        return True


ALWAYS_ALONE = contextlib.nullcontext(True)


class Graph:
    """The graph, in one session that has all threads, and in one whose runs have a thread each."""

    def __init__(self, path, parameters, names, is_batched):
        if not path.is_file():
            raise RuntimeError(f"{path} does not exist: import the model again")
        providers = providers_from_parameters(parameters)
        self.threads = threads_from_parameters(parameters) if providers == [CPU] else 1
        self.names, self.is_batched = names, is_batched
        self.wide = session(path, threads_from_parameters(parameters), providers)
        self.narrow = session(path, 1, providers) if self.threads > 1 else self.wide
        self.others = concurrent.futures.ThreadPoolExecutor(max(1, self.threads - 1), thread_name_prefix="rows")
        self.memory = threading.local()

    @property
    def inputs(self):
        return self.wide.get_inputs()

    @property
    def outputs(self):
        return self.wide.get_outputs()

    def runs(self, pieces, threads, fixed_batch, strict=False):
        """Outputs by name of each piece, a list of feeds; None of one that failed, unless `strict`.

        On `threads`: all that there are, which one piece then has to itself, or a part of them.
        """
        if len(pieces) == 1 and threads == self.threads:
            return [self._run(self.wide, pieces[0], fixed_batch, strict)]
        run = functools.partial(self._run, self.narrow, fixed_batch=fixed_batch, strict=strict)
        if threads == 1:
            return [run(piece) for piece in pieces]
        mine = -(-len(pieces) // threads)  # this thread is one of them
        others = [self.others.submit(run, piece) for piece in pieces[mine:]]
        return [run(piece) for piece in pieces[:mine]] + [other.result() for other in others]

    def _run(self, session, feeds, fixed_batch, strict):
        try:
            rows = sum(batch_size(feed) for feed in feeds) if self.is_batched else 0
            joint = feeds[0] if len(feeds) == 1 else {name: self._joined(name, feeds, rows) for name in feeds[0]}
            if fixed_batch:
                joint = {name: padded(array, fixed_batch) for name, array in joint.items()}
            outputs = dict(zip(self.names, session.run(self.names, joint), strict=True))
            if expected := fixed_batch or rows:
                require_rows(outputs, expected)
        except Exception:
            if strict:
                raise
            return None
        return outputs

    def _joined(self, name, feeds, rows):
        """The feeds' rows after one another, in memory that this thread uses again and again."""
        arrays = [feed[name] for feed in feeds]
        needed = rows * arrays[0][0].size
        kept = self.memory.__dict__
        if name not in kept or kept[name].size < needed:
            kept[name] = np.empty(needed, arrays[0].dtype)
        return np.concatenate(arrays, out=kept[name][:needed].reshape(rows, *arrays[0].shape[1:]))


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


def threads_from_parameters(parameters):
    """How many threads there are; RuntimeError where the parameter is no number."""
    threads = parameters.get("threads", "0")
    if not threads.isdecimal():
        raise RuntimeError(f"parameter threads is {threads!r}: expected a whole number, 0 for one per core")
    return int(threads) or len(os.sched_getaffinity(0))


def providers_from_parameters(parameters):
    """ONNX Runtime's execution providers, in order; RuntimeError where one is not there."""
    wanted = [name.strip() for name in parameters.get("providers", CPU).split(",")]
    available = ort.get_available_providers()
    if unknown := [name for name in wanted if name not in available]:
        raise RuntimeError(f"parameter providers names {unknown}; this ONNX Runtime has {available}")
    return wanted


def session(path, threads, providers):
    """An ONNX Runtime session for the file at `path`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads spin during a run, which makes it quick, and stop after it: the gateway may be on the same cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(path), options, providers=providers)


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


def cut(feed, part):
    """The part's rows of a feed: views."""
    return {name: array[part.begin : part.end] for name, array in feed.items()}


def require_rows(outputs, expected):
    """ValueError where an output has not one row an image."""
    for name, array in outputs.items():
        if len(array) != expected:
            raise ValueError(f"output {name!r} has {len(array)} rows for {expected} images")


def joined(parts):
    """Outputs of a request from those of its parts, in order; where one part found more, the others end in zeros."""
    if len(parts) == 1:
        return parts[0]
    return {name: stacked([part[name] for part in parts]) for name in parts[0]}


def stacked(arrays):
    rows, shapes = sum(map(len, arrays)), [array.shape[1:] for array in arrays]
    if len(set(shapes)) == 1:
        return np.concatenate(arrays)
    whole = np.zeros((rows, *map(max, zip(*shapes, strict=True))), arrays[0].dtype)
    begin = 0
    for array in arrays:
        whole[(slice(begin, begin + len(array)), *map(slice, array.shape[1:]))] = array
        begin += len(array)
    return whole


def padded(array, rows):
    """`array` with its last row repeated up to `rows`, as a graph with a fixed batch needs."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def response_from_outputs(outputs):
    """Row slices of C-contiguous arrays are contiguous: nothing is copied here."""
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])


def error_response(message, code):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
