# JetPack 5 has no image of Triton: NVIDIA's archive over its image of JetPack, as what the Dockerfile beside starts from.
#   docker build -f docker/triton-jetson/jetpack5.Dockerfile --build-arg JETPACK_IMAGE=…/l4t-jetpack:r35.4.1 \
#     -t jetserve/triton-jetpack5:2.35.0 .
# Not run by anybody yet. Python 3.11 is none of Ubuntu 20.04's: uv brings one.
ARG JETPACK_IMAGE=l4t-jetpack:r35.4.1
FROM ${JETPACK_IMAGE}
ARG ARCHIVE=https://github.com/triton-inference-server/server/releases/download/v2.35.0/tritonserver2.35.0-jetpack5.1.2-update-2.tgz
# From the net: COPY cannot.
# hadolint ignore=DL3020
ADD ${ARCHIVE} /tmp/tritonserver.tgz
COPY requirements/lock.txt /tmp/
# hadolint ignore=DL3008
RUN mkdir -p /opt/tritonserver && tar --extract --file /tmp/tritonserver.tgz --directory /opt/tritonserver \
 && test -x /opt/tritonserver/bin/tritonserver \
 && apt-get update && apt-get install --yes --no-install-recommends libarchive13 libb64-0d libcurl4 libopenblas0 \
      libre2-5 libssl1.1 python3 python3-libnvinfer python3-numpy python3-pip zlib1g \
 && python3 -m pip install --no-cache-dir --require-hashes --requirement /tmp/lock.txt \
 && UV_PYTHON_INSTALL_DIR=/opt/python python3 -m uv python install 3.11 \
 && ln -s "$(echo /opt/python/cpython-3.11*/bin/python3.11)" /usr/local/bin/python3.11 \
 && rm -rf /var/lib/apt/lists/* /tmp/tritonserver.tgz /tmp/lock.txt
