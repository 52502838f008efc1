/* The CPython extension module convlab._core: the only file that knows Python.
 *
 * It owns memory safety. Whatever arguments arrive, a call either returns or raises; it never reads
 * or writes outside its arrays. Meaning (defaults, padding forms, dtype promotion, messages in the
 * user's terms) is settled in Python before: what arrives here is arrays of one native, aligned
 * dtype and plain numbers. Its own messages name the argument, for whoever calls it directly. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include "cvl.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

/* Below this many multiplications, giving the GIL up and taking it back costs more than it frees. */
static const double gil_release_work = 50e3;

/* ---- converters: each returns 0, or -1 with an exception set -------------------------------- */

static int real_dtype(PyArrayObject *a, const char *name, cvl_dtype *dtype) {
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

static int check_array(PyArrayObject *a, const char *name, cvl_dtype dtype, bool written) {
    cvl_dtype own;
    if (real_dtype(a, name, &own) < 0)
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

/* The stride of one axis in elements. An axis of at most one element has none that matters. */
static int element_stride(PyArrayObject *a, const char *name, int axis, ptrdiff_t *stride) {
    const npy_intp bytes = PyArray_STRIDE(a, axis), itemsize = PyArray_ITEMSIZE(a);
    if (PyArray_DIM(a, axis) <= 1) {
        *stride = 0;
        return 0;
    }
    if (bytes % itemsize != 0) {
        PyErr_Format(PyExc_ValueError,
                     "%s: the stride of axis %d is not a whole number of elements", name, axis);
        return -1;
    }
    *stride = bytes / itemsize;
    return 0;
}

/* A tuple of one int per spatial axis, put at the end of the three. */
static int parse_per_axis(PyObject *tuple, const char *name, int nd, ptrdiff_t least,
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

typedef struct data_view {
    ptrdiff_t n, c, size[CVL_AXES];
    cvl_data_strides strides;
} data_view;

/* (N, C, *spatial), (N, *spatial, C), or either without N. */
static int view_data(PyArrayObject *a, const char *name, int nd, bool channels_last,
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
    if (batched && element_stride(a, name, 0, &view->strides.n) < 0)
        return -1;
    if (element_stride(a, name, channel, &view->strides.c) < 0)
        return -1;
    for (int i = 0; i < nd; i++) {
        const int axis = CVL_AXES - nd + i;
        view->size[axis] = PyArray_DIM(a, first + i);
        if (element_stride(a, name, first + i, &view->strides.s[axis]) < 0)
            return -1;
    }
    return 0;
}

typedef struct weight_view {
    ptrdiff_t oc, ic, size[CVL_AXES];
    cvl_weight_strides strides;
} weight_view;

/* channels_first: (O, I, *k). channels_last: (*k, I, O), and (*k, O, I) where the weight is that of
 * a transposed convolution, whose input channels are the O of the convolution it belongs to. */
static int view_weight(PyArrayObject *a, const char *name, int nd, bool channels_last,
                       bool transposed, weight_view *view) {
    if (PyArray_NDIM(a) != nd + 2) {
        PyErr_Format(PyExc_ValueError, "%s must have %d axes, not %d", name, nd + 2,
                     PyArray_NDIM(a));
        return -1;
    }
    const int first = channels_last ? 0 : 2, channels = channels_last ? nd : 0;
    const int oc = channels + (channels_last && !transposed), ic = 2 * channels + 1 - oc;
    *view = (weight_view){.oc = PyArray_DIM(a, oc), .ic = PyArray_DIM(a, ic), .size = {1, 1, 1}};
    if (element_stride(a, name, oc, &view->strides.oc) < 0 ||
        element_stride(a, name, ic, &view->strides.ic) < 0)
        return -1;
    for (int i = 0; i < nd; i++) {
        const int axis = CVL_AXES - nd + i;
        view->size[axis] = PyArray_DIM(a, first + i);
        if (element_stride(a, name, first + i, &view->strides.k[axis]) < 0)
            return -1;
    }
    return 0;
}

static int view_bias(PyObject *o, cvl_dtype dtype, ptrdiff_t channels, const void **b,
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
    if (check_array(a, "b", dtype, false) < 0)
        return -1;
    if (PyArray_NDIM(a) != 1 || PyArray_DIM(a, 0) != channels) {
        PyErr_Format(PyExc_ValueError, "b must have shape (%zd,)", channels);
        return -1;
    }
    *b = PyArray_DATA(a);
    return element_stride(a, "b", 0, stride);
}

static PyObject *raise_status(cvl_status status) {
    switch (status) {
    case CVL_OK: Py_RETURN_NONE;
    case CVL_NO_MEMORY: return PyErr_NoMemory();
    case CVL_TOO_LARGE: break;
    }
    PyErr_SetString(PyExc_OverflowError,
                    "the sizes and parameters together exceed the address range");
    return NULL;
}

/* ---- the three primitives ------------------------------------------------------------------- */

typedef enum primitive { FORWARD, GRAD_INPUT, GRAD_WEIGHT } primitive;

/* Names of (output, first input, second input), in the order of the arguments. */
static const char *const argument_names[][3] = {
    [FORWARD] = {"y", "x", "w"},
    [GRAD_INPUT] = {"dx", "dy", "w"},
    [GRAD_WEIGHT] = {"dw", "dy", "x"},
};

typedef struct call {
    primitive op;
    cvl_problem p;
    void *out;
    const void *in1, *in2, *b;
    ptrdiff_t b_stride;
    bool reference;
} call;

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

static double work(const cvl_problem *p) {
    double products = (double)p->n * (double)p->groups * (double)p->ic * (double)p->oc;
    for (int i = 0; i < CVL_AXES; i++)
        products *= (double)p->axis[i].out * (double)p->axis[i].k;
    return products;
}

static PyObject *run_without_gil(const call *c) {
    PyThreadState *saved = work(&c->p) > gil_release_work ? PyEval_SaveThread() : NULL;
    const cvl_status status = run(c);
    if (saved)
        PyEval_RestoreThread(saved);
    return raise_status(status);
}

/* Fills the problem from the three arrays, which must agree with one another. */
static int build_problem(const data_view *x, const data_view *y, const weight_view *w,
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
    if (real_dtype(out, names[0], &c.p.dtype) < 0 ||
        check_array(out, names[0], c.p.dtype, true) < 0 ||
        check_array(in1, names[1], c.p.dtype, false) < 0 ||
        check_array(in2, names[2], c.p.dtype, false) < 0)
        return NULL;

    if (!PyTuple_Check(stride_arg) || PyTuple_GET_SIZE(stride_arg) < 1 ||
        PyTuple_GET_SIZE(stride_arg) > CVL_AXES) {
        PyErr_SetString(PyExc_TypeError, "stride must be a tuple of 1, 2 or 3 ints");
        return NULL;
    }
    const int nd = (int)PyTuple_GET_SIZE(stride_arg);
    ptrdiff_t stride[] = {1, 1, 1}, pad[] = {0, 0, 0}, dilation[] = {1, 1, 1};
    if (parse_per_axis(stride_arg, "stride", nd, 1, stride) < 0 ||
        parse_per_axis(pad_arg, "pad", nd, PY_SSIZE_T_MIN, pad) < 0 ||
        parse_per_axis(dilation_arg, "dilation", nd, 1, dilation) < 0)
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
    if (view_data(x, op == GRAD_INPUT ? "dx" : "x", nd, channels_last, &xv) < 0 ||
        view_data(y, op == FORWARD ? "y" : "dy", nd, channels_last, &yv) < 0 ||
        view_weight(w, op == GRAD_WEIGHT ? "dw" : "w", nd, channels_last, transposed, &wv) < 0 ||
        build_problem(&xv, &yv, &wv, stride, pad, dilation, groups, &c.p) < 0 ||
        view_bias(b, c.p.dtype, op == GRAD_INPUT ? xv.c : yv.c, &c.b, &c.b_stride) < 0)
        return NULL;

    c.out = PyArray_DATA(out);
    c.in1 = PyArray_DATA(in1);
    c.in2 = PyArray_DATA(in2);
    return run_without_gil(&c);
}

static PyObject *core_forward(PyObject *self, PyObject *args) {
    (void)self;
    return run_primitive(FORWARD, args);
}

static PyObject *core_grad_input(PyObject *self, PyObject *args) {
    (void)self;
    return run_primitive(GRAD_INPUT, args);
}

static PyObject *core_grad_weight(PyObject *self, PyObject *args) {
    (void)self;
    return run_primitive(GRAD_WEIGHT, args);
}

static PyObject *core_grad_bias(PyObject *self, PyObject *args) {
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
    if (real_dtype(db, "db", &dtype) < 0 || check_array(db, "db", dtype, true) < 0 ||
        check_array(dy, "dy", dtype, false) < 0 ||
        view_data(dy, "dy", nd, channels_last, &view) < 0)
        return NULL;
    if (PyArray_NDIM(db) != 1 || PyArray_DIM(db, 0) != view.c) {
        PyErr_Format(PyExc_ValueError, "db must have shape (%zd,)", view.c);
        return NULL;
    }
    if (element_stride(db, "db", 0, &db_stride) < 0)
        return NULL;
    cvl_status status;
    Py_BEGIN_ALLOW_THREADS
    status = cvl_grad_bias(dtype, PyArray_DATA(db), db_stride, PyArray_DATA(dy), view.n, view.c,
                           view.size, &view.strides);
    Py_END_ALLOW_THREADS
    return raise_status(status);
}

/* ---- the common call ------------------------------------------------------------------------ */

/* Most calls pass plain arrays and ints. Those are served here, without the cost of parsing anything
 * that a call may be; any other call, right or wrong, is left to Python, which knows what to say. So
 * every check below answers "common or not" and raises nothing. */

/* The largest parameter of a common call: sums and products of two cannot overflow. */
enum { largest_common = 1 << 30 };

static bool common_int(PyObject *o, ptrdiff_t least, ptrdiff_t *value) {
    if (!PyLong_CheckExact(o))
        return false;
    int overflow;
    const long v = PyLong_AsLongAndOverflow(o, &overflow);
    *value = v;
    return !overflow && v >= least && v <= largest_common;
}

/* An int for all axes, or a tuple of one each. */
static bool common_per_axis(PyObject *o, int nd, ptrdiff_t least, ptrdiff_t value[CVL_AXES]) {
    ptrdiff_t *const first = value + CVL_AXES - nd;
    if (PyTuple_CheckExact(o)) {
        if (PyTuple_GET_SIZE(o) != nd)
            return false;
        for (int i = 0; i < nd; i++)
            if (!common_int(PyTuple_GET_ITEM(o, i), least, &first[i]))
                return false;
        return true;
    }
    if (!common_int(o, least, &first[0]))
        return false;
    for (int i = 1; i < nd; i++)
        first[i] = first[0];
    return true;
}

static bool common_layout(PyObject *o, bool *channels_last) {
    if (!PyUnicode_CheckExact(o))
        return false;
    *channels_last = PyUnicode_CompareWithASCIIString(o, "channels_last") == 0;
    return *channels_last || PyUnicode_CompareWithASCIIString(o, "channels_first") == 0;
}

/* An ndarray itself, not empty, of the dtype that the call has (or gets, with the first array). */
static PyArrayObject *common_array(PyObject *o, int ndim, int *type) {
    if (!PyArray_CheckExact(o))
        return NULL;
    PyArrayObject *a = (PyArrayObject *)o;
    const int own = PyArray_TYPE(a);
    if (*type == NPY_NOTYPE && (own == NPY_FLOAT || own == NPY_DOUBLE))
        *type = own;
    if (own != *type || PyArray_NDIM(a) != ndim || !PyArray_ISALIGNED(a) ||
        !PyArray_ISNOTSWAPPED(a))
        return NULL;
    for (int i = 0; i < ndim; i++)
        if (PyArray_DIM(a, i) < 1 || PyArray_DIM(a, i) > largest_common ||
            PyArray_STRIDE(a, i) % PyArray_ITEMSIZE(a) != 0)
            return NULL;
    return a;
}

/* The output positions of a convolution on one axis; less than 1 when the kernel does not fit. */
static ptrdiff_t conv_positions(ptrdiff_t in, ptrdiff_t k, ptrdiff_t stride, ptrdiff_t padding,
                                ptrdiff_t dilation) {
    const ptrdiff_t room = in + 2 * padding - dilation * (k - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* Uninitialised arrays for data and for weights of these sizes. */
static PyArrayObject *new_data(int type, int nd, bool channels_last, ptrdiff_t n,
                               ptrdiff_t channels, const ptrdiff_t size[CVL_AXES]) {
    npy_intp dims[CVL_AXES + 2];
    dims[0] = n;
    dims[channels_last ? nd + 1 : 1] = channels;
    for (int i = 0; i < nd; i++)
        dims[i + 1 + !channels_last] = size[CVL_AXES - nd + i];
    return (PyArrayObject *)PyArray_EMPTY(nd + 2, dims, type, 0);
}

static PyArrayObject *new_weight(int type, int nd, bool channels_last, bool transposed,
                                 ptrdiff_t oc, ptrdiff_t ic, const ptrdiff_t size[CVL_AXES]) {
    npy_intp dims[CVL_AXES + 2];
    const int channels = channels_last ? nd : 0, o = channels + (channels_last && !transposed);
    dims[o] = oc;
    dims[2 * channels + 1 - o] = ic;
    for (int i = 0; i < nd; i++)
        dims[i + (channels_last ? 0 : 2)] = size[CVL_AXES - nd + i];
    return (PyArrayObject *)PyArray_EMPTY(nd + 2, dims, type, 0);
}

typedef struct common_call {
    primitive op;
    bool transposed, channels_last;
    int nd, type;
    PyArrayObject *in1, *in2;
    PyObject *b;    /* or None */
    PyObject *size; /* of what the arrays do not show: dx's shape, dw's kernel; or NULL */
    ptrdiff_t stride[CVL_AXES], padding[CVL_AXES], dilation[CVL_AXES], groups;
} common_call;

/* The output positions that x and the kernel give must be those of y, where y is an input. */
static bool positions_agree(const common_call *c, const ptrdiff_t x[], const ptrdiff_t k[],
                            const ptrdiff_t y[]) {
    for (int i = CVL_AXES - c->nd; i < CVL_AXES; i++)
        if (k[i] > largest_common / c->dilation[i] ||
            conv_positions(x[i], k[i], c->stride[i], c->padding[i], c->dilation[i]) != y[i])
            return false;
    return true;
}

/* The shape of dx as given: N, channels and sizes agree with dy and w. */
static bool common_input_shape(const common_call *c, const data_view *dy, const weight_view *w,
                               ptrdiff_t size[CVL_AXES]) {
    if (!PyTuple_CheckExact(c->size) || PyTuple_GET_SIZE(c->size) != c->nd + 2)
        return false;
    ptrdiff_t shape[CVL_AXES + 2];
    for (int i = 0; i < c->nd + 2; i++)
        if (!common_int(PyTuple_GET_ITEM(c->size, i), 1, &shape[i]))
            return false;
    for (int i = 0; i < c->nd; i++)
        size[CVL_AXES - c->nd + i] = shape[i + 1 + !c->channels_last];
    return shape[0] == dy->n && shape[c->channels_last ? c->nd + 1 : 1] == w->ic * c->groups &&
           positions_agree(c, size, w->size, dy->size);
}

/* Fills the problem and makes the output. Returns NULL without an exception if the call is not common
 * after all. */
static PyArrayObject *common_problem(const common_call *c, call *run) {
    data_view x, y;
    weight_view w;
    ptrdiff_t size[] = {1, 1, 1};
    const int nd = c->nd;
    PyArrayObject *out = NULL;
    const bool viewed =
        c->op == FORWARD
            ? view_data(c->in1, "x", nd, c->channels_last, &x) == 0 &&
                  view_weight(c->in2, "w", nd, c->channels_last, c->transposed, &w) == 0
        : c->op == GRAD_INPUT
            ? view_data(c->in1, "dy", nd, c->channels_last, &y) == 0 &&
                  view_weight(c->in2, "w", nd, c->channels_last, c->transposed, &w) == 0
            : view_data(c->in1, "dy", nd, c->channels_last, &y) == 0 &&
                  view_data(c->in2, "x", nd, c->channels_last, &x) == 0;
    if (!viewed)
        return NULL;

    switch (c->op) {
    case FORWARD:
        if (w.oc % c->groups != 0 || x.c != w.ic * c->groups)
            return NULL;
        for (int i = CVL_AXES - nd; i < CVL_AXES; i++) {
            if (w.size[i] > largest_common / c->dilation[i])
                return NULL;
            size[i] =
                conv_positions(x.size[i], w.size[i], c->stride[i], c->padding[i], c->dilation[i]);
            if (size[i] < 1)
                return NULL;
        }
        out = new_data(c->type, nd, c->channels_last, x.n, w.oc, size);
        if (out)
            view_data(out, "y", nd, c->channels_last, &y);
        break;
    case GRAD_INPUT:
        if (w.oc % c->groups != 0 || y.c != w.oc)
            return NULL;
        if (c->size) {
            if (!common_input_shape(c, &y, &w, size))
                return NULL;
        } else {
            for (int i = CVL_AXES - nd; i < CVL_AXES; i++) {
                if (w.size[i] > largest_common / c->dilation[i])
                    return NULL;
                size[i] = c->stride[i] * (y.size[i] - 1) + c->dilation[i] * (w.size[i] - 1) + 1 -
                          2 * c->padding[i];
                if (size[i] < 1)
                    return NULL;
            }
        }
        out = new_data(c->type, nd, c->channels_last, y.n, w.ic * c->groups, size);
        if (out)
            view_data(out, "dx", nd, c->channels_last, &x);
        break;
    case GRAD_WEIGHT:
        if (!common_per_axis(c->size, nd, 1, size) || x.c % c->groups != 0 ||
            y.c % c->groups != 0 || x.n != y.n || !positions_agree(c, x.size, size, y.size))
            return NULL;
        out = new_weight(c->type, nd, c->channels_last, c->transposed, y.c, x.c / c->groups, size);
        if (out)
            view_weight(out, "dw", nd, c->channels_last, c->transposed, &w);
        break;
    }
    if (!out)
        return NULL;
    const ptrdiff_t channels = c->op == GRAD_INPUT ? x.c : y.c;
    run->p.dtype = c->type == NPY_FLOAT ? CVL_F32 : CVL_F64;
    if (build_problem(&x, &y, &w, c->stride, c->padding, c->dilation, c->groups, &run->p) < 0 ||
        view_bias(c->b, run->p.dtype, channels, &run->b, &run->b_stride) < 0) {
        PyErr_Clear();
        Py_DECREF(out);
        return NULL;
    }
    run->out = PyArray_DATA(out);
    run->in1 = PyArray_DATA(c->in1);
    run->in2 = PyArray_DATA(c->in2);
    return out;
}

/* common(primitive, transposed, nd, in1, in2, b, size, stride, padding, dilation, groups, layout, out)
 * -> the result, or None if the call is not a common one. */
static PyObject *core_common(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
    (void)self;
    enum { OP, TRANSPOSED, ND, IN1, IN2, B, SIZE, STRIDE, PADDING, DILATION, GROUPS, LAYOUT, OUT };
    ptrdiff_t op, nd;
    if (n_args != OUT + 1 || !common_int(args[OP], FORWARD, &op) || op > GRAD_WEIGHT ||
        !common_int(args[ND], 1, &nd) || nd > CVL_AXES) {
        PyErr_SetString(PyExc_TypeError, "common takes 13 arguments: primitive (0..2), "
                                         "transposed, nd (1..3), in1, in2, b, size, stride, "
                                         "padding, dilation, groups, layout, out");
        return NULL;
    }
    common_call c = {.op = (primitive)op,
                     .transposed = args[TRANSPOSED] == Py_True,
                     .nd = (int)nd,
                     .type = NPY_NOTYPE,
                     .b = args[B],
                     .size = args[SIZE] == Py_None ? NULL : args[SIZE],
                     .stride = {1, 1, 1},
                     .dilation = {1, 1, 1}};
    call run = {.op = c.op};
    if (args[OUT] != Py_None || (c.op == GRAD_WEIGHT && !c.size) ||
        !(c.in1 = common_array(args[IN1], c.nd + 2, &c.type)) ||
        !(c.in2 = common_array(args[IN2], c.nd + 2, &c.type)) ||
        (c.b != Py_None && !common_array(c.b, 1, &c.type)) ||
        !common_per_axis(args[STRIDE], c.nd, 1, c.stride) ||
        !common_per_axis(args[PADDING], c.nd, 0, c.padding) ||
        !common_per_axis(args[DILATION], c.nd, 1, c.dilation) ||
        !common_int(args[GROUPS], 1, &c.groups) || !common_layout(args[LAYOUT], &c.channels_last))
        Py_RETURN_NONE;

    PyArrayObject *out = common_problem(&c, &run);
    if (!out) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    PyObject *done = run_without_gil(&run);
    if (!done) {
        Py_DECREF(out);
        return NULL;
    }
    Py_DECREF(done);
    return (PyObject *)out;
}

/* ---- windows as rows ------------------------------------------------------------------------ */

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
    if (real_dtype(out, fold ? "x" : "columns", &p.dtype) < 0 ||
        check_array(out, fold ? "x" : "columns", p.dtype, true) < 0 ||
        check_array(in, fold ? "columns" : "x", p.dtype, false) < 0 ||
        view_data(x, "x", nd, false, &view) < 0 ||
        parse_per_axis(kernel_arg, "kernel_size", nd, 1, kernel) < 0 ||
        parse_per_axis(positions_arg, "positions", nd, 0, positions) < 0 ||
        parse_per_axis(stride_arg, "stride", nd, 1, stride) < 0 ||
        parse_per_axis(pad_arg, "pad", nd, PY_SSIZE_T_MIN, pad) < 0 ||
        parse_per_axis(dilation_arg, "dilation", nd, 1, dilation) < 0 ||
        element_stride(columns, "columns", 0, &strides.n) < 0 ||
        element_stride(columns, "columns", 1, &strides.row) < 0 ||
        element_stride(columns, "columns", 2, &strides.position) < 0)
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
    return raise_status(status);
}

static PyObject *core_unfold(PyObject *self, PyObject *args) {
    (void)self;
    return run_columns(args, false);
}

static PyObject *core_fold(PyObject *self, PyObject *args) {
    (void)self;
    return run_columns(args, true);
}

/* ---- threads, instruction sets, build ------------------------------------------------------- */

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
    {"forward", core_forward, METH_VARARGS,
     "forward(y, x, w, b, stride, pad, dilation, groups, channels_last, transposed,"
     " reference=False)"},
    {"grad_input", core_grad_input, METH_VARARGS,
     "grad_input(dx, dy, w, b, stride, pad, dilation, groups, channels_last, transposed,"
     " reference=False)"},
    {"grad_weight", core_grad_weight, METH_VARARGS,
     "grad_weight(dw, dy, x, None, stride, pad, dilation, groups, channels_last, transposed,"
     " reference=False)"},
    {"common", (PyCFunction)(void (*)(void))core_common, METH_FASTCALL,
     "common(primitive, transposed, nd, in1, in2, b, size, stride, padding, dilation, groups, "
     "layout,"
     " out): the result of a call of plain arrays and ints, or None for any other call"},
    {"grad_bias", core_grad_bias, METH_VARARGS, "grad_bias(db, dy, nd, channels_last)"},
    {"unfold", core_unfold, METH_VARARGS,
     "unfold(columns, x, kernel_size, positions, stride, pad, dilation)"},
    {"fold", core_fold, METH_VARARGS,
     "fold(x, columns, kernel_size, positions, stride, pad, dilation)"},
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
    return PyModule_Create(&module);
}
