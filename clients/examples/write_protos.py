"""Writes the protobuf descriptors of the Open Inference Protocol, as they ship in tritonclient, for `protoc`.

python clients/examples/write_protos.py OUT
protoc --descriptor_set_in=OUT --cpp_out=… grpc_service.proto model_config.proto
"""

import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2


def descriptor_set() -> FileDescriptorSet:
    """`model_config.proto`, then `grpc_service.proto`, which imports it; both are proto3."""
    files = FileDescriptorSet()
    for module in (model_config_pb2, service_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    return files


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} OUT")
    Path(sys.argv[1]).write_bytes(descriptor_set().SerializeToString())
