# In the place of NVIDIA's Triton for JetPack 6.2: its layout, with the pip Triton in it, and a Python with NumPy.
FROM python:3.11-slim-bookworm
COPY . /build/docker/triton
RUN --mount=type=cache,target=/root/.cache/pip python3 -m pip install --break-system-packages --no-deps \
      --require-hashes --requirement /build/docker/triton/triton.txt \
 && apt-get update && apt-get install --yes --no-install-recommends libpython3.11 \
 && mkdir -p /opt/tritonserver/bin /usr/local/cuda/targets/aarch64-linux \
 && cd /build/docker/triton && python3 -c "import launch, pathlib; \
      launch.backend_folder(launch.wheel_folder() / 'tritonserver', pathlib.Path('/opt/tritonserver')); \
      print(launch.wheel_folder())" > /opt/tritonserver/wheel \
 && install --mode=755 /build/docker/triton/tritonserver.sh /opt/tritonserver/bin/tritonserver \
 && echo 2.49.0 > /opt/tritonserver/TRITON_VERSION \
 && echo '{"cuda": {"version": "12.6.0"}}' > /usr/local/cuda/version.json \
 && touch "/usr/lib/$(uname -m)-linux-gnu/libnvinfer.so.10.3.0"
