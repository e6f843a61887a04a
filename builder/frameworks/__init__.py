"""What runs in the frameworks' environment: torch, torchvision, timm and OpenMMLab are imported here and nowhere else.

The builder starts `python -m builder.frameworks JOB.json` there (`builder/worker.py`); a job and its answers are the
files and lines that `builder/frameworks/job.py` describes.
"""
