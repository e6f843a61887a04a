"""Asks a gRPC server through reflection which services it has, and prints their methods with what goes in and out.

python services.py HOST:PORT
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT")
    with grpc.insecure_channel(sys.argv[1]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        types = DescriptorPool(database)
        for name in sorted(database.get_services()):
            for method in types.FindServiceByName(name).methods:
                print(f"{method.full_name}({method.input_type.full_name}) -> {method.output_type.full_name}")
