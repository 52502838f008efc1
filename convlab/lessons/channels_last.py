r"""Lesson A: layers on channels-last batches, and where their gradients come from.

Data are (m, H, W, C), kernels (k, k, C_in, C_out). `Conv2D` is the convolution layer,
`Conv2DTranspose` and `Conv2DTransposeV2` are two views of the transposed one: spread the input out
and slide a kernel over it, or let every input throw a kernel. `upsample`, `downsample`, `zero_pad`
and `rotate180` are the steps that turn one view into the other.

Notation
--------
:math:`s` is the stride, :math:`p` the padding, :math:`k` the side of the kernel;
:math:`A` the input, :math:`Z` the output, :math:`L` the loss. :math:`dX` is short for
:math:`\partial L / \partial X`. Sums run over every index for which the elements named exist;
an element of :math:`A` outside its borders is zero. The batch index is left out where nothing
happens to it.

The convolution
---------------
Output :math:`(i, j)` looks at the window that starts at :math:`(si - p, sj - p)`:

.. math:: Z_{ijo} = b_o + \sum_{u,v,c} A_{si+u-p,\; sj+v-p,\; c} \, W_{uvco}

The loss depends on a parameter :math:`\theta` through every :math:`Z_{ijo}`, so

.. math:: \frac{\partial L}{\partial\theta}
          = \sum_{i,j,o} dZ_{ijo} \, \frac{\partial Z_{ijo}}{\partial\theta}

and each gradient is a matter of reading off :math:`\partial Z_{ijo} / \partial\theta`.

*Bias.* It enters every output of its channel once, with factor 1. Over the whole batch:

.. math:: db_o = \sum_{m,i,j} dZ_{mijo}

*Kernel.* :math:`W_{uvco}` enters :math:`Z_{ijo}` with the input that it meets there as factor:

.. math:: dW_{uvco} = \sum_{m,i,j} dZ_{mijo} \, A_{m,\; si+u-p,\; sj+v-p,\; c}

Each element of :math:`dW` is a correlation of the input with :math:`dZ`, whose elements lie
:math:`s` apart.

*Input.* :math:`A_{yxc}` enters :math:`Z_{ijo}` through the tap with :math:`si + u - p = y` and
:math:`sj + v - p = x`, where there is one:

.. math:: dA_{yxc} = \sum_{i,j,o} dZ_{ijo} \, W_{y+p-si,\; x+p-sj,\; c,\; o}

Read from right to left this is a scatter: every :math:`dZ_{ijo}` adds its multiple of the kernel
to the window that it was computed from. **The input gradient of a convolution is the transposed
convolution of** :math:`dZ` **with the same kernel, stride and padding.**

To see the sliding form, let :math:`D` be :math:`dZ` with :math:`s - 1` zeros between neighbours,
:math:`D_{si,\,sj} = dZ_{ij}`. Then :math:`i` and :math:`j` give way to the tap :math:`u`, and
:math:`u` to :math:`u' = k - 1 - u`, which counts the taps from the other end:

.. math:: dA_{yxc} = \sum_{u,v,o} D_{y+p-u,\; x+p-v,\; o} \, W_{uvco}
                   = \sum_{u',v',o} D_{y+u'-(k-1-p),\; x+v'-(k-1-p),\; o}
                     \, W_{k-1-u',\; k-1-v',\; c,\; o}

an ordinary convolution of the up-sampled :math:`dZ`, padded with :math:`k - 1 - p` zeros, with the
kernel turned by 180 degrees and its channels exchanged.

The transposed convolution
--------------------------
*By definition* it is the last formula made an operation of its own: up-sample :math:`A` into
:math:`U` with :math:`U_{si,\,sj,\,c} = A_{ijc}`, pad, and slide the kernel :math:`K` as it stands:

.. math:: Z_{yxo} = b_o + \sum_{u,v,c} U_{y+u-(k-1-p),\; x+v-(k-1-p),\; c} \, K_{uvco}

Only the taps that meet an element of :math:`A` count: :math:`y + u - (k-1-p) = si`. Write
:math:`u = k - 1 - u'`, so that this becomes :math:`y = si + u' - p`, and call the turned kernel
:math:`W_{u'v'co} = K_{k-1-u',\;k-1-v',\;c,\;o}`. What is left is the scatter:

.. math:: Z_{si+u'-p,\; sj+v'-p,\; o} \;\mathrel{+}=\; A_{ijc} \, W_{u'v'co}

The two forms are one operation, with kernels that are each other's `rotate180`: `Conv2DTranspose`
takes :math:`K`, `Conv2DTransposeV2` takes :math:`W`.

*Bias.* As before, :math:`db_o = \sum_{m,y,x} dZ_{myxo}`: every output has it once, also where no
kernel reached.

*Input.* :math:`A_{ijc}` enters the :math:`k \times k` outputs of its window with the kernel's
elements as factors:

.. math:: dA_{ijc} = \sum_{u,v,o} dZ_{si+u-p,\; sj+v-p,\; o} \, W_{uvco}

**The input gradient of a transposed convolution is the convolution of** :math:`dZ` **with the same
kernel, stride and padding.** The sliding view says the same in two steps: :math:`dU` is the input
gradient of a convolution of stride 1, and since :math:`U` holds :math:`A` at every :math:`s`-th
place and constants elsewhere, :math:`dA` is `downsample` of it.

*Kernel.* :math:`W_{uvco}` meets every input once, in the output :math:`(si+u-p, sj+v-p)`:

.. math:: dW_{uvco} = \sum_{m,i,j} A_{mijc} \, dZ_{m,\; si+u-p,\; sj+v-p,\; o}

It is the kernel gradient of a convolution with :math:`A` and :math:`dZ` in each other's place. For
the sliding form turn it back: :math:`dK =` ``rotate180(dW)``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

import convlab
from convlab import _arguments
from convlab._axes import array_with_axes
from convlab._layers import Conv2D, Conv2DTranspose, Conv2DTransposeV2, rotate180

__all__ = [
    "Conv2D",
    "Conv2DTranspose",
    "Conv2DTransposeV2",
    "downsample",
    "rotate180",
    "upsample",
    "zero_pad",
]


def zero_pad(X: ArrayLike, pad: int) -> np.ndarray:
    """Put zeros round height and width of a batch.

    Parameters
    ----------
    X : array_like, shape (m, H, W, C)
        The batch.
    pad : int
        How many rows and columns on each side.

    Returns
    -------
    numpy.ndarray, shape (m, H + 2*pad, W + 2*pad, C)
        The padded batch, in the dtype of `X`.

    Raises
    ------
    ValueError
        If `X` does not have four axes or `pad` is negative.
    TypeError
        If `pad` is not an int.

    Examples
    --------
    >>> zero_pad(np.ones((30, 40, 40, 3)), 1).shape
    (30, 42, 42, 3)
    """
    X = array_with_axes("zero_pad", "X", X, "m H W C")
    pad = _arguments.integer("zero_pad", "pad", pad, 0)
    return np.pad(X, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def upsample(X: ArrayLike, stride: int = 2, pad: int = 0) -> np.ndarray:
    """Spread a batch out: zeros between neighbours, then zeros round everything.

    It is the transposed convolution with a kernel of one element, 1, each channel by itself: input
    (i, j) lands at ``(stride*i + pad, stride*j + pad)`` and nothing else does.

    Parameters
    ----------
    X : array_like, shape (m, H, W, C)
        The batch.
    stride : int, default 2
        ``stride - 1`` zeros go between neighbours.
    pad : int, default 0
        Rows and columns of zeros round the result; a negative number crops.

    Returns
    -------
    numpy.ndarray, shape (m, stride*(H-1) + 1 + 2*pad, stride*(W-1) + 1 + 2*pad, C)
        The batch spread out.

    Raises
    ------
    ValueError
        If `X` does not have four axes or `stride` is not positive.

    See Also
    --------
    downsample : Its adjoint, which takes the input out again.

    Examples
    --------
    >>> upsample(np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1), stride=2, pad=1)[0, :, :, 0]
    array([[0., 0., 0., 0., 0.],
           [0., 1., 0., 2., 0.],
           [0., 0., 0., 0., 0.],
           [0., 3., 0., 4., 0.],
           [0., 0., 0., 0., 0.]])
    """
    X = array_with_axes("upsample", "X", X, "m H W C")
    channels = X.shape[-1]
    return convlab.conv_transpose2d(
        X,
        np.ones((1, 1, channels, min(channels, 1)), bool),
        stride=stride,
        padding=-_arguments.integer("upsample", "pad", pad),
        groups=max(channels, 1),
        layout="channels_last",
    )


def downsample(X: ArrayLike, stride: int, pad: int) -> np.ndarray:
    """Crop `pad` on each side, then pick every `stride`-th row and column.

    It is the convolution with a kernel of one element, 1, each channel by itself, and the adjoint
    of `upsample`: it picks exactly the places where `upsample` puts its input, so it carries a
    gradient back through `upsample`.

    Parameters
    ----------
    X : array_like, shape (m, H, W, C)
        The batch.
    stride : int
        Distance between the rows picked.
    pad : int
        Rows and columns cropped on each side.

    Returns
    -------
    numpy.ndarray, shape (m, H_out, W_out, C)
        What was picked; ``downsample(upsample(X, stride, pad), stride, pad)`` is `X`.

    Raises
    ------
    ValueError
        If `X` does not have four axes, `stride` is not positive, or nothing is left after cropping.

    See Also
    --------
    upsample : Its adjoint.

    Examples
    --------
    >>> downsample(np.arange(25).reshape(1, 5, 5, 1), stride=2, pad=1)[0, :, :, 0]
    array([[ 6.,  8.],
           [16., 18.]])
    """
    X = array_with_axes("downsample", "X", X, "m H W C")
    channels = X.shape[-1]
    return convlab.conv2d(
        X,
        np.ones((1, 1, min(channels, 1), channels), bool),
        stride=stride,
        padding=-_arguments.integer("downsample", "pad", pad),
        groups=max(channels, 1),
        layout="channels_last",
    )
