"""Which of the YOLOs' layouts an output has: told by its shape, where that leaves one answer."""

from typing import Literal

from vision.errors import BuildError

Layout = Literal["v5", "v8", "v10", "yolox"]
Shape = tuple[int, int]
"""An output without its batch; -1 is any size."""

ANY = -1
STRIDES = ((8, 16, 32), (8, 16, 32, 64), (16, 32))
"""Of the usual, the larger (P6) and the tiny ones."""
ANCHORS = 3
"""A cell has that many predictions in YOLOv3 to v7, and one in all others."""


def layouts_of_shape(shape: Shape, labels: int, size_hw: tuple[int, int], *, of_yolox: bool = True) -> set[Layout]:
    """The layouts that fit; without `of_yolox` it is known to be another's export."""
    first, last = shape
    cells = {sum((size_hw[0] // s) * (size_hw[1] // s) for s in strides) for strides in STRIDES}
    anchored = {ANCHORS * count for count in cells}
    found: set[Layout] = set()
    if first == 4 + labels:
        found.add("v8")
    if last == 5 + labels:
        if first not in cells | anchored and labels == 1 and first != ANY:
            return found | {"v10"}  # 6 columns, and rows that no grid has
        found.add("v5")
        if of_yolox and first not in anchored:
            found.add("yolox")
    elif last == 6:
        found.add("v10")
    return found


def layout_from_outputs(
    outputs: dict[str, Shape], labels: int, size_hw: tuple[int, int], *, of_yolox: bool = True
) -> tuple[str, Layout]:
    """The one output that has the shape of predictions, and its layout.

    Raises:
        BuildError: none has, or more than one, or it has several layouts' shape; with the choices.
    """
    fits = {
        name: layouts
        for name, shape in outputs.items()
        if (layouts := layouts_of_shape(shape, labels, size_hw, of_yolox=of_yolox))
    }
    shown = ", ".join(f"{name!r} {list(shape)}" for name, shape in outputs.items()) or "no output [batch, n, m]"
    if not fits:
        raise BuildError(
            "contract",
            f"the graph gives {shown}; with {labels} labels, expected [{4 + labels}, n] (layout v8), [n, {5 + labels}]"
            " (v5, yolox) or [n, 6] (v10). Are the labels those that the network was trained with?",
        )
    if len(fits) > 1:
        raise BuildError(
            "contract", f"{' and '.join(map(repr, fits))} look like predictions: say which, predictions: NAME"
        )
    [(name, layouts)] = fits.items()
    if len(layouts) > 1:
        choices = " or ".join(sorted(layouts))
        raise BuildError(
            "contract",
            f"output {name!r} {list(outputs[name])} with {labels} labels may have the layout {choices} (v5: YOLOv5, v6,"
            " v7; v8: YOLOv8, v9, 11, 12; v10: suppressed already; yolox: YOLOX): say which, layout: NAME",
        )
    return name, layouts.pop()
