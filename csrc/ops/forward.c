/* y = x * w + b: equation (1) of docs/math.md. */
#include "drivers/gather.h"
#include "ops/choose.h"
#include "ops/problem.h"

cvl_status cvl_forward(const cvl_problem *problem, void *y, const void *x, const void *w,
                       const void *b, ptrdiff_t b_stride) {
    cvl_status status = cvl_check(problem);
    if (status != CVL_OK)
        return status;
    cvl_problem room;
    const cvl_problem *p = cvl_collapse(problem, true, &room);
    if (cvl_no_y(p))
        return CVL_OK;

    cvl_gather_axis axis[CVL_AXES];
    cvl_gather g = {.axis = axis,
                    .n = p->n,
                    .groups = p->groups,
                    .ic = p->ic,
                    .oc = p->oc,
                    .src = x,
                    .w = w,
                    .bias = b,
                    .dst = y,
                    .src_strides = p->x,
                    .dst_strides = p->y,
                    .w_group = p->oc * p->w.oc,
                    .w_oc = p->w.oc,
                    .w_ic = p->w.ic,
                    .w_k = {p->w.k[0], p->w.k[1], p->w.k[2]},
                    .bias_stride = b_stride,
                    .work = cvl_work(p)};
    int axes = 0;
    for (; axes < CVL_AXES && status == CVL_OK; axes++)
        status = cvl_forward_axis(&p->axis[axes], &axis[axes]);
    if (status == CVL_OK)
        status = cvl_run_gather(p->dtype, &g);
    while (axes > 0)
        cvl_free_axis(&axis[--axes]);
    return status;
}
