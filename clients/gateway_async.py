"""The gateway's Python client. The synchronous one is written from this file: `make generate`."""

from collections.abc import AsyncGenerator
from itertools import count
from types import TracebackType
from typing import Literal, Self, overload

from clients import io_async as io
from clients import wire
from clients.addresses import DEFAULT_URL
from clients.deadline import Deadline
from clients.headers import Headers, sendable
from clients.photos import Photo, name_of
from clients.progress import counted
from clients.results import Model, ModelDetail, Result
from clients.retries import Retries
from clients.stream.order import Order
from clients.stream.patience import OnTrouble
from clients.stream.results import Mode, StreamResult
from vision.errors import CapacityError, DeadlineExceeded, InvalidArgument, JetserveError


class AsyncGatewayClient:
    """Keeps its connections open between calls. Close it in the end, or use it as a context manager.

    A failure that another attempt may well not meet is met by up to `retries` more: nobody listens, the connection
    broke, or the answer was 429 or 503, whose `Retry-After` is waited for. All of it ends within `timeout_s`.

    `headers` go with every request to the gateway, streams included, and to nobody else; no message has their values.

    Every method raises the gateway's own errors (`vision.errors`), and of its own:
        BackendUnavailable: no gateway can be reached.
        DeadlineExceeded: no answer within `timeout_s`.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, timeout_s: float = 30.0, *, retries: int = 2, headers: Headers | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout_s = timeout_s
        self._retries = Retries(retries)
        self._headers = sendable(headers)
        self._http = io.HttpClient(self.base_url, self._headers)

    async def predict(
        self,
        photo: Photo,
        model: str,
        *,
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> Result:
        """What is on a photo. What is None, the model's contract decides.

        Args:
            photo: a path, encoded bytes, pixels uint8 [h, w, 3] BGR or [h, w] grey, or a picture of Pillow's.
            model: its name.
            score_threshold: kept are scores above it, 0 to 1.
            top_k: how many classes, of a classifier.
            max_detections: how many objects, of a detector.

        Raises:
            OSError: the file cannot be read.
            InvalidArgument: what is given is no photo.
        """
        deadline = Deadline(self.timeout_s)  # reading and encoding are part of the call
        request = await io.in_thread(
            wire.predict_request,
            photo,
            model,
            score_threshold=score_threshold,
            top_k=top_k,
            max_detections=max_detections,
        )
        return wire.result_from_reply(await self._reply(request, self._retries, deadline), name_of(photo))

    @overload
    def predict_many(
        self,
        photos: io.Photos,
        model: str,
        *,
        concurrency: int = 8,
        progress: bool = False,
        on_error: Literal["raise"] = "raise",
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> AsyncGenerator[Result]: ...

    @overload
    def predict_many(
        self,
        photos: io.Photos,
        model: str,
        *,
        concurrency: int = 8,
        progress: bool = False,
        on_error: Literal["return"],
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> AsyncGenerator[Result | JetserveError | OSError]: ...

    async def predict_many(
        self,
        photos: io.Photos,
        model: str,
        *,
        concurrency: int = 8,
        progress: bool = False,
        on_error: Literal["raise", "return"] = "raise",
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> AsyncGenerator[Result | JetserveError | OSError]:
        """What is on each of many photos, in their order.

        Photos are taken as they are needed, so a generator of any length will do: no more than `concurrency` of them
        are held, or under way, at once.

        Args:
            photos: each as for `predict`.
            model: its name.
            concurrency: requests at a time.
            progress: show a bar on the standard error output.
            on_error: "raise" the first failure, or "return" each in its photo's place and go on.
            score_threshold: as for `predict`, and so on.
            top_k: likewise.
            max_detections: likewise.

        Raises:
            OSError: a file cannot be read.
            InvalidArgument: what is given is no photo, or a `concurrency` below 1.
        """
        if concurrency < 1:
            raise InvalidArgument(f"expected a concurrency of 1 or more, got {concurrency}")

        async def answer(photo: Photo) -> Result | JetserveError | OSError:
            try:
                return await self.predict(
                    photo, model, score_threshold=score_threshold, top_k=top_k, max_detections=max_detections
                )
            except (JetserveError, OSError) as exc:
                if on_error == "raise":
                    raise
                return exc

        results = io.in_order(answer, photos, concurrency)
        with counted(photos, progress) as one_more:
            try:
                async for result in results:
                    one_more()
                    yield result
            finally:  # at once, not when the rest is collected as garbage
                await results.aclose()

    def stream(
        self,
        source: io.Frames,
        model: str,
        *,
        frames: Mode | None = None,
        reconnect_s: float = 60.0,
        on_trouble: OnTrouble | None = None,
        jpeg_quality: int = 95,
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> AsyncGenerator[StreamResult]:
        """What is on each frame of a camera, a video, or anything else, in their order, until the source ends.

        A gateway that goes away in mid-stream is waited for, and a camera that stops is opened again. Each frame has
        `timeout_s` to be answered. An error of one frame is in its result, and the stream goes on.

        Args:
            source: number of a webcam, path of a video, of a folder of photos or of a device, address (rtsp://…,
                http://…), or frames, each as a photo for `predict`.
            model: its name.
            frames: "latest" drops frames that wait while newer ones come, which goes without saying for what is live;
                "every" answers each, also those that a broken connection left unanswered, and reads no faster than
                they are answered.
            reconnect_s: for how long to try again when something went wrong in mid-stream.
            on_trouble: is told in one line what happened, in place of the log of `clients.stream`. It may be called
                by a thread that is not yours.
            jpeg_quality: 0 to 100, for frames that are pixels; files and bytes are sent as they are.
            score_threshold: as for `predict`, and so on.
            top_k: likewise.
            max_detections: likewise.

        Raises:
            OSError: the source cannot be opened, or read on.
            InvalidArgument: it is no source, or a frame is no photo.
            TooLarge: a frame is larger than the gateway takes.
        """
        order = Order(
            base_url=self.base_url,
            timeout_s=self.timeout_s,
            retries=self._retries.count,
            headers=self._headers,
            source=source,
            model=model,
            frames=frames,
            reconnect_s=reconnect_s,
            on_trouble=on_trouble,
            jpeg_quality=jpeg_quality,
            options={"score_threshold": score_threshold, "top_k": top_k, "max_detections": max_detections},
        )
        return io.streamed(order)

    async def annotated(
        self,
        photo: Photo,
        model: str,
        media_type: Literal["image/jpeg", "image/png"] = "image/jpeg",
        *,
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> bytes:
        """The photo with what is on it drawn by the gateway, encoded; arguments and errors as of `predict`."""
        deadline = Deadline(self.timeout_s)
        request = await io.in_thread(
            wire.predict_request,
            photo,
            model,
            accept=media_type,
            score_threshold=score_threshold,
            top_k=top_k,
            max_detections=max_detections,
        )
        return wire.content_from_reply(await self._reply(request, self._retries, deadline))

    async def models(self) -> list[Model]:
        """Every model, by name, ready or not."""
        return wire.models_from_reply(await self._reply(wire.models_request(), self._retries))

    async def model(self, name: str) -> ModelDetail:
        """One model, with its contract."""
        return wire.model_from_reply(await self._reply(wire.model_request(name), self._retries))

    async def ready(self) -> bool:
        """Whether the gateway can be reached now, reaches Triton, and has a model to ask."""
        try:
            await self.require_ready()
        except (CapacityError, DeadlineExceeded):
            return False
        return True

    async def require_ready(self) -> None:
        """Nothing when all is ready now; nothing is retried.

        Raises:
            BackendUnavailable, ModelNotReady, DeadlineExceeded: saying what is missing.
        """
        wire.content_from_reply(await self._reply(wire.ready_request(), Retries(0)))

    async def close(self) -> None:
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _reply(self, request: wire.Request, retries: Retries, deadline: Deadline | None = None) -> wire.Reply:
        """What the gateway says in the end, of whatever status but 429 and 503, which are raised."""
        deadline = deadline or Deadline(self.timeout_s)
        for attempt in count():
            asked_s = 0.0
            try:
                reply = await self._http.exchange(request, deadline)
                asked_s = wire.retry_after_s(reply)
                return wire.not_busy(reply)
            except CapacityError:
                pause_s = retries.pause_s(attempt, asked_s, deadline.remaining_s())
                if pause_s is None:
                    raise
            await io.sleep(pause_s)
        raise AssertionError  # the last attempt returned or raised
