/* dx from dy and w: equation (2) of docs/math.md; with a bias, a transposed convolution. */
#include "drivers/gather.h"
#include "ops/choose.h"
#include "ops/problem.h"

cvl_status cvl_grad_input(const cvl_problem *problem, void *dx, const void *dy, const void *w,
                          const void *b, ptrdiff_t b_stride) {
    cvl_status status = cvl_check(problem);
    if (status != CVL_OK)
        return status;
    cvl_problem room;
    const cvl_problem *p = cvl_collapse(problem, b == NULL, &room);
    if (cvl_no_x(p))
        return CVL_OK;

    /* dy is gathered into dx: input and output channels change places. */
    cvl_gather_axis axis[CVL_AXES];
    cvl_gather g = {.axis = axis,
                    .n = p->n,
                    .groups = p->groups,
                    .ic = p->oc,
                    .oc = p->ic,
                    .src = dy,
                    .w = w,
                    .bias = b,
                    .dst = dx,
                    .src_strides = p->y,
                    .dst_strides = p->x,
                    .w_group = p->oc * p->w.oc,
                    .w_oc = p->w.ic,
                    .w_ic = p->w.oc,
                    .w_k = {p->w.k[0], p->w.k[1], p->w.k[2]},
                    .bias_stride = b_stride,
                    .work = cvl_work(p)};
    int axes = 0;
    for (; axes < CVL_AXES && status == CVL_OK; axes++)
        status = cvl_grad_input_axis(&p->axis[axes], &axis[axes]);
    if (status == CVL_OK)
        status = cvl_run_gather(p->dtype, &g);
    while (axes > 0)
        cvl_free_axis(&axis[--axes]);
    return status;
}
