# In the place of NVIDIA's TensorRT of the same month: its Python module, as far as it is looked for.
FROM python:3.11-slim-bookworm
RUN site=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && mkdir -p "$site/tensorrt" \
 && echo '__version__ = "10.3.0"' > "$site/tensorrt/__init__.py"
