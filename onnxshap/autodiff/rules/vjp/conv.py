"""Convolutions. x [N, C, *size], W [O, C/group, *kernel], g and y [N, O, *size']."""

import onnx_ir as ir

from onnxshap.autodiff.adjoint import adjoint
from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.windows import Windows
from onnxshap.errors import UnsupportedOpError


@vjp("Conv", form="flat", family="product")
def conv(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = transposed convolution of g with W;  dW = convolution of x with g;  dB = sum of g."""
    w = Windows.of(ctx, _kernel(ctx))
    dx = _of_image(ctx, g, w) if ctx.needs(0) else None
    pads = w.begin + w.end
    dw, longer = None, max(w.strides) > 1  # a stride may leave a rest
    if ctx.needs(1):
        dw = _of_weights(ctx, ctx.x(0), g, w.strides, w.dilations, pads, longer)
    return [dx, dw, _of_bias(ctx, g)]


def _kernel(ctx: Context) -> list[int]:
    return ctx.known_dims(list(range(2, len(ctx.dims(1)))), 1)


def _of_bias(ctx: Context, g: ir.Value) -> ir.Value | None:
    axes = [0, *range(2, len(ctx.output_dims()))]
    return ctx.op.ReduceSum(g, axes, keepdims=0) if ctx.needs(2) else None


def _of_weights(
    ctx: Context,
    image: ir.Value,
    picture: ir.Value,
    strides: list[int],
    dilations: list[int],
    pads: list[int],
    longer: bool,
) -> ir.Value:
    """Kernels [O, A, *kernel] between an image [N, group A, ..] and the picture [N, O, ..] of it.

    A convolution of the one with the other, samples as channels: a picture's neighbours are
    ``strides`` apart in the image, a kernel's ``dilations``. ``longer``: whether more comes out
    than kernels, since the image has a rest.
    """
    op, group, rank = ctx.op, int(ctx.attr("group", 1)), len(strides)
    swap = [1, 0, *range(2, 2 + rank)]
    image, picture = op.Transpose(image, perm=swap), op.Transpose(picture, perm=swap)
    if group > 1:
        channels = ctx.known_dims([1], 1)[0]
        parts = op.Concat([group, channels, -1], op.Shape(image, start=2), axis=0)
        image = op.Transpose(op.Reshape(image, parts), perm=[1, 0, *range(2, 3 + rank)])
        image = op.Reshape(image, op.Concat([channels, -1], op.Shape(image, start=3), axis=0))
    settings = {"strides": dilations, "dilations": strides, "pads": pads, "group": group}
    found = op.Transpose(op.Conv(image, picture, **settings), perm=swap)
    if longer:
        found = op.Slice(found, [0] * rank, _kernel(ctx), list(range(2, 2 + rank)))
    return found


def _of_image(ctx: Context, g: ir.Value, w: Windows) -> ir.Value:
    weights, (outputs, inputs, *_) = ctx.x(1), ctx.dims(1)
    g, factor = ctx.lift.unscaled(g)
    if factor is not None:  # of a BatchNormalization: into the weights, once, not into every g
        weights = ctx.op.Mul(weights, ctx.op.Unsqueeze(factor, [1]))
    return adjoint(ctx, g, weights, (outputs, inputs), w, int(ctx.attr("group", 1)))


@vjp("ConvTranspose", form="flat", family="product")
def conv_transpose(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = convolution of g with W, W [C, O/group, *kernel];  dW = of g with x;  dB = sum of g."""
    kernel, op = _kernel(ctx), ctx.op
    rank = len(kernel)
    strides = list(ctx.attr("strides", [1] * rank))
    dilations = list(ctx.attr("dilations", [1] * rank))
    pads, rest = _transposed_pads(ctx, kernel, strides, dilations)
    settings = {"strides": strides, "dilations": dilations, "group": int(ctx.attr("group", 1))}
    dx = dw = None
    if ctx.needs(0):
        dx = op.Conv(g, ctx.x(1), pads=pads, **settings)
        if any(e >= s for e, s in zip(rest, strides, strict=True)):
            axes = list(range(2, 2 + rank))
            dx = op.Slice(dx, [0] * rank, op.Shape(ctx.input(0), start=2), axes)
    if ctx.needs(1):
        longer = any(e >= d for e, d in zip(rest, dilations, strict=True))
        dw = _of_weights(ctx, g, ctx.x(0), strides, dilations, pads, longer)
    return [dx, dw, _of_bias(ctx, g)]


def _transposed_pads(
    ctx: Context, kernel: list[int], strides: list[int], dilations: list[int]
) -> tuple[list[int], list[int]]:
    """Padding, by ConvTranspose's equations, and how many positions no kernel reaches at the end.

    Those are `output_padding`, and what an `output_shape` asks for beyond.
    """
    rank, auto = len(kernel), ctx.attr("auto_pad", "NOTSET")
    rest, asked = list(ctx.attr("output_padding", [0] * rank)), ctx.attr("output_shape") is not None
    if not auto.startswith("SAME") and not asked:
        none = [0] * 2 * rank
        return (none if auto == "VALID" else list(ctx.attr("pads", none))), rest
    axes = list(range(2, 2 + rank))
    sizes = ctx.known_dims(axes)
    outputs = [ctx.output_dims()[a] or 0 for a in axes]
    begin, end = [], []
    for i, (size, output) in enumerate(zip(sizes, outputs, strict=True)):
        span = strides[i] * (size - 1) + rest[i] + dilations[i] * (kernel[i] - 1) + 1
        computed = min(span, size * strides[i])
        if output != computed and not asked:
            raise UnsupportedOpError(
                f'ConvTranspose "{ctx.node.name}": runtimes disagree on what auto_pad {auto} means '
                f"for output_padding: its output has size {computed} or {output} along axis "
                f"{axes[i]}. Write the padding out as pads in the model."
            )
        rest[i] += max(0, output - span)
        total = max(0, span - output)
        small, large = total // 2, total - total // 2
        begin.append(small if auto == "SAME_UPPER" else large)
        end.append(large if auto == "SAME_UPPER" else small)
    return begin + end, rest
