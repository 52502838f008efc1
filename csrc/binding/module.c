/* The CPython extension module convlab._core. */
#define CVL_IMPORTS_NUMPY
#include "binding/binding.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

static PyObject *core_set_num_threads(PyObject *self, PyObject *arg) {
    (void)self;
    const long n = PyLong_AsLong(arg);
    if (n == -1 && PyErr_Occurred())
        return NULL;
    if (n < 1 || n > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "n must be at least 1 and fit in an int, not %ld", n);
        return NULL;
    }
    cvl_set_num_threads((int)n);
    Py_RETURN_NONE;
}

static PyObject *core_get_num_threads(PyObject *self, PyObject *unused) {
    (void)self;
    (void)unused;
    return PyLong_FromLong(cvl_get_num_threads());
}

static PyObject *core_select_isa(PyObject *self, PyObject *arg) {
    (void)self;
    const char *name = NULL;
    if (arg != Py_None && !(name = PyUnicode_AsUTF8(arg)))
        return NULL;
    return PyBool_FromLong(cvl_select_isa(name));
}

/* {"isa": in use, "built": (...), "available": (...), "compiler": ..., "openmp": bool} */
static PyObject *core_config(PyObject *self, PyObject *unused) {
    (void)self;
    (void)unused;
    PyObject *result = NULL, *built = PyList_New(0), *available = PyList_New(0);
    if (!built || !available)
        goto cleanup;
    for (const char *const *name = cvl_isas(); *name; name++) {
        PyObject *text = PyUnicode_FromString(*name);
        const bool failed = !text || PyList_Append(built, text) < 0 ||
                            (cvl_isa_available(*name) && PyList_Append(available, text) < 0);
        Py_XDECREF(text);
        if (failed)
            goto cleanup;
    }
#ifdef _OPENMP
    const int openmp = 1;
#else
    const int openmp = 0;
#endif
    result = Py_BuildValue("{s:s,s:s,s:O,s:O,s:s,s:O}", "version", CVL_VERSION, "isa", cvl_isa(),
                           "built", built, "available", available, "compiler", COMPILER, "openmp",
                           openmp ? Py_True : Py_False);
cleanup:
    Py_XDECREF(built);
    Py_XDECREF(available);
    return result;
}

static PyMethodDef methods[] = {
    {"forward", cvl_py_forward, METH_VARARGS,
     "forward(y, x, w, b, stride, pad, dilation, groups, channels_last, transposed,"
     " reference=False)"},
    {"grad_input", cvl_py_grad_input, METH_VARARGS,
     "grad_input(dx, dy, w, b, stride, pad, dilation, groups, channels_last, transposed,"
     " reference=False)"},
    {"grad_weight", cvl_py_grad_weight, METH_VARARGS,
     "grad_weight(dw, dy, x, None, stride, pad, dilation, groups, channels_last, transposed,"
     " reference=False)"},
    {"common", (PyCFunction)(void (*)(void))cvl_py_common, METH_FASTCALL,
     "common(primitive, transposed, nd, in1, in2, b, size, stride, padding, dilation, groups, "
     "layout,"
     " out): the result of a call of plain arrays and ints, or None for any other call"},
    {"grad_bias", cvl_py_grad_bias, METH_VARARGS, "grad_bias(db, dy, nd, channels_last)"},
    {"unfold", cvl_py_unfold, METH_VARARGS,
     "unfold(columns, x, kernel_size, positions, stride, pad, dilation)"},
    {"fold", cvl_py_fold, METH_VARARGS,
     "fold(x, columns, kernel_size, positions, stride, pad, dilation)"},
    {"empty", cvl_py_new_array, METH_VARARGS,
     "empty(shape, dtype, source): an uninitialised array for what is computed from source; unless "
     "it is small, aligned to a cache line"},
    {"set_num_threads", core_set_num_threads, METH_O, "set_num_threads(n)"},
    {"get_num_threads", core_get_num_threads, METH_NOARGS, "get_num_threads()"},
    {"select_isa", core_select_isa, METH_O,
     "select_isa(name): use that instruction set (None: the best); False if it is not to be had"},
    {"config", core_config, METH_NOARGS, "config(): what was built, and what is in use"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "convlab._core",
    .m_doc = "convlab's C kernels. The public functions are those of convlab itself.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__core(void) {
    import_array();
    PyObject *created = PyModule_Create(&module);
    if (created && (cvl_py_add_outputs() < 0 || cvl_py_add_served(created) < 0))
        Py_CLEAR(created);
    return created;
}
