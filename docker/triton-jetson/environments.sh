#!/bin/sh
# The builder's environment and the device's, in /opt/jetserve/.venv: environments.sh PYTHON_OF_THE_BUILDER
# Packages lie beside them; what is missing ends the build here. TensorRT itself cannot be imported yet: its libraries
# need some of the host's, which the NVIDIA runtime brings when a container is started.
set -eu
cd /opt/jetserve
"$1" -m venv --without-pip .venv/builder
python3 -m venv --without-pip --system-site-packages .venv/device
printf '%s\n' /opt/jetserve/packages/builder /opt/jetserve > "$(echo .venv/builder/lib/python3*/site-packages)/jetserve.pth"
printf '%s\n' /opt/jetserve/packages/device /opt/jetserve/packages/tensorrt \
  > "$(echo .venv/device/lib/python3*/site-packages)/jetserve.pth"
.venv/builder/bin/python -m builder ensure --help > /dev/null
.venv/device/bin/python -I -c "
import sys
from importlib.util import find_spec
import numpy, polygraphy
sys.exit(None if find_spec('tensorrt') else 'no module tensorrt')"
.venv/builder/bin/python -m compileall -q builder vision docker
