"""The operators that TensorRT's ONNX parser takes, by version.

Names marked `Y` in `docs/operators.md` of https://github.com/onnx/onnx-tensorrt, branches 8.4-GA to 10.1-GA. A table
holds for the versions after it, too, up to the next.
"""

from vision.errors import BuildError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SINCE_8_4 = _names("""
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu
    Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div
    Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Identity If
    ImageScaler InstanceNormalization IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop
    LpNormalization LpPool MatMul Max MaxPool Mean Min Mul Neg NonMaxSuppression Not Or PRelu Pad
    ParametricSoftplus Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike
    Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence Round ScaledTanh Scan Scatter ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split
    Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where Xor
""")
_SINCE_8_5 = _names("""
    GridSample MeanVarianceNormalization Mod NonZero OneHot RoiAlign Trilu
""")
_SINCE_8_6 = _names("""
    GroupNormalization IsInf LayerNormalization
""")
_SINCE_10_0 = _names("""
    CastLike DeformConv Gelu Hardmax Mish
""")

OPERATORS = {
    (8, 4): _SINCE_8_4,
    (8, 5): _SINCE_8_4 | _SINCE_8_5,
    (8, 6): _SINCE_8_4 | _SINCE_8_5 | _SINCE_8_6,
    (10, 0): _SINCE_8_4 | _SINCE_8_5 | _SINCE_8_6 | _SINCE_10_0,
}
MAX_OPSET = {(8, 4): 17, (8, 5): 17, (8, 6): 17, (10, 0): 20}


def known_version(version: str) -> tuple[int, int]:
    """The table that holds for a version, as "8.6" or "10.3.0".

    Raises:
        BuildError: it is no version, or older than the oldest table.
    """
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        raise BuildError("check", f"TensorRT version {version!r}: expected two or more numbers, as in 8.6")
    wanted = (int(parts[0]), int(parts[1]))
    if wanted < min(OPERATORS):
        raise BuildError("check", f"TensorRT {version} is older than any whose rules are known here, 8.4")
    return max(table for table in OPERATORS if table <= wanted)
