/* Served functions. A public function is written in Python and served here: the common call at
 * once, any other by the Python function, with the arguments as they came. To whoever looks at it
 * (help, inspect, pickle, doctest) it is that function: its attributes are the function's. */
#include "binding/binding.h"

#include <structmember.h>

typedef struct served {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject *function, *weak_references;
    ptrdiff_t op, nd;
    bool transposed;
} served;

/* Parameters of transposed calls alone. With an output_size a call is no common one. */
enum { OUTPUT_PADDING = CVL_PY_PARAMETERS, OUTPUT_SIZE, ALL_PARAMETERS };

/* What may be given by name in a common call: the parameters that are not arrays, and the bias. */
static const struct {
    const char *text;
    int parameter;
} keywords[] = {
    {"stride", CVL_PY_STRIDE},     {"padding", CVL_PY_PADDING},        {"layout", CVL_PY_LAYOUT},
    {"dilation", CVL_PY_DILATION}, {"groups", CVL_PY_GROUPS},          {"b", CVL_PY_B},
    {"out", CVL_PY_OUT},           {"output_padding", OUTPUT_PADDING}, {"output_size", OUTPUT_SIZE},
};
enum { n_keywords = sizeof keywords / sizeof *keywords };

/* Made when the module loads, and kept. */
static PyObject *names[n_keywords], *zero, *one, *channels_first;

static bool has_size(const served *s) {
    return s->op == GRAD_WEIGHT || (s->op == GRAD_INPUT && !s->transposed);
}

static bool has_bias(const served *s) {
    return s->transposed ? s->op == GRAD_INPUT : s->op == FORWARD;
}

/* Which parameter a name is, or -1. The names in a program's text are interned, as these are; one
 * that is not is left to Python too. */
static int named(const served *s, PyObject *name) {
    int i = 0;
    while (i < n_keywords && name != names[i])
        i++;
    if (i == n_keywords || (keywords[i].parameter == CVL_PY_B && !has_bias(s)) ||
        (keywords[i].parameter >= CVL_PY_PARAMETERS && !s->transposed))
        return -1;
    return keywords[i].parameter;
}

/* Puts the arguments where the common call takes them from; false if the call is no common one. */
static bool place(const served *s, PyObject *const *args, Py_ssize_t n_args, PyObject *given,
                  PyObject *parameters[ALL_PARAMETERS]) {
    const Py_ssize_t n_given = given ? PyTuple_GET_SIZE(given) : 0;
    const bool third = n_args == 3, sized = has_size(s), biased = has_bias(s);
    if (!(n_args == 2 && !sized) && !(third && (sized || biased)))
        return false;
    /* The weight gradient of a transposed convolution takes x as dy, and dy as x. */
    const bool swapped = s->transposed && s->op == GRAD_WEIGHT;
    parameters[CVL_PY_IN1] = args[swapped];
    parameters[CVL_PY_IN2] = args[!swapped];
    parameters[CVL_PY_B] = third && biased ? args[2] : Py_None;
    parameters[CVL_PY_SIZE] = third && sized ? args[2] : Py_None;
    parameters[CVL_PY_STRIDE] = one;
    parameters[CVL_PY_PADDING] = zero;
    parameters[CVL_PY_DILATION] = one;
    parameters[CVL_PY_GROUPS] = one;
    parameters[CVL_PY_LAYOUT] = channels_first;
    parameters[CVL_PY_OUT] = Py_None;
    parameters[OUTPUT_PADDING] = biased ? zero : Py_None; /* else what the shapes show */
    parameters[OUTPUT_SIZE] = Py_None;
    for (Py_ssize_t i = 0; i < n_given; i++) {
        const int parameter = named(s, PyTuple_GET_ITEM(given, i));
        if (parameter < 0 || (parameter == CVL_PY_B && third))
            return false;
        parameters[parameter] = args[n_args + i];
    }
    return parameters[OUTPUT_SIZE] == Py_None;
}

static PyObject *served_vectorcall(PyObject *self, PyObject *const *args, size_t flags,
                                   PyObject *given) {
    const served *s = (const served *)self;
    PyObject *parameters[ALL_PARAMETERS];
    if (place(s, args, PyVectorcall_NARGS(flags), given, parameters)) {
        PyObject *result = cvl_py_serve((primitive)s->op, s->transposed, (int)s->nd, parameters,
                                        parameters[OUTPUT_PADDING]);
        if (result != Py_None)
            return result;
        Py_DECREF(result);
    }
    return PyObject_Vectorcall(s->function, args, flags, given);
}

static PyObject *served_new(PyTypeObject *type, PyObject *args, PyObject *keyword_args) {
    static char *argument_names[] = {"function", "nd", "primitive", "transposed", NULL};
    PyObject *function;
    Py_ssize_t nd, op;
    int transposed;
    if (!PyArg_ParseTupleAndKeywords(args, keyword_args, "Onnp", argument_names, &function, &nd,
                                     &op, &transposed))
        return NULL;
    if (!PyCallable_Check(function) || nd < 1 || nd > CVL_AXES || op < FORWARD ||
        op > GRAD_WEIGHT) {
        PyErr_SetString(PyExc_TypeError, "Served takes a callable, nd (1..3), primitive (0..2) and "
                                         "transposed");
        return NULL;
    }
    served *s = (served *)type->tp_alloc(type, 0);
    if (!s)
        return NULL;
    s->vectorcall = served_vectorcall;
    s->function = Py_NewRef(function);
    s->op = op;
    s->nd = nd;
    s->transposed = transposed;
    return (PyObject *)s;
}

static int served_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((served *)self)->function);
    return 0;
}

static int served_clear(PyObject *self) {
    Py_CLEAR(((served *)self)->function);
    return 0;
}

static void served_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    if (((served *)self)->weak_references)
        PyObject_ClearWeakRefs(self);
    served_clear(self);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *served_getattro(PyObject *self, PyObject *name) {
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return value;
    PyErr_Clear();
    return PyObject_GetAttr(((served *)self)->function, name);
}

static int served_setattro(PyObject *self, PyObject *name, PyObject *value) {
    if (PyUnicode_CompareWithASCIIString(name, "__wrapped__") == 0)
        return PyObject_GenericSetAttr(self, name, value); /* which refuses */
    return PyObject_SetAttr(((served *)self)->function, name, value);
}

static PyObject *served_repr(PyObject *self) {
    return PyObject_Repr(((served *)self)->function);
}

/* A method, where it is found in an object's class. */
static PyObject *served_get(PyObject *self, PyObject *object, PyObject *type) {
    (void)type;
    return object && object != Py_None ? PyMethod_New(self, object) : Py_NewRef(self);
}

static PyObject *served_doc(PyObject *self, void *unused) {
    (void)unused;
    return PyObject_GetAttrString(((served *)self)->function, "__doc__");
}

/* Pickled and copied by its name, as a function is. */
static PyObject *served_reduce(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyObject_GetAttrString(((served *)self)->function, "__qualname__");
}

static PyMethodDef served_methods[] = {
    {"__reduce__", served_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef served_members[] = {
    {"__wrapped__", T_OBJECT, offsetof(served, function), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* Otherwise the type's own would be found. */
static PyGetSetDef served_getset[] = {
    {"__doc__", served_doc, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject served_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "convlab._core.Served",
    .tp_basicsize = sizeof(served),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_new = served_new,
    .tp_traverse = served_traverse,
    .tp_clear = served_clear,
    .tp_dealloc = served_dealloc,
    .tp_vectorcall_offset = offsetof(served, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_weaklistoffset = offsetof(served, weak_references),
    .tp_getattro = served_getattro,
    .tp_setattro = served_setattro,
    .tp_repr = served_repr,
    .tp_descr_get = served_get,
    .tp_methods = served_methods,
    .tp_members = served_members,
    .tp_getset = served_getset,
};

int cvl_py_add_served(PyObject *module) {
    for (int i = 0; i < n_keywords; i++)
        if (!(names[i] = PyUnicode_InternFromString(keywords[i].text)))
            return -1;
    zero = PyLong_FromLong(0);
    one = PyLong_FromLong(1);
    channels_first = PyUnicode_InternFromString("channels_first");
    if (!zero || !one || !channels_first)
        return -1;
    return PyModule_AddType(module, &served_type);
}
