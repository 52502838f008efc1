/* From NumPy arrays and tuples to the numbers of a problem. */
#include "binding/binding.h"

int cvl_py_real_dtype(PyArrayObject *a, const char *name, cvl_dtype *dtype) {
    switch (PyArray_TYPE(a)) {
    case NPY_FLOAT: *dtype = CVL_F32; break;
    case NPY_DOUBLE: *dtype = CVL_F64; break;
    default:
        PyErr_Format(PyExc_TypeError, "%s must be float32 or float64, not %R", name,
                     (PyObject *)PyArray_DESCR(a));
        return -1;
    }
    if (!PyArray_ISALIGNED(a) || !PyArray_ISNOTSWAPPED(a)) {
        PyErr_Format(PyExc_ValueError, "%s must be aligned and in native byte order", name);
        return -1;
    }
    return 0;
}

int cvl_py_check_array(PyArrayObject *a, const char *name, cvl_dtype dtype, bool written) {
    cvl_dtype own;
    if (cvl_py_real_dtype(a, name, &own) < 0)
        return -1;
    if (own != dtype) {
        PyErr_Format(PyExc_TypeError, "%s has dtype %R, unlike the output", name,
                     (PyObject *)PyArray_DESCR(a));
        return -1;
    }
    if (written && !PyArray_ISWRITEABLE(a)) {
        PyErr_Format(PyExc_ValueError, "%s is read-only", name);
        return -1;
    }
    return 0;
}

int cvl_py_element_stride(PyArrayObject *a, const char *name, int axis, ptrdiff_t *stride) {
    /* Constants, by which a division is a shift. */
    enum { f32_bytes = sizeof(float), f64_bytes = sizeof(double) };
    const npy_intp bytes = PyArray_STRIDE(a, axis);
    const bool is_double = PyArray_TYPE(a) == NPY_DOUBLE;
    if (PyArray_DIM(a, axis) <= 1) {
        *stride = 0;
        return 0;
    }
    if (is_double ? bytes % f64_bytes : bytes % f32_bytes) {
        PyErr_Format(PyExc_ValueError,
                     "%s: the stride of axis %d is not a whole number of elements", name, axis);
        return -1;
    }
    *stride = is_double ? bytes / f64_bytes : bytes / f32_bytes;
    return 0;
}

int cvl_py_parse_per_axis(PyObject *tuple, const char *name, int nd, ptrdiff_t least,
                          ptrdiff_t value[CVL_AXES]) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != nd) {
        PyErr_Format(PyExc_TypeError, "%s must be a tuple of %d ints", name, nd);
        return -1;
    }
    for (int i = 0; i < nd; i++) {
        const Py_ssize_t v = PyLong_AsSsize_t(PyTuple_GET_ITEM(tuple, i));
        if (v == -1 && PyErr_Occurred())
            return -1;
        if (v < least) {
            PyErr_Format(PyExc_ValueError, "%s must be at least %zd, not %zd", name, least, v);
            return -1;
        }
        value[CVL_AXES - nd + i] = v;
    }
    return 0;
}

int cvl_py_view_data(PyArrayObject *a, const char *name, int nd, bool channels_last,
                     data_view *view) {
    const int ndim = PyArray_NDIM(a), batched = ndim == nd + 2;
    if (!batched && ndim != nd + 1) {
        PyErr_Format(PyExc_ValueError, "%s must have %d or %d axes, not %d", name, nd + 1, nd + 2,
                     ndim);
        return -1;
    }
    const int first = batched + !channels_last, channel = channels_last ? ndim - 1 : batched;
    *view = (data_view){
        .n = batched ? PyArray_DIM(a, 0) : 1, .c = PyArray_DIM(a, channel), .size = {1, 1, 1}};
    if (batched && cvl_py_element_stride(a, name, 0, &view->strides.n) < 0)
        return -1;
    if (cvl_py_element_stride(a, name, channel, &view->strides.c) < 0)
        return -1;
    for (int i = 0; i < nd; i++) {
        const int axis = CVL_AXES - nd + i;
        view->size[axis] = PyArray_DIM(a, first + i);
        if (cvl_py_element_stride(a, name, first + i, &view->strides.s[axis]) < 0)
            return -1;
    }
    return 0;
}

int cvl_py_view_weight(PyArrayObject *a, const char *name, int nd, bool channels_last,
                       bool transposed, weight_view *view) {
    if (PyArray_NDIM(a) != nd + 2) {
        PyErr_Format(PyExc_ValueError, "%s must have %d axes, not %d", name, nd + 2,
                     PyArray_NDIM(a));
        return -1;
    }
    const int first = channels_last ? 0 : 2, channels = channels_last ? nd : 0;
    const int oc = channels + (channels_last && !transposed), ic = 2 * channels + 1 - oc;
    *view = (weight_view){.oc = PyArray_DIM(a, oc), .ic = PyArray_DIM(a, ic), .size = {1, 1, 1}};
    if (cvl_py_element_stride(a, name, oc, &view->strides.oc) < 0 ||
        cvl_py_element_stride(a, name, ic, &view->strides.ic) < 0)
        return -1;
    for (int i = 0; i < nd; i++) {
        const int axis = CVL_AXES - nd + i;
        view->size[axis] = PyArray_DIM(a, first + i);
        if (cvl_py_element_stride(a, name, first + i, &view->strides.k[axis]) < 0)
            return -1;
    }
    return 0;
}

int cvl_py_view_bias(PyObject *o, cvl_dtype dtype, ptrdiff_t channels, const void **b,
                     ptrdiff_t *stride) {
    *b = NULL;
    *stride = 0;
    if (o == Py_None)
        return 0;
    if (!PyArray_Check(o)) {
        PyErr_SetString(PyExc_TypeError, "b must be an array or None");
        return -1;
    }
    PyArrayObject *a = (PyArrayObject *)o;
    if (cvl_py_check_array(a, "b", dtype, false) < 0)
        return -1;
    if (PyArray_NDIM(a) != 1 || PyArray_DIM(a, 0) != channels) {
        PyErr_Format(PyExc_ValueError, "b must have shape (%zd,)", channels);
        return -1;
    }
    *b = PyArray_DATA(a);
    return cvl_py_element_stride(a, "b", 0, stride);
}

PyObject *cvl_py_raise_status(cvl_status status) {
    switch (status) {
    case CVL_OK: Py_RETURN_NONE;
    case CVL_NO_MEMORY: return PyErr_NoMemory();
    case CVL_TOO_LARGE: break;
    }
    PyErr_SetString(PyExc_OverflowError,
                    "the sizes and parameters together exceed the address range");
    return NULL;
}
