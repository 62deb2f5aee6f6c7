"""Operators of com.microsoft, which onnxruntime's optimisers write, in operators of ONNX.

One file a family. The formulas are those of onnxruntime's CPU kernels.
"""

from onnxshap.graph.lower.lowering import Rewrite
from onnxshap.graph.lower.vendor import activations, attention, fused, matmul_nbits, norms, rotary
from onnxshap.graph.lower.vendor.layout import refuse_layouts

__all__ = ["VENDOR", "refuse_layouts"]

_OPERATORS: dict[str, Rewrite] = {
    "Attention": attention.attention,
    "BiasDropout": activations.bias_dropout,
    "BiasGelu": activations.bias_gelu,
    "BiasSoftmax": activations.bias_softmax,
    "BiasSplitGelu": activations.bias_split_gelu,
    "BitmaskBiasDropout": activations.bias_dropout,
    "EmbedLayerNormalization": norms.embed_layer_normalization,
    "FastGelu": activations.fast_gelu,
    "FusedConv": fused.fused_conv,
    "FusedGemm": fused.fused_gemm,
    "FusedMatMul": fused.fused_matmul,
    "FusedMatMulActivation": fused.fused_matmul,
    "GatedAdd": activations.gated_add,
    "Gelu": activations.gelu,
    "GemmFastGelu": activations.gemm_fast_gelu,
    "GroupNorm": norms.group_norm,
    "GroupQueryAttention": attention.group_query_attention,
    "LayerNormalization": norms.layer_normalization,
    "MatMulNBits": matmul_nbits.matmul_nbits,
    "MultiHeadAttention": attention.multi_head_attention,
    "QuickGelu": activations.quick_gelu,
    "RotaryEmbedding": rotary.rotary_embedding,
    "SimplifiedLayerNormalization": norms.simplified_layer_normalization,
    "SkipGroupNorm": norms.skip_group_norm,
    "SkipLayerNormalization": norms.skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": norms.skip_simplified_layer_normalization,
    "TransposeMatMul": fused.fused_matmul,
}
_REFUSED = [
    "DecoderMaskedMultiHeadAttention",
    "DecoderMaskedSelfAttention",
    "PackedAttention",
    "PackedMultiHeadAttention",
    "PagedAttention",
]

VENDOR: dict[str, Rewrite] = {
    f"com.microsoft::{name}": rewrite
    for name, rewrite in (_OPERATORS | dict.fromkeys(_REFUSED, attention.refused)).items()
}
"""How each operator of com.microsoft is rewritten."""
