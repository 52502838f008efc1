"""A program as users write them, for mypy --strict; test_typing.py says what is expected of it."""

from typing import assert_type

import numpy as np

import convlab

x = np.zeros((1, 2, 8, 8), np.float32)
w = np.zeros((4, 2, 3, 3), np.float32)

# What comes back.
y = convlab.conv2d(x, w, stride=(2, 1), padding=((1, 0), (1, 0)), layout="channels_first")
assert_type(y, np.ndarray)
assert_type(convlab.conv1d([[[1, 2, 3]]], [[[1, 2]]], None, padding="same"), np.ndarray)
assert_type(convlab.conv3d(x[None], w[None], stride=np.int64(2), out=None), np.ndarray)
dx, dw, db = convlab.conv2d_backward(y, x, w, stride=[2, 1])
assert_type(db, np.ndarray)
some = convlab.conv2d_backward(y, x, w, needs=("weight",))
assert_type(some, tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None])
assert_type(convlab.conv_transpose2d_backward(y, y, w, needs={"input"})[0], np.ndarray | None)
assert_type(convlab.conv2d_grad_input(y, w, x.shape), np.ndarray)
assert_type(convlab.conv2d_grad_weight(y, x, (3, 3)), np.ndarray)
assert_type(convlab.conv_transpose2d(y, w, output_padding=1, output_size=(8, 8)), np.ndarray)
assert_type(convlab.conv_transpose2d_grad_input(x, w, output_size=None), np.ndarray)
assert_type(convlab.conv_output_shape(x.shape, w.shape, padding="same_lower"), tuple[int, ...])
assert_type(convlab.unfold(x, 3), np.ndarray)
assert_type(convlab.fold(convlab.unfold(x, 3), (8, 8), (3, 3)), np.ndarray)
assert_type(convlab.get_num_threads(), int)
assert_type(convlab.explain(x.shape, w.shape).output_shape, tuple[int, ...] | None)
assert_type(convlab.receptive_field([3, {"kernel_size": 2, "stride": 2}]).size, tuple[int, ...])
layer = convlab.Conv2D(2, 4, pad=1)
assert_type(layer.forward(x), np.ndarray)
assert_type(layer.backward(y), tuple[np.ndarray, np.ndarray, np.ndarray])
assert_type(convlab.lessons.planes.cross_correlate(x[0, 0], w[0, 0]), np.ndarray)
assert_type(convlab.lessons.channels_last.zero_pad(x, 1), np.ndarray)
with convlab.num_threads(1):
    pass

# What is refused.
convlab.conv2d(x, w, strides=2)  # E: call-arg
convlab.conv2d(x, w, None, 2)  # E: call-arg
convlab.conv2d(x, w, stride=1.5)  # E: arg-type
convlab.conv2d(x, w, padding="full")  # E: arg-type
convlab.conv2d(x, w, output_padding=1)  # E: call-arg
convlab.conv2d(x, w, layout="NCHW")  # E: arg-type
convlab.conv2d_backward(y, x, w, needs=("output",))  # E: arg-type
convlab.conv2d_grad_input(y, w)  # E: call-arg
convlab.conv4d(x, w)  # E: attr-defined
