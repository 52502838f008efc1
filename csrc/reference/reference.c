/* The oracle that needs no other library: every primitive as plain loops, each output element
 * summed in double in the order of the formula. It is compared with torch once and with the kernels
 * always; it is never used to compute a user's answer. Equation numbers are those of
 * docs/math.md. */
#include "cvl.h"

#define for_each_position(axes, size, d, h, w)                                                     \
    for (ptrdiff_t d = 0; d < (axes)[0].size; d++)                                                 \
        for (ptrdiff_t h = 0; h < (axes)[1].size; h++)                                             \
            for (ptrdiff_t w = 0; w < (axes)[2].size; w++)

static ptrdiff_t at(const ptrdiff_t strides[CVL_AXES], ptrdiff_t d, ptrdiff_t h, ptrdiff_t w) {
    return d * strides[0] + h * strides[1] + w * strides[2];
}

/* The input position that output position `out` meets with tap `k`; -1 in the padding. */
static ptrdiff_t cvl_input_index(const cvl_axis *a, ptrdiff_t out, ptrdiff_t k) {
    const ptrdiff_t in = out * a->stride - a->pad + k * a->dilation;
    return in < a->in ? in : -1;
}

/* The output position that meets input position `in` with tap `k`; -1 when there is none. */
static ptrdiff_t cvl_output_index(const cvl_axis *a, ptrdiff_t in, ptrdiff_t k) {
    const ptrdiff_t scaled = in + a->pad - k * a->dilation;
    if (scaled < 0 || scaled % a->stride != 0)
        return -1;
    return scaled / a->stride < a->out ? scaled / a->stride : -1;
}

/* Where an array has no elements, its outermost loop shall end at once, however long another axis
 * is. */
static cvl_problem with_short_loops(const cvl_problem *p) {
    cvl_problem q = *p;
    cvl_axis *a = q.axis;
    if (!a[0].in || !a[1].in || !a[2].in)
        a[0].in = 0;
    if (!a[0].out || !a[1].out || !a[2].out)
        a[0].out = 0;
    if (!a[0].k || !a[1].k || !a[2].k)
        a[0].k = 0;
    return q;
}

/* clang-format off: the loops stand one under the other, as the sums of the formula do. */
#define real float
#define CVL_NAME(name) name##_f32
#include "reference_impl.h"
#undef real
#undef CVL_NAME

#define real double
#define CVL_NAME(name) name##_f64
#include "reference_impl.h"
#undef real
#undef CVL_NAME
/* clang-format on */

void cvl_reference_forward(const cvl_problem *p, void *y, const void *x, const void *w,
                           const void *b, ptrdiff_t b_stride) {
    const cvl_problem q = with_short_loops(p);
    if (p->dtype == CVL_F32)
        forward_f32(&q, y, x, w, b, b_stride);
    else
        forward_f64(&q, y, x, w, b, b_stride);
}

void cvl_reference_grad_input(const cvl_problem *p, void *dx, const void *dy, const void *w,
                              const void *b, ptrdiff_t b_stride) {
    const cvl_problem q = with_short_loops(p);
    if (p->dtype == CVL_F32)
        grad_input_f32(&q, dx, dy, w, b, b_stride);
    else
        grad_input_f64(&q, dx, dy, w, b, b_stride);
}

void cvl_reference_grad_weight(const cvl_problem *p, void *dw, const void *dy, const void *x) {
    const cvl_problem q = with_short_loops(p);
    if (p->dtype == CVL_F32)
        grad_weight_f32(&q, dw, dy, x);
    else
        grad_weight_f64(&q, dw, dy, x);
}
