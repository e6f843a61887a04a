"""The files of a version folder, small; imported by processes that are to be killed, so without pytest."""

from collections.abc import Mapping


def files(version: int, content: bytes = b"weights") -> Mapping[str, bytes]:
    config = b'name: "toy"\nversion_policy { specific { versions: %d } }\n' % version
    return {"model.onnx": content, "contract.json": b"{}", "config.pbtxt": config}
