"""The engine program: TensorRT's work, in the Python that a device's TensorRT was built for.

It runs in that Python, 3.8 or later, and needs the standard library, NumPy, TensorRT and polygraphy; nothing else of
the project. Only here are TensorRT and polygraphy imported. `builder/engines` starts it, and so can a person:

    python3 builder/engine JOB.json        or the job on standard input

    {"job": "describe"}
    {"job": "build", "onnx": …, "engine": …, "profiles": {input: {"min": […], "opt": […], "max": […]}}, "precision":
     "fp32" | "fp16" | "int8", "explicit": true, "workspace_bytes": null, "timing_cache": null, "dla_core": null}
    {"job": "run", "engine": …, "feeds": [NPZ, …], "outputs": FOLDER, "timed_runs": 0}

Standard output has JSON lines, standard error what TensorRT says:

    {"progress": 0.42, "text": …}                 from 0 to 1, null where TensorRT does not say
    {"result": {…}}                               the last line, exit code 0; the fields of `builder/engines/jobs.py`
    {"error": {"kind": …, "detail": …}}           or this, exit code 1

`run` writes the outputs of each feed as 00000.npz, 00001.npz, … into its folder; in these and in the feeds, arrays are
named `tensor:NAME`.
"""
