/* convlab's C core: what the layers above it may call.
 *
 * A problem is always a convolution (deep learning's cross-correlation) between three arrays:
 *
 *     y[n, g*OC + o, od, oh, ow] = sum over i, kd, kh, kw of
 *         x[n, g*IC + i, id, ih, iw] * w[g, o, i, kd, kh, kw],
 *     id = od*stride_d - pad_d + kd*dilation_d,  likewise ih and iw,
 *
 * where x reads as zero outside its bounds. One and two spatial axes are three with leading axes of
 * size 1. A transposed convolution is the input gradient of a convolution: it calls
 * cvl_grad_input with its own input as dy. docs/math.md derives all of it.
 *
 * Every array is a base pointer and one stride per axis, in elements; strides may be zero or
 * negative. Layout, groups and transposed weights are nothing but strides here.
 */
#ifndef CVL_H
#define CVL_H

#include <stdbool.h>
#include <stddef.h>

enum { CVL_AXES = 3 }; /* depth, height, width: always in that order */

typedef enum cvl_dtype { CVL_F32, CVL_F64 } cvl_dtype;

typedef enum cvl_status {
    CVL_OK,
    CVL_NO_MEMORY, /* the workspace could not be allocated; the outputs hold no meaning */
    CVL_TOO_LARGE, /* an index of the problem would not fit in ptrdiff_t */
} cvl_status;

/* One spatial axis. `out` is the caller's choice: whatever an output position needs of x outside
 * [0, in) is zero, so padding after the end, output_padding and cropping (negative pad) need no
 * fields of their own. */
typedef struct cvl_axis {
    ptrdiff_t in, out, k;
    ptrdiff_t stride;   /* >= 1 */
    ptrdiff_t pad;      /* before the first element; any sign */
    ptrdiff_t dilation; /* >= 1 */
} cvl_axis;

/* Strides of x or y. Channel c of group g is channel g*IC + c (or g*OC + c) of the array. */
typedef struct cvl_data_strides {
    ptrdiff_t n, c, s[CVL_AXES];
} cvl_data_strides;

/* Strides of w. Output channel o of group g is output channel g*OC + o of the array. */
typedef struct cvl_weight_strides {
    ptrdiff_t oc, ic, k[CVL_AXES];
} cvl_weight_strides;

typedef struct cvl_problem {
    cvl_dtype dtype;
    ptrdiff_t n, groups;
    ptrdiff_t ic, oc; /* channels per group */
    cvl_axis axis[CVL_AXES];
    cvl_data_strides x, y;
    cvl_weight_strides w;
} cvl_problem;

/* Whether every index the problem can produce fits in ptrdiff_t. The primitives call it
 * themselves. */
cvl_status cvl_check(const cvl_problem *p);

/* Multiplications of the problem, as a double: it decides between ways, never an index. */
double cvl_work(const cvl_problem *p);

/* The three primitives. Outputs come first; inputs are never written. Arrays must not overlap an
 * output. b (or NULL) has groups*oc elements for forward and groups*ic for grad_input, where a
 * transposed convolution adds its bias. An output is the same bit for bit whatever the number of
 * threads. */
cvl_status cvl_forward(const cvl_problem *p, void *y, const void *x, const void *w, const void *b,
                       ptrdiff_t b_stride);
cvl_status cvl_grad_input(const cvl_problem *p, void *dx, const void *dy, const void *w,
                          const void *b, ptrdiff_t b_stride);
cvl_status cvl_grad_weight(const cvl_problem *p, void *dw, const void *dy, const void *x);

/* db[c] = sum of dy[n, c, d, h, w] over all but c. */
cvl_status cvl_grad_bias(cvl_dtype dtype, void *db, ptrdiff_t db_stride, const void *dy,
                         ptrdiff_t n, ptrdiff_t channels, const ptrdiff_t size[CVL_AXES],
                         const cvl_data_strides *strides);

/* Windows as rows, and windows summed back. `p` gives n, ic (all channels; groups = 1), the axes
 * and the strides of x; columns are y[n, (c, kd, kh, kw), (od, oh, ow)] with strides {row:
 * columns_row, position: columns_position, image: columns_n}. */
typedef struct cvl_column_strides {
    ptrdiff_t n, row, position;
} cvl_column_strides;

cvl_status cvl_unfold(const cvl_problem *p, void *columns, const void *x,
                      const cvl_column_strides *strides);
cvl_status cvl_fold(const cvl_problem *p, void *x, const void *columns,
                    const cvl_column_strides *strides);

/* The oracle: the same three primitives as loops that read like the formulas, summed in double. */
void cvl_reference_forward(const cvl_problem *p, void *y, const void *x, const void *w,
                           const void *b, ptrdiff_t b_stride);
void cvl_reference_grad_input(const cvl_problem *p, void *dx, const void *dy, const void *w,
                              const void *b, ptrdiff_t b_stride);
void cvl_reference_grad_weight(const cvl_problem *p, void *dw, const void *dy, const void *x);

/* Threads. set takes n >= 1; a problem too small to gain from more stays on the caller's thread. */
void cvl_set_num_threads(int n);
int cvl_get_num_threads(void);

/* Instruction sets. `name` of NULL asks for the best one this CPU and operating system have.
 * Returns false, and changes nothing, when the named one is not built or not available. */
bool cvl_select_isa(const char *name);
const char *cvl_isa(void);         /* the one in use */
const char *const *cvl_isas(void); /* those built, best first, NULL-terminated */
bool cvl_isa_available(const char *name);

#endif
