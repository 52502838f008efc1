/* Windows as rows (unfold) and windows summed back (fold), adjoints of one another:
 *
 *     columns[n, (c, kd, kh, kw), (od, oh, ow)] = x[n, c, od*stride - pad + kd*dilation, ...]
 *
 * Both walk one channel of one image at a time, tap by tap, so a channel of x belongs to one task
 * and fold adds to it in one order. */
#include "cvl.h"
#include "support/threads.h"

typedef struct columns_job {
    const cvl_problem *p;
    void *x, *columns; /* fold writes x and reads columns; unfold the other way round */
    const cvl_column_strides *strides;
} columns_job;

/* The range of positions on one axis for which a tap stays inside the input: [first, last). */
static void positions_inside(const cvl_axis *a, ptrdiff_t k, ptrdiff_t *first, ptrdiff_t *last) {
    const ptrdiff_t start = k * a->dilation - a->pad; /* input index of position 0 */
    *first = start >= 0 ? 0 : (-start - 1) / a->stride + 1;
    *last = start >= a->in ? 0 : (a->in - 1 - start) / a->stride + 1;
    if (*last > a->out)
        *last = a->out;
    if (*first > *last)
        *first = *last;
}

#define real float
#define CVL_NAME(name) name##_f32
#include "columns_impl.h"
#undef real
#undef CVL_NAME

#define real double
#define CVL_NAME(name) name##_f64
#include "columns_impl.h"
#undef real
#undef CVL_NAME

static cvl_status run(columns_job *job, cvl_task_fn fn) {
    const cvl_problem *p = job->p;
    const cvl_status status = cvl_check(p);
    if (status != CVL_OK)
        return status;
    double elements = (double)p->n * (double)p->ic;
    for (int i = 0; i < CVL_AXES; i++)
        elements *= (double)p->axis[i].k * (double)p->axis[i].out;
    const ptrdiff_t tasks = p->n * p->ic;
    cvl_parallel_for(tasks, 1, cvl_threads_for(tasks, elements), fn, job);
    return CVL_OK;
}

cvl_status cvl_unfold(const cvl_problem *p, void *columns, const void *x,
                      const cvl_column_strides *strides) {
    columns_job job = {p, (void *)x, columns, strides};
    return run(&job, p->dtype == CVL_F32 ? unfold_f32 : unfold_f64);
}

cvl_status cvl_fold(const cvl_problem *p, void *x, const void *columns,
                    const cvl_column_strides *strides) {
    columns_job job = {p, x, (void *)columns, strides};
    return run(&job, p->dtype == CVL_F32 ? fold_f32 : fold_f64);
}
