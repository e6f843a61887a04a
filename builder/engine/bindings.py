"""Inference on TensorRT 8.4, whose tensors have places and no names; polygraphy's runner begins with 8.5."""

from __future__ import annotations

from typing import Any

import numpy as np

from builder.engine.faults import JobError
from builder.engine.libraries import Libraries
from builder.engine.network import dtype_name


def outside(feed: dict[str, Any]) -> str:
    """What to tell of shapes that the engine does not take."""
    shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
    return f"{shapes}: outside the shapes that the engine was built for; build it with wider profiles"


class Context:
    """An engine ready to infer. `inputs` has dtype and shape of each by name."""

    def __init__(self, libraries: Libraries, engine: Any) -> None:
        self._libraries = libraries
        self._names = [engine.get_binding_name(place) for place in range(engine.num_bindings)]
        self._is_input = [engine.binding_is_input(place) for place in range(engine.num_bindings)]
        self._dtypes = [np.dtype(dtype_name(engine.get_binding_dtype(place))) for place in range(engine.num_bindings)]
        self.inputs = {
            name: (dtype.name, tuple(engine.get_binding_shape(place)))
            for place, (name, dtype) in enumerate(zip(self._names, self._dtypes))
            if self._is_input[place]
        }
        self._context = engine.create_execution_context()
        if self._context is None:
            raise JobError("internal", f"no execution context ({libraries.hearing.last_words()})")
        self._stream = libraries.cuda.Stream()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.free()

    def infer(self, feed: dict[str, Any]) -> dict[str, Any]:
        """The outputs of one feed. All input shapes are set before the first output's is asked for."""
        cuda, context, buffers = self._libraries.cuda, self._context, []
        try:
            for place, name in enumerate(self._names):
                if self._is_input[place] and not context.set_binding_shape(place, feed[name].shape):
                    raise JobError("bad_input", outside(feed))
            for place, name in enumerate(self._names):
                shape = feed[name].shape if self._is_input[place] else tuple(context.get_binding_shape(place))
                buffers.append(cuda.DeviceArray(shape=shape, dtype=self._dtypes[place]))
                if self._is_input[place]:
                    buffers[place].copy_from(feed[name], self._stream)
            if not context.execute_async_v2([buffer.ptr for buffer in buffers], self._stream.ptr):
                raise JobError("internal", f"inference failed ({self._libraries.hearing.last_words()})")
            self._stream.synchronize()
            return {name: buffers[place].numpy() for place, name in enumerate(self._names) if not self._is_input[place]}
        finally:
            for buffer in buffers:
                buffer.free()
