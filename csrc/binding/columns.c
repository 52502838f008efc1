/* Windows as rows, and windows summed back. */
#include "binding/binding.h"

/* columns: (N, C * prod(kernel), prod(positions)); x: (N, C, *spatial). */
static PyObject *run_columns(PyObject *args, bool fold) {
    PyArrayObject *out, *in;
    PyObject *kernel_arg, *positions_arg, *stride_arg, *pad_arg, *dilation_arg;
    cvl_problem p = {.groups = 1, .oc = 1};
    data_view view;
    cvl_column_strides strides;
    ptrdiff_t kernel[] = {1, 1, 1}, positions[] = {1, 1, 1};
    ptrdiff_t stride[] = {1, 1, 1}, pad[] = {0, 0, 0}, dilation[] = {1, 1, 1};

    if (!PyArg_ParseTuple(args, "O!O!OOOOO", &PyArray_Type, &out, &PyArray_Type, &in, &kernel_arg,
                          &positions_arg, &stride_arg, &pad_arg, &dilation_arg))
        return NULL;
    PyArrayObject *const x = fold ? out : in, *const columns = fold ? in : out;
    const int nd = PyArray_NDIM(x) - 2;
    if (nd < 1 || nd > CVL_AXES || PyArray_NDIM(columns) != 3) {
        PyErr_SetString(PyExc_ValueError, "x must have 3 to 5 axes and columns 3");
        return NULL;
    }
    if (cvl_py_real_dtype(out, fold ? "x" : "columns", &p.dtype) < 0 ||
        cvl_py_check_array(out, fold ? "x" : "columns", p.dtype, true) < 0 ||
        cvl_py_check_array(in, fold ? "columns" : "x", p.dtype, false) < 0 ||
        cvl_py_view_data(x, "x", nd, false, &view) < 0 ||
        cvl_py_parse_per_axis(kernel_arg, "kernel_size", nd, 1, kernel) < 0 ||
        cvl_py_parse_per_axis(positions_arg, "positions", nd, 0, positions) < 0 ||
        cvl_py_parse_per_axis(stride_arg, "stride", nd, 1, stride) < 0 ||
        cvl_py_parse_per_axis(pad_arg, "pad", nd, PY_SSIZE_T_MIN, pad) < 0 ||
        cvl_py_parse_per_axis(dilation_arg, "dilation", nd, 1, dilation) < 0 ||
        cvl_py_element_stride(columns, "columns", 0, &strides.n) < 0 ||
        cvl_py_element_stride(columns, "columns", 1, &strides.row) < 0 ||
        cvl_py_element_stride(columns, "columns", 2, &strides.position) < 0)
        return NULL;

    p.n = view.n;
    p.ic = view.c;
    p.x = view.strides;
    ptrdiff_t rows = view.c, places = 1;
    bool overflow = false;
    for (int i = 0; i < CVL_AXES; i++) {
        p.axis[i] = (cvl_axis){.in = view.size[i],
                               .out = positions[i],
                               .k = kernel[i],
                               .stride = stride[i],
                               .pad = pad[i],
                               .dilation = dilation[i]};
        overflow |= __builtin_mul_overflow(rows, kernel[i], &rows);
        overflow |= __builtin_mul_overflow(places, positions[i], &places);
    }
    if (overflow || PyArray_DIM(columns, 0) != view.n || PyArray_DIM(columns, 1) != rows ||
        PyArray_DIM(columns, 2) != places) {
        PyErr_SetString(PyExc_ValueError,
                        "columns must have shape (N, C * prod(kernel_size), prod(positions))");
        return NULL;
    }
    cvl_status status;
    Py_BEGIN_ALLOW_THREADS
    status = fold ? cvl_fold(&p, PyArray_DATA(x), PyArray_DATA(columns), &strides)
                  : cvl_unfold(&p, PyArray_DATA(columns), PyArray_DATA(x), &strides);
    Py_END_ALLOW_THREADS
    return cvl_py_raise_status(status);
}

PyObject *cvl_py_unfold(PyObject *self, PyObject *args) {
    (void)self;
    return run_columns(args, false);
}

PyObject *cvl_py_fold(PyObject *self, PyObject *args) {
    (void)self;
    return run_columns(args, true);
}
