"""The template for plain Triton, with a real one."""

import httpx
import pytest

from loadtest.template import SHIPPED, template_from_file
from tests.local_triton import LocalTriton
from vision.header import header_from_bytes

NAME = "takes_photos"
CONFIG = """name: "takes_photos" backend: "python" max_batch_size: 0
input { name: "PHOTO" data_type: TYPE_STRING dims: [1] }
output { name: "BYTES" data_type: TYPE_INT64 dims: [1] }
instance_group { kind: KIND_CPU count: 1 }
"""
SCRIPT = """
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        photos = [pb.get_input_tensor_by_name(request, "PHOTO").as_numpy()[0] for request in requests]
        if not all(photo.startswith(b"\\xff\\xd8\\xff") for photo in photos):
            raise ValueError("no JPEG")
        return [pb.InferenceResponse([pb.Tensor("BYTES", np.array([len(photo)], np.int64))]) for photo in photos]
"""
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b080001000101011100ffd9")


@pytest.mark.triton
def test_a_model_gets_the_photo_as_it_is_and_its_answer_is_one(triton: LocalTriton) -> None:
    """What the template sends is the one element of a BYTES input; an error's answer is not taken for one."""
    assert header_from_bytes(JPEG).format == "jpeg"
    folder = triton.repository / NAME / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text(CONFIG)
    (folder / "model.py").write_text(SCRIPT)
    triton.load(NAME)
    template = template_from_file(SHIPPED / "triton.toml")
    url = f"http://127.0.0.1:{triton.http_port}"
    body, headers = template.content(NAME, JPEG, "image/jpeg")
    answer = httpx.post(url + template.path_of(NAME), content=body, headers=headers)
    assert answer.status_code == template.status, answer.text
    assert template.problem(answer.content) is None
    assert int.from_bytes(answer.content[-8:], "little") == len(JPEG)
    refused = httpx.post(url + template.path_of(NAME), content=b"no photo", headers=headers)
    assert refused.status_code != template.status
    assert template.problem(refused.content) is not None
