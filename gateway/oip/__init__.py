"""The Open Inference Protocol (KServe v2): tensors and metadata in its words, without a transport; and its HTTP form.

https://github.com/kserve/open-inference-protocol; what Triton adds to it is told where it is used.
"""
