"""The layers that are measured, and the work that each operation on them cannot avoid."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

OPERATIONS = ("forward", "dx", "dw")
DTYPES = ("float32", "float64")
LAYOUTS = ("channels_first", "channels_last")

# A row of `first` is a network's first layer, of `image` one channel and one filter (SciPy stands
# beside PyTorch there), of `tiny` a problem so small that the call is what is measured. Columns:
# op (convT: transposed), batch, groups, channels in and out, size (depth x height x width),
# kernel, stride, padding, dilation, extra rows at the end (output_padding); one number alone holds
# for every axis. The rows marked * are those of --quick.
TABLE = """
  name                       kind       op    n  g   ic   oc   size       kernel s p     d   e

* resnet50_conv1             first      conv  1  1   3    64   224x224    7x7    2 3     1   0
  resnet50_2_1x1_reduce      1x1        conv  2  1   256  64   56x56      1x1    1 0     1   0
* resnet50_2_1x1_expand      1x1        conv  2  1   64   256  56x56      1x1    1 0     1   0
* resnet50_2_3x3             dense      conv  4  1   64   64   56x56      3x3    1 1     1   0
  resnet50_3_3x3_s2          dense      conv  2  1   128  128  56x56      3x3    2 1     1   0
  resnet50_3_3x3             dense      conv  4  1   128  128  28x28      3x3    1 1     1   0
  resnet50_3_1x1_s2          1x1        conv  2  1   256  512  56x56      1x1    2 0     1   0
  resnet50_4_3x3             dense      conv  4  1   256  256  14x14      3x3    1 1     1   0
  resnet50_4_1x1_reduce      1x1        conv  4  1   1024 256  14x14      1x1    1 0     1   0
* resnet50_5_3x3             dense      conv  4  1   512  512  7x7        3x3    1 1     1   0
  resnet50_5_1x1_expand      1x1        conv  4  1   512  2048 7x7        1x1    1 0     1   0

  vgg16_conv1_1              first      conv  1  1   3    64   224x224    3x3    1 1     1   0
  vgg16_conv1_2              dense      conv  1  1   64   64   224x224    3x3    1 1     1   0
  vgg16_conv2_1              dense      conv  1  1   64   128  112x112    3x3    1 1     1   0
  vgg16_conv4_1              dense      conv  1  1   256  512  28x28      3x3    1 1     1   0
  vgg16_conv5_1              dense      conv  1  1   512  512  14x14      3x3    1 1     1   0

  mobilenetv2_conv1          first      conv  2  1   3    32   224x224    3x3    2 1     1   0
  mobilenetv2_1_project      1x1        conv  2  1   32   16   112x112    1x1    1 0     1   0
* mobilenetv2_2_expand       1x1        conv  2  1   16   96   112x112    1x1    1 0     1   0
  mobilenetv2_2_depthwise_s2 depthwise  conv  2  96  96   96   112x112    3x3    2 1     1   0
* mobilenetv2_3_depthwise    depthwise  conv  4  144 144  144  56x56      3x3    1 1     1   0
  mobilenetv2_3_project      1x1        conv  4  1   144  24   56x56      1x1    1 0     1   0
  mobilenetv2_8_depthwise    depthwise  conv  8  384 384  384  14x14      3x3    1 1     1   0
  mobilenetv2_15_depthwise   depthwise  conv  8  960 960  960  7x7        3x3    1 1     1   0
  mobilenetv2_head           1x1        conv  4  1   320  1280 7x7        1x1    1 0     1   0

  convnext_stem              first      conv  2  1   3    96   224x224    4x4    4 0     1   0
* convnext_1_depthwise       depthwise  conv  2  96  96   96   56x56      7x7    1 3     1   0
  convnext_3_depthwise       depthwise  conv  4  384 384  384  14x14      7x7    1 3     1   0
  convnext_4_depthwise       depthwise  conv  4  768 768  768  7x7        7x7    1 3     1   0

  resnext50_2                grouped    conv  2  32  128  128  56x56      3x3    1 1     1   0
  resnext50_3_s2             grouped    conv  2  32  256  256  56x56      3x3    2 1     1   0
* resnext50_4                grouped    conv  4  32  512  512  14x14      3x3    1 1     1   0
  resnext50_5                grouped    conv  4  32  1024 1024 7x7        3x3    1 1     1   0

* deeplab_block4_dil2        dilated    conv  1  1   256  256  33x33      3x3    1 2     2   0
  deeplab_aspp_dil6          dilated    conv  1  1   320  256  33x33      3x3    1 6     6   0
  deeplab_aspp_dil12         dilated    conv  1  1   320  256  33x33      3x3    1 12    12  0

  dcgan_1                    transposed convT 16 1   100  1024 1x1        4x4    1 0     1   0
* dcgan_2                    transposed convT 4  1   1024 512  4x4        4x4    2 1     1   0
  dcgan_4                    transposed convT 4  1   256  128  16x16      4x4    2 1     1   0
  dcgan_5_rgb                transposed convT 8  1   128  3    32x32      4x4    2 1     1   0
  unet_up1                   transposed convT 1  1   1024 512  28x28      2x2    2 0     1   0
  unet_up4                   transposed convT 1  1   128  64   196x196    2x2    2 0     1   0
* decoder_3x3_s2             transposed convT 2  1   64   32   56x56      3x3    2 1     1   1
  cyclegan_up2               transposed convT 1  1   128  64   128x128    3x3    2 1     1   1

  c3d_conv1                  first      conv  1  1   3    64   16x112x112 3x3x3  1 1     1   0
  r3d18_3                    3-D        conv  1  1   256  256  4x14x14    3x3x3  1 1     1   0
* r3d18_4                    3-D        conv  1  1   512  512  2x7x7      3x3x3  1 1     1   0
  r2plus1d_2_temporal        3-D        conv  1  1   144  64   8x56x56    3x1x1  1 1x0x0 1   0
  x3d_depthwise              depthwise  conv  1  54  54   54   16x56x56   3x3x3  1 1     1   0
  unet3d_up                  transposed convT 1  1   64   32   16x32x32   2x2x2  2 0     1   0

  wav2vec2_conv1             first      conv  1  1   1    512  16000      10     5 0     1   0
  wav2vec2_conv2             1-D        conv  1  1   512  512  3199       3      2 0     1   0
* wavenet_dil128             1-D        conv  1  1   32   64   16000      2      1 0     128 0
  hifigan_dil5               1-D        conv  1  1   256  256  800        11     1 25    5   0
  hifigan_up1                transposed convT 4  1   512  256  32         16     8 4     1   0
  convtasnet_depthwise_dil64 depthwise  conv  1  512 512  512  3200       3      1 64    64  0

  image_3x3                  image      conv  1  1   1    1    1024x1024  3x3    1 1     1   0
  image_5x5                  image      conv  1  1   1    1    1024x1024  5x5    1 2     1   0
* image_7x7                  image      conv  1  1   1    1    512x512    7x7    1 3     1   0
  image_7x7_large            image      conv  1  1   1    1    1024x1024  7x7    1 3     1   0
  image_9x9                  image      conv  1  1   1    1    512x512    9x9    1 4     1   0
  image_11x11                image      conv  1  1   1    1    512x512    11x11  1 5     1   0

  lesson_a_conv              lesson     conv  16 1   8    16   33x33      3x3    1 1     1   0
  lesson_a_transposed        lesson     convT 4  1   32   8    16x16      3x3    1 1     1   0
  lesson_b_conv              lesson     conv  10 1   10   10   10x10      5x5    1 0     1   0
  lesson_d_transposed        lesson     convT 1  1   1    1    4x4        3x3    4 0     1   1
* lesson_e_conv              lesson     conv  14 1   4    5    32x35      3x2    2 0     1   0

* tiny_2d                    tiny       conv  1  1   1    1    8x8        3x3    1 1     1   0
  tiny_2d_channels           tiny       conv  1  1   4    4    8x8        3x3    1 1     1   0
  tiny_1x1                   tiny       conv  1  1   8    8    4x4        1x1    1 0     1   0
  tiny_1d                    tiny       conv  1  1   1    1    64         5      1 2     1   0
  tiny_3d                    tiny       conv  1  1   1    1    4x4x4      3x3x3  1 1     1   0
  tiny_transposed            tiny       convT 1  1   1    1    2x2        3x3    2 1     1   0
"""


@dataclass(frozen=True)
class Row:
    """One layer: x has ``ic`` channels of ``size``, y has ``oc``; tuples hold an int per axis."""

    name: str
    kind: str
    transposed: bool
    n: int
    groups: int
    ic: int
    oc: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    quick: bool = False

    @property
    def nd(self) -> int:
        """How many spatial axes there are."""
        return len(self.size)

    @property
    def out_size(self) -> tuple[int, ...]:
        """The spatial size of ``y``."""
        axes = zip(
            self.size,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.output_padding,
            strict=True,
        )
        if self.transposed:
            return tuple(s * (i - 1) + d * (k - 1) + 1 - 2 * p + e for i, k, s, p, d, e in axes)
        return tuple((i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d, _ in axes)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The shape of ``x``, channels first."""
        return (self.n, self.ic, *self.size)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The shape of ``y``, channels first."""
        return (self.n, self.oc, *self.out_size)

    @property
    def w_shape(self) -> tuple[int, ...]:
        """The shape of ``w``, channels first."""
        first, second = (self.ic, self.oc) if self.transposed else (self.oc, self.ic)
        return (first, second // self.groups, *self.kernel)

    @cached_property
    def flops(self) -> int:
        """Two for each product of a weight with a pixel: those with padding need not be computed.

        The count is the same for all three operations, which visit the same triples of x, w and y.
        """
        # A transposed convolution visits the triples of the convolution whose gradient it is.
        wide, narrow = (self.out_size, self.size) if self.transposed else (self.size, self.out_size)
        products = self.n * self.ic * self.oc // self.groups
        for axis in range(self.nd):
            windows = np.arange(narrow[axis])[:, np.newaxis] * self.stride[axis]
            taps = np.arange(self.kernel[axis]) * self.dilation[axis]
            pixels = windows + taps - self.padding[axis]
            products *= int(np.count_nonzero((pixels >= 0) & (pixels < wide[axis])))
        return 2 * products

    def input_elements(self, op: str) -> int:
        """How many numbers the operation reads."""
        x, w, y = (math.prod(shape) for shape in (self.x_shape, self.w_shape, self.y_shape))
        return {"forward": x + w, "dx": y + w, "dw": y + x}[op]

    def output_elements(self, op: str) -> int:
        """How many numbers the operation writes."""
        return math.prod({"forward": self.y_shape, "dx": self.x_shape, "dw": self.w_shape}[op])

    def reduction(self, op: str) -> int:
        """How many products are summed into one number of the result, at most."""
        window = math.prod(self.kernel)
        summed_pixels = math.prod(self.size if self.transposed else self.out_size)
        return {
            "forward": self.ic // self.groups * window,
            "dx": self.oc // self.groups * window,
            "dw": self.n * summed_pixels,
        }[op]


@dataclass(frozen=True)
class Case:
    """One operation on one row, as it is measured."""

    row: Row
    op: str
    dtype: str
    layout: str
    threads: int

    @property
    def itemsize(self) -> int:
        """The bytes of one number."""
        return {"float32": 4, "float64": 8}[self.dtype]

    @property
    def traffic_bytes(self) -> int:
        """Every input read once and every output written once: no operation moves less."""
        elements = self.row.input_elements(self.op) + self.row.output_elements(self.op)
        return self.itemsize * elements


def ints(text: str, nd: int) -> tuple[int, ...]:
    """``"3x3"`` as (3, 3); one number alone holds for every axis."""
    values = tuple(int(part) for part in text.split("x"))
    return values * nd if len(values) == 1 else values


def parse_row(line: str) -> Row:
    """One line of the table."""
    quick = line.lstrip().startswith("*")
    name, kind, op, *fields = line.replace("*", " ").split()
    n, groups, ic, oc = (int(field) for field in fields[:4])
    nd = len(fields[4].split("x"))
    settings = [ints(field, nd) for field in fields[4:]]
    return Row(name, kind, op == "convT", n, groups, ic, oc, *settings, quick=quick)


ROWS = tuple(parse_row(line) for line in TABLE.strip().splitlines()[1:] if line)


def cases(
    rows: tuple[Row, ...],
    ops: tuple[str, ...],
    dtypes: tuple[str, ...],
    layouts: tuple[str, ...],
    threads: tuple[int, ...],
) -> Iterator[Case]:
    """Every combination, ordered so that neighbours share their arrays."""
    for row, dtype, layout, op, count in itertools.product(rows, dtypes, layouts, ops, threads):
        yield Case(row, op, dtype, layout, count)
