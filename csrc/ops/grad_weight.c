/* dw from dy and x: equation (3) of docs/math.md. */
#include <string.h>

#include "drivers/reduce.h"
#include "ops/choose.h"
#include "ops/problem.h"

typedef struct weight_axis {
    ptrdiff_t size, step; /* in elements */
} weight_axis;

static bool steps_further(const weight_axis *a, const weight_axis *b) {
    return (a->step < 0 ? -a->step : a->step) > (b->step < 0 ? -b->step : b->step);
}

/* The axes of dw, the nearest elements last, and as one where they follow one another. Returns how
 * many there are, at least one. */
static int order_axes(const cvl_problem *p, weight_axis axis[2 + CVL_AXES]) {
    const weight_axis all[] = {{p->groups * p->oc, p->w.oc},
                               {p->ic, p->w.ic},
                               {p->axis[0].k, p->w.k[0]},
                               {p->axis[1].k, p->w.k[1]},
                               {p->axis[2].k, p->w.k[2]}};
    int n = 0;
    for (int i = 0; i < 2 + CVL_AXES; i++) {
        int at = n;
        if (all[i].size == 1)
            continue;
        for (; at > 0 && steps_further(&all[i], &axis[at - 1]); at--)
            axis[at] = axis[at - 1];
        axis[at] = all[i];
        n++;
    }
    for (; n > 1 && axis[n - 2].step == axis[n - 1].size * axis[n - 1].step; n--) {
        axis[n - 2].size *= axis[n - 1].size;
        axis[n - 2].step = axis[n - 1].step;
    }
    if (n == 0)
        axis[n++] = (weight_axis){1, 1};
    return n;
}

/* Runs through memory in its order: dw may be large, and none of it in the caches. */
static void zero_weights(const cvl_problem *p, void *dw) {
    weight_axis axis[2 + CVL_AXES];
    const int n = order_axes(p, axis);
    const ptrdiff_t bytes = p->dtype == CVL_F32 ? sizeof(float) : sizeof(double);
    const weight_axis row = axis[n - 1];
    ptrdiff_t rows = 1;
    for (int i = 0; i < n - 1; i++)
        rows *= axis[i].size;
    for (ptrdiff_t index = 0; index < rows; index++) {
        char *at = dw;
        for (ptrdiff_t i = n - 2, left = index; i >= 0; left /= axis[i].size, i--)
            at += left % axis[i].size * axis[i].step * bytes;
        if (row.step == 1)
            memset(at, 0, (size_t)(row.size * bytes));
        else
            for (ptrdiff_t i = 0; i < row.size; i++)
                memset(at + i * row.step * bytes, 0, (size_t)bytes);
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
