/* What the files of the binding share: the only ones that know Python.
 *
 * The binding owns memory safety. Whatever arguments arrive, a call either returns or raises; it
 * never reads or writes outside its arrays. Meaning (defaults, padding forms, dtype promotion,
 * messages in the user's terms) is settled in Python before: what arrives here is arrays of one
 * native, aligned dtype and plain numbers. Its own messages name the argument, for whoever calls it
 * directly.
 *
 * Functions that return int return 0, or -1 with an exception set. */
#ifndef CVL_BINDING_H
#define CVL_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL cvl_numpy_api
#ifndef CVL_IMPORTS_NUMPY /* one file does: module.c */
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "cvl.h"

/* float32 or float64, native and aligned. */
int cvl_py_real_dtype(PyArrayObject *a, const char *name, cvl_dtype *dtype);

/* Of that dtype too, and writeable if it is to be written. */
int cvl_py_check_array(PyArrayObject *a, const char *name, cvl_dtype dtype, bool written);

/* The stride of one axis in elements. An axis of at most one element has none that matters. */
int cvl_py_element_stride(PyArrayObject *a, const char *name, int axis, ptrdiff_t *stride);

/* A tuple of one int per spatial axis, put at the end of the three. */
int cvl_py_parse_per_axis(PyObject *tuple, const char *name, int nd, ptrdiff_t least,
                          ptrdiff_t value[CVL_AXES]);

typedef struct data_view {
    ptrdiff_t n, c, size[CVL_AXES];
    cvl_data_strides strides;
} data_view;

/* (N, C, *spatial), (N, *spatial, C), or either without N. */
int cvl_py_view_data(PyArrayObject *a, const char *name, int nd, bool channels_last,
                     data_view *view);

typedef struct weight_view {
    ptrdiff_t oc, ic, size[CVL_AXES];
    cvl_weight_strides strides;
} weight_view;

/* channels_first: (O, I, *k). channels_last: (*k, I, O), and (*k, O, I) where the weight is that of
 * a transposed convolution, whose input channels are the O of the convolution it belongs to. */
int cvl_py_view_weight(PyArrayObject *a, const char *name, int nd, bool channels_last,
                       bool transposed, weight_view *view);

/* An array of `channels` elements, or None, for which *b is NULL. */
int cvl_py_view_bias(PyObject *o, cvl_dtype dtype, ptrdiff_t channels, const void **b,
                     ptrdiff_t *stride);

/* An uninitialised array, unless it is small aligned to a cache line and elsewhere in a page than
 * what is read while it is written. Steals the dtype. */
PyArrayObject *cvl_py_empty(PyArray_Descr *dtype, int ndim, const npy_intp dims[],
                            const void *apart_from);
int cvl_py_add_outputs(void);                               /* to be called before */
PyObject *cvl_py_new_array(PyObject *self, PyObject *args); /* the same from Python */

/* None, or NULL with the exception that the status stands for. */
PyObject *cvl_py_raise_status(cvl_status status);

typedef enum primitive { FORWARD, GRAD_INPUT, GRAD_WEIGHT } primitive;

typedef struct call {
    primitive op;
    cvl_problem p;
    void *out;
    const void *in1, *in2, *b;
    ptrdiff_t b_stride;
    bool reference;
} call;

/* Fills the problem from the three arrays, which must agree with one another. */
int cvl_py_build_problem(const data_view *x, const data_view *y, const weight_view *w,
                         const ptrdiff_t stride[], const ptrdiff_t pad[],
                         const ptrdiff_t dilation[], ptrdiff_t groups, cvl_problem *p);

/* Runs the call, without the GIL where it takes long; returns None or raises. */
PyObject *cvl_py_run_without_gil(const call *c);

/* The parameters of a common call, as Python objects. */
enum {
    CVL_PY_IN1,
    CVL_PY_IN2,
    CVL_PY_B,
    CVL_PY_SIZE, /* of what the arrays do not show: dx's shape, dw's kernel; or None */
    CVL_PY_STRIDE,
    CVL_PY_PADDING,
    CVL_PY_DILATION,
    CVL_PY_GROUPS,
    CVL_PY_LAYOUT,
    CVL_PY_OUT,
    CVL_PY_PARAMETERS
};

/* The result of a common call; None if it is not one; NULL with an exception set if it fails.
 * output_padding is that of a transposed call, or None where the shapes show it. */
PyObject *cvl_py_serve(primitive op, bool transposed, int nd, PyObject *const *parameters,
                       PyObject *output_padding);

/* Adds the type of served functions to the module. */
int cvl_py_add_served(PyObject *module);

/* The functions of the module, as module.c lists them. */
PyObject *cvl_py_forward(PyObject *self, PyObject *args);
PyObject *cvl_py_grad_input(PyObject *self, PyObject *args);
PyObject *cvl_py_grad_weight(PyObject *self, PyObject *args);
PyObject *cvl_py_grad_bias(PyObject *self, PyObject *args);
PyObject *cvl_py_unfold(PyObject *self, PyObject *args);
PyObject *cvl_py_fold(PyObject *self, PyObject *args);
PyObject *cvl_py_common(PyObject *self, PyObject *const *args, Py_ssize_t n_args);

#endif
