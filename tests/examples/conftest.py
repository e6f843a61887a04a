"""What the examples are run against: a gateway before a real Triton, with the balloon detector and a classifier."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.commands import Examples
from tests.gateway.serving import no_settings, running_gateway
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, write_model


@pytest.fixture(scope="session")
def examples(balloon: LocalTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examples]:
    """For the whole run, as are the programs that it builds."""
    write_model(balloon.repository, "examples_colour", colour_contract(), colour_graph())
    balloon.load("examples_colour")
    with no_settings(), running_gateway(balloon.address) as gateway:
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
