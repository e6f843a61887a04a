"""What is done to calls, whatever they are, before any of their messages is received.

gRPC receives a request before it runs a method that takes one: memory that nobody has permitted. So each method runs,
on this side, as one that takes a stream of requests; on the wire there is no difference.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from gateway.deadline import Deadline
from gateway.grpc.errors import ended_by_its_error
from vision.errors import InvalidArgument, Overloaded, UnknownPath

Continuation = Callable[[Any], Awaitable[Any]]


class Replaced(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # no types
    """Runs handlers of its own for the methods it is given, by their full names."""

    def __init__(self, handlers: Mapping[str, Any]) -> None:
        self._handlers = handlers

    async def intercept_service(self, continuation: Continuation, details: Any) -> Any:
        return self._handlers.get(details.method) or await continuation(details)


class Places:
    """So many calls of one sort may be open at once."""

    def __init__(self, limit: int, sort: str) -> None:
        self._limit, self._sort = limit, sort
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place for the length of the block.

        Raises:
            Overloaded: at once, when every place is taken.
        """
        if self._taken >= self._limit:
            raise Overloaded(f"{self._limit} {self._sort} are open over gRPC; close some, or come back later")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class OpenCalls(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # as above
    """Bounds the calls that hold no permit: streams and watches, and questions. Streams end with the server.

    The two have places of their own, or cameras would keep Kubernetes from asking whether the gateway lives.

    A method that takes a stream of requests and answers once, as ModelInfer does here, looks after itself.
    """

    def __init__(self, limit: int, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._open_streams, self._open_questions = Places(limit, "streams"), Places(limit, "questions")
        self._streams: set[asyncio.Task[Any]] = set()
        self._ending = False

    def end(self) -> None:
        """End the streams, now and from now on: their callers are told to connect again."""
        self._ending = True
        for stream in self._streams:
            stream.cancel()

    async def intercept_service(self, continuation: Continuation, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or (handler.request_streaming and not handler.response_streaming):
            return handler
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(handler),
                handler.request_deserializer if handler.request_streaming else None,
                handler.response_serializer,
            )
        return grpc.stream_unary_rpc_method_handler(
            self._question(handler, details.method), response_serializer=handler.response_serializer
        )

    def _question(self, handler: Any, method: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answered(requests: AsyncIterator[bytes], context: Any) -> Any:
            async with ended_by_its_error(context):
                if not inspect.iscoroutinefunction(handler.unary_unary):  # those of the generated class
                    raise UnknownPath(f"{method} is not served; ask Triton itself for what is not about photos")
                with self._open_questions.one():
                    request = await self._received(requests, handler)
                    async with Deadline(self._deadline_s).over("the answer was made"):
                        return await handler.unary_unary(request, context)

        return answered

    def _stream(self, handler: Any) -> Callable[[Any, Any], Awaitable[None]]:
        async def answered(requests: AsyncIterator[Any], context: Any) -> None:
            async with ended_by_its_error(context):
                with self._open_streams.one(), self._until_the_end():
                    if handler.request_streaming:
                        answers = handler.stream_stream(requests, context)
                    else:
                        answers = handler.unary_stream(await self._received(requests, handler), context)
                    await _written(answers, context)
                    return
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the gateway is stopping; connect again")

        return answered

    async def _received(self, requests: AsyncIterator[bytes], handler: Any) -> Any:
        async with Deadline(self._deadline_s).over("the request was arriving"):
            data = await anext(requests, None)
        try:
            return handler.request_deserializer(data)
        except (DecodeError, TypeError) as exc:  # no message at all is None
            raise InvalidArgument(f"the call brought no message of this method: {exc}") from exc

    @contextmanager
    def _until_the_end(self) -> Iterator[None]:
        """Leave the block when the server ends."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: only coroutines come here
        self._streams.add(task)
        if self._ending:
            task.cancel()
        try:
            yield
        except asyncio.CancelledError:
            if not self._ending:
                raise
            task.uncancel()
        finally:
            self._streams.discard(task)


async def _written(answers: Any, context: Any) -> None:
    if not inspect.isasyncgen(answers):
        await answers
        return
    async with aclosing(answers):
        async for answer in answers:
            await context.write(answer)
