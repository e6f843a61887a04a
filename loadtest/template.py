"""How another server is asked, and what its answer must hold: one TOML file."""

import base64
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vision.errors import InvalidArgument

PHOTO, MODEL = "{image}", "{model}"
BOUNDARY = "jetserve-loadtest-photo-boundary"
SHIPPED = Path(__file__).parent / "templates"


class Template(BaseModel):
    """`{model}` in path, headers and JSON is the model asked, `{image}` in JSON the photo in base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    method: str = "POST"
    path: str
    headers: dict[str, str] = {}
    body: Literal["image", "multipart", "json"] = "image"
    """The photo's bytes as they are, a form with it in `field`, or the table `json` with `{image}` in it."""
    field: str = "image"
    form: dict[str, str] = {}
    """Further fields of a form."""
    json_: dict[str, Any] | None = None
    status: int = 200
    contains: list[str] = []
    """Paths that the JSON of an answer must have: `detections`, `results.0.boxes`; `*` is each of at least one."""
    text: str = ""
    """What must stand somewhere in the answer."""

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        if isinstance(given, dict) and "json" in given:
            given = dict(given)
            given["json_"] = given.pop("json")
        return given

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.json_ is not None) != (self.body == "json"):
            raise ValueError('a table [json] goes with body = "json", and with no other')
        if not self.path.startswith("/"):
            raise ValueError("path begins with /: the address comes from --host")
        if not self.contains and not self.text:
            raise ValueError("say in `contains` or `text` what an answer holds: a server that answers nothing is quick")
        return self

    def content(self, model: str, photo: bytes, media_type: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of one request."""
        headers = {name: value.replace(MODEL, model) for name, value in self.headers.items()}
        if self.body == "image":
            return photo, {"content-type": media_type} | headers
        if self.body == "multipart":
            return self._form(photo, media_type), headers | {
                "content-type": f"multipart/form-data; boundary={BOUNDARY}"
            }
        filled = _filled(self.json_, {MODEL: model, PHOTO: base64.b64encode(photo).decode()})
        return json.dumps(filled).encode(), {"content-type": "application/json"} | headers

    def path_of(self, model: str) -> str:
        return self.path.replace(MODEL, model)

    def problem(self, content: bytes) -> str | None:
        """Why an answer of the right status is wrong."""
        if self.text and self.text.encode() not in content:
            return f"expected {self.text!r} in the answer, got {content[:120]!r}"
        if not self.contains:
            return None
        try:
            told = json.loads(content)
        except (ValueError, RecursionError):
            return f"expected JSON, got {content[:120]!r}"
        missing = next((path for path in self.contains if not _has(told, path.split("."))), None)
        return None if missing is None else f"expected {missing} in the answer, got {content[:120]!r}"

    def _form(self, photo: bytes, media_type: str) -> bytes:
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in self.form.items()
        ]
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{self.field}"; filename="photo"\r\n'
            f"Content-Type: {media_type}\r\n\r\n"
        )
        return b"".join((*parts, head.encode(), photo, f"\r\n--{BOUNDARY}--\r\n".encode()))


def template_from_file(path: Path) -> Template:
    """Of a file, or of one that comes with the project, by name: `bentoml`.

    Raises:
        InvalidArgument: there is none, or it says what no template can.
    """
    shipped = SHIPPED / f"{path.name}.toml"
    found = shipped if not path.exists() and path.parent == Path() and shipped.exists() else path
    try:
        return Template.model_validate({"name": found.stem} | tomllib.loads(found.read_text()))
    except OSError as exc:
        names = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.toml")))
        raise InvalidArgument(f"no template {path}: {exc.strerror}; those that come along: {names}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise InvalidArgument(f"{path} is no TOML: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        raise InvalidArgument(f"{path}: {'.'.join(map(str, first['loc'])) or 'template'}: {first['msg']}") from exc


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, words) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, words) for each in value]
    if isinstance(value, str):
        for word, meant in words.items():
            value = value.replace(word, meant)
    return value


def _has(told: Any, path: list[str]) -> bool:
    """Whether there is something at the path."""
    if not path:
        return told is not None
    step, rest = path[0], path[1:]
    if step == "*":
        return isinstance(told, list) and bool(told) and all(_has(each, rest) for each in told)
    if isinstance(told, list):
        return step.isdecimal() and int(step) < len(told) and _has(told[int(step)], rest)
    return isinstance(told, dict) and step in told and _has(told[step], rest)
