/* New arrays for results, aligned to cache lines: a vector stored across two lines costs as much as
 * two. NumPy's own are aligned to 16 bytes.
 *
 * They begin elsewhere in a page than the array that is read while they are written. A processor
 * tells a load from the stores before it by the last 12 bits of their addresses: where loads run a
 * little ahead of stores that end alike, each waits for a store that it has nothing to do with. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "binding/binding.h"

/* NumPy's allocator hints the same. */
static void prefer_huge_pages(void *p, size_t bytes) {
#ifdef MADV_HUGEPAGE
    enum { worthwhile = 4 * 1024 * 1024 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t skip = -(size_t)p & (page - 1);
    if (bytes >= worthwhile)
        madvise((char *)p + skip, (bytes - skip) & ~(page - 1), MADV_HUGEPAGE);
#else
    (void)p;
    (void)bytes;
#endif
}

/* What stands before an array: posix_memalign would ask for more than it frees, so that no result
 * would fit where the one before it was. */
typedef struct header {
    void *block;
    size_t bytes;
} header;

/* What the next array shall begin apart from, or zero. */
static _Thread_local uintptr_t source;

static void *allocate_aligned(void *unused, size_t bytes) {
    /* Apart: no multiple of the usual rows of channels, and before the next of them. */
    enum { cache_line = 64, alike = 4096, apart = 1280 };
    (void)unused;
    if (bytes > (size_t)PY_SSIZE_T_MAX)
        return NULL;
    const size_t room = source ? alike : cache_line;
    char *const block = malloc(sizeof(header) + room + bytes);
    if (!block)
        return NULL;
    char *const first = block + sizeof(header);
    const uintptr_t line = (source + cache_line - 1) & -(uintptr_t)cache_line;
    char *const p = first + ((line + apart - (uintptr_t)first) & (room - 1));
    memcpy(p - sizeof(header), &(header){block, bytes}, sizeof(header));
    prefer_huge_pages(p, bytes);
    return p;
}

static header header_of(const void *p) {
    header h;
    memcpy(&h, (const char *)p - sizeof h, sizeof h);
    return h;
}

static void *allocate_zeroed(void *unused, size_t count, size_t size) {
    size_t bytes;
    void *p = NULL;
    if (!__builtin_mul_overflow(count, size, &bytes) && (p = allocate_aligned(unused, bytes)))
        memset(p, 0, bytes);
    return p;
}

static void release(void *unused, void *p, size_t bytes) {
    (void)unused;
    (void)bytes;
    if (p)
        free(header_of(p).block);
}

static void *reallocate(void *unused, void *old, size_t bytes) {
    void *const p = allocate_aligned(unused, bytes);
    if (p && old) {
        const size_t kept = header_of(old).bytes;
        memcpy(p, old, kept < bytes ? kept : bytes);
        release(unused, old, kept);
    }
    return p;
}

static PyDataMem_Handler handler = {
    .name = "convlab",
    .version = 1,
    .allocator = {.malloc = allocate_aligned,
                  .calloc = allocate_zeroed,
                  .realloc = reallocate,
                  .free = release},
};
static PyObject *capsule;

int cvl_py_add_outputs(void) {
    capsule = PyCapsule_New(&handler, "mem_handler", NULL);
    return capsule ? 0 : -1;
}

PyArrayObject *cvl_py_empty(PyArray_Descr *dtype, int ndim, const npy_intp dims[],
                            const void *apart_from) {
    enum { small = 32 * 1024 }; /* bytes, below which NumPy's own allocator is quicker */
    double bytes = (double)PyDataType_ELSIZE(dtype);
    for (int i = 0; i < ndim; i++)
        bytes *= (double)dims[i];
    PyObject *before = NULL;
    if (bytes >= small && !(before = PyDataMem_SetHandler(capsule))) {
        Py_DECREF(dtype);
        return NULL;
    }
    source = (uintptr_t)apart_from;
    PyArrayObject *a = (PyArrayObject *)PyArray_NewFromDescr(&PyArray_Type, dtype, ndim, dims, NULL,
                                                             NULL, 0, NULL);
    source = 0;
    if (before) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        Py_XDECREF(PyDataMem_SetHandler(before));
        Py_DECREF(before);
        PyErr_Restore(type, value, traceback);
    }
    return a;
}

PyObject *cvl_py_new_array(PyObject *self, PyObject *args) {
    PyArray_Dims shape = {NULL, 0};
    PyArray_Descr *dtype = NULL;
    PyObject *a = NULL, *from;
    (void)self;
    if (PyArg_ParseTuple(args, "O&O&O", PyArray_IntpConverter, &shape, PyArray_DescrConverter,
                         &dtype, &from))
        a = (PyObject *)cvl_py_empty(dtype, shape.len, shape.ptr,
                                     PyArray_Check(from) ? PyArray_DATA((PyArrayObject *)from)
                                                         : NULL);
    else
        Py_XDECREF(dtype);
    PyDimMem_FREE(shape.ptr);
    return a;
}
