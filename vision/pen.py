"""Boxes and captions on a picture, in sizes that follow the picture's.

Text is set in the fonts that OpenCV 5 carries: Latin, Greek, Cyrillic, Arabic, Chinese, Japanese and Korean. What they
lack (Devanagari, Thai, emoji) shows as question marks.
"""

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Bgr = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""x1 y1 x2 y2 in whole pixels."""

_BLACK: Bgr = (0, 0, 0)
_WHITE: Bgr = (255, 255, 255)
_SEMIBOLD = 600
_MIN_TEXT_PX = 9
"""Below this the strokes of letters run together."""


class Pen:
    """Draws on one uint8 BGR picture [h, w, 3], in place."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self._picture = picture
        self._height, self._width = picture.shape[:2]
        side = math.sqrt(self._height * self._width)
        self._line_px = max(1, round(side / 350))
        self._text_px = max(_MIN_TEXT_PX, round(side / 40))
        self._margin_px = max(1, round(self._text_px / 5))
        self._font = cv2.FontFace("sans")

    def box(self, box: Box, colour: Bgr) -> None:
        """An outline in `colour`, inside a thin black one that keeps it visible on a ground of its own colour."""
        x1, y1, x2, y2 = box
        halo = self._line_px + 2 * max(1, self._line_px // 4) if self._line_px > 1 else 1
        if halo > 1:
            cv2.rectangle(self._picture, (x1, y1), (x2, y2), _BLACK, halo)
        cv2.rectangle(self._picture, (x1, y1), (x2, y2), colour, self._line_px)

    def fitting(self, label: str, score: str) -> str:
        """`label score`, the label shortened until the caption fits the picture's width, or the score alone."""
        text = f"{label} {score}"
        while label and self.caption_wh(text)[0] > self._width:
            label = label[:-1]
            text = f"{label}… {score}" if label else score
        return text

    def caption_wh(self, text: str) -> tuple[int, int]:
        """Width and height in pixels of the caption for `text`, its margins included."""
        width = cv2.getTextSize((0, 0), text, (0, 0), self._font, self._text_px, _SEMIBOLD)[2]
        return width + 2 * self._margin_px, round(self._text_px * 1.3)

    def free_place(self, box: Box, caption_wh: tuple[int, int], taken: Sequence[Box]) -> Box | None:
        """Where such a caption can stand: inside the picture, by `box`, over none of `taken`; None if nowhere."""
        for place in self._places(box, caption_wh):
            if not any(_overlap(place, other) for other in taken):
                return place
        return None

    def caption(self, place: Box, text: str, colour: Bgr) -> None:
        """`text` on a ground of `colour`, in black or white, whichever stands out more."""
        x1, y1, x2, y2 = place
        self._picture[y1:y2, x1:x2] = colour
        baseline = y1 + round(self._text_px * 1.0)
        ink = _BLACK if _luminance(colour) > 0.18 else _WHITE
        cv2.putText(self._picture, text, (x1 + self._margin_px, baseline), ink, self._font, self._text_px, _SEMIBOLD)

    def _places(self, box: Box, caption_wh: tuple[int, int]) -> Iterator[Box]:
        """Above the box, inside its top, below it, inside its bottom: those that lie in the picture."""
        width, height = caption_wh
        edge = self._line_px // 2
        left = max(0, min(box[0] - edge, self._width - width))
        for top in (box[1] - edge - height, box[1] + edge + 1, box[3] + edge + 1, box[3] - edge - height):
            if width <= self._width and 0 <= top <= self._height - height:
                yield (left, top, left + width, top + height)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _luminance(colour: Bgr) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2); at 0.18 black and white text contrast equally."""
    blue, green, red = (((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 255 / 12.92 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
