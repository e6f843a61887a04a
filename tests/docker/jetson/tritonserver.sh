#!/bin/bash
# The pip Triton where NVIDIA's image has its own; this process becomes it.
wheel=$(cat /opt/tritonserver/wheel)
export LD_LIBRARY_PATH=${wheel%/*}/nvidia_pytriton.libs PATH=/usr/local/bin:/usr/bin:/bin
exec -a /opt/tritonserver/bin/tritonserver "$wheel/tritonserver/bin/tritonserver" \
  --backend-directory=/opt/tritonserver/backends "$@"
