"""What the examples are run against: a gateway before a real Triton, with the balloon detector and a classifier."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.__main__ import main as build
from tests.examples.commands import ROOT, Examples
from tests.gateway.serving import no_settings, running_gateway
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, write_model


@pytest.fixture(scope="session")
def examples(triton: LocalTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examples]:
    """For the whole run, as are the programs that it builds."""
    bundle = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
    assert build(["import", str(bundle), "--name", "balloon", "--repository", str(triton.repository)]) == 0
    write_model(triton.repository, "examples_colour", colour_contract(), colour_graph())
    triton.load("balloon")
    triton.load("examples_colour")
    with no_settings(), running_gateway(triton.address) as gateway:
        yield Examples(gateway, tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="session")
def cpp(examples: Examples) -> Path:
    """The C++ program, built as the README says."""
    examples.require("cmake", "g++", "protoc", "grpc_cpp_plugin", "/usr/include/grpcpp")
    return examples.built("cpp/predict", section="C++")


@pytest.fixture(scope="session")
def go(examples: Examples) -> Path:
    """The Go program, built as the README says."""
    examples.require("go", "protoc", "protoc-gen-go", "/usr/share/gocode/src/google.golang.org/grpc")
    return examples.built("go/predict", section="Go")
