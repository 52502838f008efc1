/* dw from dy and x: equation (3) of docs/math.md. */
#include "drivers/reduce.h"
#include "ops/choose.h"
#include "ops/problem.h"

#define CVL_ZERO_TAPS(real)                                                                        \
    for (ptrdiff_t o = 0; o < p->groups * p->oc; o++)                                              \
        for (ptrdiff_t i = 0; i < p->ic; i++)                                                      \
            for (ptrdiff_t d = 0; d < p->axis[0].k; d++)                                           \
                for (ptrdiff_t h = 0; h < p->axis[1].k; h++)                                       \
                    for (ptrdiff_t w = 0; w < p->axis[2].k; w++)                                   \
                        ((real *)dw)[o * p->w.oc + i * p->w.ic + d * p->w.k[0] + h * p->w.k[1] +   \
                                     w * p->w.k[2]] = 0;

static void zero_weights(const cvl_problem *p, void *dw) {
    if (p->dtype == CVL_F32) {
        CVL_ZERO_TAPS(float)
    } else {
        CVL_ZERO_TAPS(double)
    }
}

cvl_status cvl_grad_weight(const cvl_problem *problem, void *dw, const void *dy, const void *x) {
    cvl_status status = cvl_check(problem);
    if (status != CVL_OK || cvl_no_taps(problem))
        return status;
    if (cvl_no_x(problem) || cvl_no_y(problem)) {
        zero_weights(problem, dw);
        return CVL_OK;
    }
    cvl_problem room;
    const cvl_problem *p = cvl_collapse(problem, true, &room);
    cvl_gather_axis axis[CVL_AXES];
    cvl_reduce r = {.axis = axis,
                    .n = p->n,
                    .groups = p->groups,
                    .ic = p->ic,
                    .oc = p->oc,
                    .dy = dy,
                    .x = x,
                    .dw = dw,
                    .dy_strides = p->y,
                    .x_strides = p->x,
                    .dw_strides = p->w,
                    .work = cvl_work(p)};
    bool all_taps = true, no_taps = false;
    int axes = 0;
    for (; axes < CVL_AXES && status == CVL_OK; axes++) {
        status = cvl_forward_axis(&p->axis[axes], &axis[axes]);
        if (status == CVL_OK) {
            all_taps &= axis[axes].phases->taps == p->axis[axes].k;
            no_taps |= axis[axes].phases->taps == 0;
        }
    }
    if (status == CVL_OK && !all_taps)
        zero_weights(problem, dw);
    if (status == CVL_OK && !no_taps)
        status = cvl_run_reduce(p->dtype, &r);
    while (axes > 0)
        cvl_free_axis(&axis[--axes]);
    return status;
}
