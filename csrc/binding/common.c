/* The common call. Most calls pass plain arrays and ints. Those are served here, without the cost
 * of parsing anything that a call may be; any other call, right or wrong, is left to Python, which
 * knows what to say. So every check below answers "common or not" and raises nothing. */
#include "binding/binding.h"

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

static bool is_text(PyObject *o, const char *text) {
    const size_t length = strlen(text);
    return PyUnicode_GET_LENGTH(o) == (Py_ssize_t)length &&
           memcmp(PyUnicode_DATA(o), text, length) == 0;
}

static bool common_layout(PyObject *o, bool *channels_last) {
    if (!PyUnicode_CheckExact(o) || !PyUnicode_IS_COMPACT_ASCII(o))
        return false;
    *channels_last = is_text(o, "channels_last");
    return *channels_last || is_text(o, "channels_first");
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
            PyArray_STRIDE(a, i) & (PyArray_ITEMSIZE(a) - 1)) /* 4 or 8 bytes */
            return NULL;
    return a;
}

/* The output positions of a convolution on one axis; less than 1 when the kernel does not fit. */
static ptrdiff_t conv_positions(ptrdiff_t in, ptrdiff_t k, ptrdiff_t stride, ptrdiff_t padding,
                                ptrdiff_t dilation) {
    const ptrdiff_t room = in + 2 * padding - dilation * (k - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* An uninitialised array (cvl_py_empty); NULL if it is so large that Python shall see whether there
 * is memory for it. */
static PyArrayObject *new_array(const void *apart_from, int type, int ndim, npy_intp dims[]) {
    const double most_elements = 1 << 24;
    double elements = 1;
    for (int i = 0; i < ndim; i++)
        elements *= (double)dims[i];
    if (elements > most_elements)
        return NULL;
    return cvl_py_empty(PyArray_DescrFromType(type), ndim, dims, apart_from);
}

static PyArrayObject *new_data(PyArrayObject *from, int type, int nd, bool channels_last,
                               ptrdiff_t n, ptrdiff_t channels, const ptrdiff_t size[CVL_AXES]) {
    npy_intp dims[CVL_AXES + 2];
    dims[0] = n;
    dims[channels_last ? nd + 1 : 1] = channels;
    for (int i = 0; i < nd; i++)
        dims[i + 1 + !channels_last] = size[CVL_AXES - nd + i];
    return new_array(PyArray_DATA(from), type, nd + 2, dims);
}

static PyArrayObject *new_weight(int type, int nd, bool channels_last, bool transposed,
                                 ptrdiff_t oc, ptrdiff_t ic, const ptrdiff_t size[CVL_AXES]) {
    npy_intp dims[CVL_AXES + 2];
    const int channels = channels_last ? nd : 0, o = channels + (channels_last && !transposed);
    dims[o] = oc;
    dims[2 * channels + 1 - o] = ic;
    for (int i = 0; i < nd; i++)
        dims[i + (channels_last ? 0 : 2)] = size[CVL_AXES - nd + i];
    return new_array(NULL, type, nd + 2, dims);
}

typedef struct common_call {
    primitive op;
    bool transposed, channels_last;
    int nd, type;
    PyArrayObject *in1, *in2;
    PyObject *b;    /* or None */
    PyObject *size; /* of what the arrays do not show: dx's shape, dw's kernel; or NULL */
    ptrdiff_t stride[CVL_AXES], padding[CVL_AXES], dilation[CVL_AXES], groups;
    bool extra_told; /* whether output_padding is known, and not what the shapes show */
    ptrdiff_t extra[CVL_AXES];
} common_call;

/* The output_padding of a transposed call, each smaller than stride or dilation. */
static bool common_extra(common_call *c, PyObject *output_padding) {
    for (int i = 0; i < CVL_AXES; i++)
        c->extra[i] = 0;
    c->extra_told = c->transposed && output_padding != Py_None;
    if (!c->extra_told)
        return true;
    if (!common_per_axis(output_padding, c->nd, 0, c->extra))
        return false;
    for (int i = CVL_AXES - c->nd; i < CVL_AXES; i++)
        if (c->extra[i] > 0 && c->extra[i] >= c->stride[i] && c->extra[i] >= c->dilation[i])
            return false;
    return true;
}

/* Whether the output_padding that was told is what the sizes of a transposed convolution leave:
 * `wide` is its output's, `narrow` its input's. */
static bool extra_agrees(const common_call *c, const ptrdiff_t wide[], const ptrdiff_t k[],
                         const ptrdiff_t narrow[]) {
    for (int i = CVL_AXES - c->nd; i < CVL_AXES && c->extra_told; i++)
        if (wide[i] + 2 * c->padding[i] - c->dilation[i] * (k[i] - 1) - 1 -
                c->stride[i] * (narrow[i] - 1) !=
            c->extra[i])
            return false;
    return true;
}

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

/* Fills the problem and makes the output; NULL if the call is not common after all. */
static PyArrayObject *common_problem(const common_call *c, call *run) {
    data_view x, y;
    weight_view w;
    ptrdiff_t size[] = {1, 1, 1};
    const int nd = c->nd;
    PyArrayObject *out = NULL;
    const bool viewed =
        c->op == FORWARD
            ? cvl_py_view_data(c->in1, "x", nd, c->channels_last, &x) == 0 &&
                  cvl_py_view_weight(c->in2, "w", nd, c->channels_last, c->transposed, &w) == 0
        : c->op == GRAD_INPUT
            ? cvl_py_view_data(c->in1, "dy", nd, c->channels_last, &y) == 0 &&
                  cvl_py_view_weight(c->in2, "w", nd, c->channels_last, c->transposed, &w) == 0
            : cvl_py_view_data(c->in1, "dy", nd, c->channels_last, &y) == 0 &&
                  cvl_py_view_data(c->in2, "x", nd, c->channels_last, &x) == 0;
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
        if (!extra_agrees(c, x.size, w.size, size))
            return NULL;
        out = new_data(c->in1, c->type, nd, c->channels_last, x.n, w.oc, size);
        if (out)
            cvl_py_view_data(out, "y", nd, c->channels_last, &y);
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
                          2 * c->padding[i] + c->extra[i];
                if (size[i] < 1)
                    return NULL;
            }
        }
        out = new_data(c->in1, c->type, nd, c->channels_last, y.n, w.ic * c->groups, size);
        if (out)
            cvl_py_view_data(out, "dx", nd, c->channels_last, &x);
        break;
    case GRAD_WEIGHT:
        if (!common_per_axis(c->size, nd, 1, size) || x.c % c->groups != 0 ||
            y.c % c->groups != 0 || x.n != y.n || !positions_agree(c, x.size, size, y.size) ||
            !extra_agrees(c, x.size, size, y.size))
            return NULL;
        out = new_weight(c->type, nd, c->channels_last, c->transposed, y.c, x.c / c->groups, size);
        if (out)
            cvl_py_view_weight(out, "dw", nd, c->channels_last, c->transposed, &w);
        break;
    }
    if (!out)
        return NULL;
    const ptrdiff_t channels = c->op == GRAD_INPUT ? x.c : y.c;
    run->p.dtype = c->type == NPY_FLOAT ? CVL_F32 : CVL_F64;
    if (cvl_py_build_problem(&x, &y, &w, c->stride, c->padding, c->dilation, c->groups, &run->p) <
            0 ||
        cvl_py_view_bias(c->b, run->p.dtype, channels, &run->b, &run->b_stride) < 0) {
        PyErr_Clear();
        Py_DECREF(out);
        return NULL;
    }
    run->out = PyArray_DATA(out);
    run->in1 = PyArray_DATA(c->in1);
    run->in2 = PyArray_DATA(c->in2);
    return out;
}

PyObject *cvl_py_serve(primitive op, bool transposed, int nd, PyObject *const *parameters,
                       PyObject *output_padding) {
    common_call c;
    c.op = op;
    c.transposed = transposed;
    c.nd = nd;
    c.type = NPY_NOTYPE;
    c.b = parameters[CVL_PY_B];
    c.size = parameters[CVL_PY_SIZE] == Py_None ? NULL : parameters[CVL_PY_SIZE];
    for (int i = 0; i < CVL_AXES; i++) {
        c.stride[i] = c.dilation[i] = 1;
        c.padding[i] = 0;
    }
    const bool size_shown = op == FORWARD || (op == GRAD_INPUT && transposed);
    if (parameters[CVL_PY_OUT] != Py_None || size_shown != !c.size ||
        !(c.in1 = common_array(parameters[CVL_PY_IN1], nd + 2, &c.type)) ||
        !(c.in2 = common_array(parameters[CVL_PY_IN2], nd + 2, &c.type)) ||
        (c.b != Py_None && !common_array(c.b, 1, &c.type)) ||
        !common_per_axis(parameters[CVL_PY_STRIDE], nd, 1, c.stride) ||
        !common_per_axis(parameters[CVL_PY_PADDING], nd, 0, c.padding) ||
        !common_per_axis(parameters[CVL_PY_DILATION], nd, 1, c.dilation) ||
        !common_int(parameters[CVL_PY_GROUPS], 1, &c.groups) || !common_extra(&c, output_padding) ||
        !common_layout(parameters[CVL_PY_LAYOUT], &c.channels_last))
        Py_RETURN_NONE;

    /* A result that cannot be allocated is not common either: Python says what asked for too
     * much. */
    call run;
    run.op = op;
    run.reference = false;
    PyArrayObject *out = common_problem(&c, &run);
    if (!out) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    PyObject *done = cvl_py_run_without_gil(&run);
    if (!done) {
        Py_DECREF(out);
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            PyErr_SetString(PyExc_MemoryError, "convlab: cannot allocate the memory to work in");
        return NULL;
    }
    Py_DECREF(done);
    return (PyObject *)out;
}

/* common(primitive, transposed, nd, in1, in2, b, size, stride, padding, dilation, groups, layout,
 * out) -> the result, or None if the call is not a common one. */
PyObject *cvl_py_common(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
    (void)self;
    enum { OP, TRANSPOSED, ND, FIRST };
    ptrdiff_t op, nd;
    if (n_args != FIRST + CVL_PY_PARAMETERS || !common_int(args[OP], FORWARD, &op) ||
        op > GRAD_WEIGHT || !common_int(args[ND], 1, &nd) || nd > CVL_AXES) {
        PyErr_SetString(PyExc_TypeError, "common takes 13 arguments: primitive (0..2), "
                                         "transposed, nd (1..3), in1, in2, b, size, stride, "
                                         "padding, dilation, groups, layout, out");
        return NULL;
    }
    return cvl_py_serve((primitive)op, args[TRANSPOSED] == Py_True, (int)nd, args + FIRST, Py_None);
}
