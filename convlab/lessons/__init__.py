"""Five ways to write a convolution by hand, each with its own names, shapes and slice of the topic.

Every lesson is a thin layer over convlab's functions: it shows how its own notation maps onto the
same few operations, and computes with them.

========================  ====================================================================
`channels_last`           layers on (m, H, W, C) batches; both gradients derived step by step
`channels_first`          functions with a cache on (m, C, H, W) batches
`one_image`               one image and one filter, (H, W, C)
`transposed`              transposed convolution as scatter, as a matrix, as rows
`planes`                  from two planes to batches, and the gradient of the weights
========================  ====================================================================

Everywhere "convolution" is deep learning's cross-correlation: the filter is not flipped. Integers
are computed in float64; float32 stays float32 and float64 stays float64.
"""

from convlab.lessons import channels_first, channels_last, one_image, planes, transposed

__all__ = ["channels_first", "channels_last", "one_image", "planes", "transposed"]
