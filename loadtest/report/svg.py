"""SVG by hand: elements, escaped, and the class names that give them their colours."""

from collections.abc import Iterable

from markupsafe import Markup, escape

Attribute = str | float | None


def element(name: str, *children: str, **attributes: Attribute) -> Markup:
    """`<name attributes>children</name>`; text is escaped, markup is not, `_` stands for `-`, None leaves out."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _text(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, joined(children))


def joined(parts: Iterable[str]) -> Markup:
    """One after the other, escaped where they are not markup."""
    return Markup("").join(escape(part) for part in parts)


def text(x: float, y: float, content: str, **attributes: Attribute) -> Markup:
    return element("text", content, x=x, y=y, **attributes)


def path(points: Iterable[tuple[float, float] | None], **attributes: Attribute) -> Markup:
    """A line through points; None is a gap, and a point between gaps is a dot."""
    drawn, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        drawn.append(f"{pen}{point[0]:.1f} {point[1]:.1f}" + ("h0.01" if pen == "M" else ""))
        pen = "L"
    return element("path", d="".join(drawn), **attributes)


def _text(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
