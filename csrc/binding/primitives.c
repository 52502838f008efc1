/* The three primitives and the bias gradient as Python calls them: arrays and tuples, checked
 * against each other. */
#include "binding/binding.h"

/* Below this many multiplications, giving the GIL up and taking it back costs more than it
 * frees. */
static const double gil_release_work = 50e3;

/* Names of (output, first input, second input), in the order of the arguments. */
static const char *const argument_names[][3] = {
    [FORWARD] = {"y", "x", "w"},
    [GRAD_INPUT] = {"dx", "dy", "w"},
    [GRAD_WEIGHT] = {"dw", "dy", "x"},
};

static cvl_status run(const call *c) {
    if (!c->reference) {
        switch (c->op) {
        case FORWARD: return cvl_forward(&c->p, c->out, c->in1, c->in2, c->b, c->b_stride);
        case GRAD_INPUT: return cvl_grad_input(&c->p, c->out, c->in1, c->in2, c->b, c->b_stride);
        case GRAD_WEIGHT: return cvl_grad_weight(&c->p, c->out, c->in1, c->in2);
        }
    }
    const cvl_status status = cvl_check(&c->p);
    if (status != CVL_OK)
        return status;
    switch (c->op) {
    case FORWARD: cvl_reference_forward(&c->p, c->out, c->in1, c->in2, c->b, c->b_stride); break;
    case GRAD_INPUT:
        cvl_reference_grad_input(&c->p, c->out, c->in1, c->in2, c->b, c->b_stride);
        break;
    case GRAD_WEIGHT: cvl_reference_grad_weight(&c->p, c->out, c->in1, c->in2); break;
    }
    return CVL_OK;
}

PyObject *cvl_py_run_without_gil(const call *c) {
    PyThreadState *saved = cvl_work(&c->p) > gil_release_work ? PyEval_SaveThread() : NULL;
    const cvl_status status = run(c);
    if (saved)
        PyEval_RestoreThread(saved);
    return cvl_py_raise_status(status);
}

int cvl_py_build_problem(const data_view *x, const data_view *y, const weight_view *w,
                         const ptrdiff_t stride[], const ptrdiff_t pad[],
                         const ptrdiff_t dilation[], ptrdiff_t groups, cvl_problem *p) {
    if (x->n != y->n) {
        PyErr_Format(PyExc_ValueError, "x and y differ in batch size: %zd and %zd", x->n, y->n);
        return -1;
    }
    /* Channels are compared by division, so that no product can overflow. */
    if (w->oc != y->c || y->c % groups != 0 || x->c % groups != 0 || x->c / groups != w->ic) {
        PyErr_Format(PyExc_ValueError,
                     "w has %zd output channels and %zd input channels per group, "
                     "but y has %zd channels, x has %zd and groups=%zd",
                     w->oc, w->ic, y->c, x->c, groups);
        return -1;
    }
    p->n = x->n;
    p->groups = groups;
    p->ic = w->ic;
    p->oc = w->oc / groups;
    p->x = x->strides;
    p->y = y->strides;
    p->w = w->strides;
    for (int i = 0; i < CVL_AXES; i++)
        p->axis[i] = (cvl_axis){.in = x->size[i],
                                .out = y->size[i],
                                .k = w->size[i],
                                .stride = stride[i],
                                .pad = pad[i],
                                .dilation = dilation[i]};
    return 0;
}

static PyObject *run_primitive(primitive op, PyObject *args) {
    PyArrayObject *out, *in1, *in2;
    PyObject *b, *stride_arg, *pad_arg, *dilation_arg;
    Py_ssize_t groups;
    int channels_last, transposed, reference = 0;
    call c = {.op = op};

    if (!PyArg_ParseTuple(args, "O!O!O!OOOOnpp|p", &PyArray_Type, &out, &PyArray_Type, &in1,
                          &PyArray_Type, &in2, &b, &stride_arg, &pad_arg, &dilation_arg, &groups,
                          &channels_last, &transposed, &reference))
        return NULL;
    c.reference = reference;

    const char *const *names = argument_names[op];
    if (cvl_py_real_dtype(out, names[0], &c.p.dtype) < 0 ||
        cvl_py_check_array(out, names[0], c.p.dtype, true) < 0 ||
        cvl_py_check_array(in1, names[1], c.p.dtype, false) < 0 ||
        cvl_py_check_array(in2, names[2], c.p.dtype, false) < 0)
        return NULL;

    if (!PyTuple_Check(stride_arg) || PyTuple_GET_SIZE(stride_arg) < 1 ||
        PyTuple_GET_SIZE(stride_arg) > CVL_AXES) {
        PyErr_SetString(PyExc_TypeError, "stride must be a tuple of 1, 2 or 3 ints");
        return NULL;
    }
    const int nd = (int)PyTuple_GET_SIZE(stride_arg);
    ptrdiff_t stride[] = {1, 1, 1}, pad[] = {0, 0, 0}, dilation[] = {1, 1, 1};
    if (cvl_py_parse_per_axis(stride_arg, "stride", nd, 1, stride) < 0 ||
        cvl_py_parse_per_axis(pad_arg, "pad", nd, PY_SSIZE_T_MIN, pad) < 0 ||
        cvl_py_parse_per_axis(dilation_arg, "dilation", nd, 1, dilation) < 0)
        return NULL;
    if (groups < 1) {
        PyErr_Format(PyExc_ValueError, "groups must be at least 1, not %zd", groups);
        return NULL;
    }

    PyArrayObject *const x = op == FORWARD ? in1 : op == GRAD_INPUT ? out : in2;
    PyArrayObject *const y = op == FORWARD ? out : in1;
    PyArrayObject *const w = op == GRAD_WEIGHT ? out : in2;
    data_view xv, yv;
    weight_view wv;
    if (cvl_py_view_data(x, op == GRAD_INPUT ? "dx" : "x", nd, channels_last, &xv) < 0 ||
        cvl_py_view_data(y, op == FORWARD ? "y" : "dy", nd, channels_last, &yv) < 0 ||
        cvl_py_view_weight(w, op == GRAD_WEIGHT ? "dw" : "w", nd, channels_last, transposed, &wv) <
            0 ||
        cvl_py_build_problem(&xv, &yv, &wv, stride, pad, dilation, groups, &c.p) < 0 ||
        cvl_py_view_bias(b, c.p.dtype, op == GRAD_INPUT ? xv.c : yv.c, &c.b, &c.b_stride) < 0)
        return NULL;

    c.out = PyArray_DATA(out);
    c.in1 = PyArray_DATA(in1);
    c.in2 = PyArray_DATA(in2);
    return cvl_py_run_without_gil(&c);
}

PyObject *cvl_py_forward(PyObject *self, PyObject *args) {
    (void)self;
    return run_primitive(FORWARD, args);
}

PyObject *cvl_py_grad_input(PyObject *self, PyObject *args) {
    (void)self;
    return run_primitive(GRAD_INPUT, args);
}

PyObject *cvl_py_grad_weight(PyObject *self, PyObject *args) {
    (void)self;
    return run_primitive(GRAD_WEIGHT, args);
}

PyObject *cvl_py_grad_bias(PyObject *self, PyObject *args) {
    (void)self;
    PyArrayObject *db, *dy;
    int nd, channels_last;
    cvl_dtype dtype;
    data_view view;
    ptrdiff_t db_stride;

    if (!PyArg_ParseTuple(args, "O!O!ip", &PyArray_Type, &db, &PyArray_Type, &dy, &nd,
                          &channels_last))
        return NULL;
    if (nd < 1 || nd > CVL_AXES) {
        PyErr_SetString(PyExc_ValueError, "nd must be 1, 2 or 3");
        return NULL;
    }
    if (cvl_py_real_dtype(db, "db", &dtype) < 0 || cvl_py_check_array(db, "db", dtype, true) < 0 ||
        cvl_py_check_array(dy, "dy", dtype, false) < 0 ||
        cvl_py_view_data(dy, "dy", nd, channels_last, &view) < 0)
        return NULL;
    if (PyArray_NDIM(db) != 1 || PyArray_DIM(db, 0) != view.c) {
        PyErr_Format(PyExc_ValueError, "db must have shape (%zd,)", view.c);
        return NULL;
    }
    if (cvl_py_element_stride(db, "db", 0, &db_stride) < 0)
        return NULL;
    cvl_status status;
    Py_BEGIN_ALLOW_THREADS
    status = cvl_grad_bias(dtype, PyArray_DATA(db), db_stride, PyArray_DATA(dy), view.n, view.c,
                           view.size, &view.strides);
    Py_END_ALLOW_THREADS
    return cvl_py_raise_status(status);
}
