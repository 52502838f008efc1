/* Weight gradient with neighbouring positions along the lanes, for a kernel of one tap. Included by
 * drivers_impl.h.
 *
 * Where the positions of a channel are one line, in x as in dy, every weight's gradient is a dot
 * product of two lines that are read where they stand. Lines are cut into parts, so that those of
 * the fewer channels are still near when the next of the others meet them.
 */

typedef struct dot_reduce_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    const real *x;           /* the place that the first position meets */
    ptrdiff_t parts, splits; /* of a line, and of all parts of all lines */
    real *partial;           /* [split][group][oc][ic] */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread: the dot products of a part */
} dot_reduce_job;

/* Adds the dot products of one part of a line. */
static void add_dots(const dot_reduce_job *job, ptrdiff_t group, ptrdiff_t index, real *products,
                     real *sums) {
    const cvl_reduce *r = job->r;
    const ptrdiff_t line = r->axis[2].out, part = index % job->parts;
    const ptrdiff_t depth = index / job->parts % r->axis[0].out;
    const ptrdiff_t image = index / job->parts / r->axis[0].out;
    const ptrdiff_t first = line * part / job->parts, end = line * (part + 1) / job->parts;
    const cvl_data_strides *x_step = &r->x_strides, *dy_step = &r->dy_strides;
    const real *const x = job->x + image * x_step->n + group * r->ic * x_step->c +
                          depth * r->axis[0].phases->in_step * x_step->s[0] + first;
    const real *const dy = (const real *)r->dy + image * dy_step->n + group * r->oc * dy_step->c +
                           depth * dy_step->s[0] + first;
    /* A few lines of the first operand meet all lines of the second, which stay near; those of x
     * may be too many for that. */
    const ptrdiff_t few = 4, x_bytes = r->ic * (end - first) * (ptrdiff_t)sizeof(real);
    if (r->ic > r->oc && r->oc > few && x_bytes > cvl_l2_bytes() / 2)
        job->kernels->dots(products, 1, r->ic, NULL, x, x_step->c, r->ic, dy, dy_step->c, r->oc,
                           end - first);
    else
        job->kernels->dots(products, r->ic, 1, NULL, dy, dy_step->c, r->oc, x, x_step->c, r->ic,
                           end - first);
    for (ptrdiff_t i = 0; i < r->oc * r->ic; i++)
        sums[i] += products[i];
}

static void dot_reduce_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const dot_reduce_job *job = context;
    const cvl_reduce *r = job->r;
    const ptrdiff_t filters = r->oc * r->ic, lines = r->n * r->axis[0].out * job->parts;
    real *const products = (real *)(job->workspace + thread * job->workspace_bytes);
    for (ptrdiff_t index = begin; index < end; index++) {
        const ptrdiff_t group = index % r->groups, split = index / r->groups;
        real *const sums = job->partial + index * filters;
        memset(sums, 0, (size_t)filters * sizeof(real));
        for (ptrdiff_t i = lines * split / job->splits; i < lines * (split + 1) / job->splits; i++)
            add_dots(job, group, i, products, sums);
    }
}

cvl_status CVL_TYPED(cvl_reduce_dots)(const cvl_reduce *r, const cvl_kernels *all_kernels) {
    enum { long_part = 4096 };
    dot_reduce_job job = {.r = r, .kernels = all_kernels->CVL_DTYPE, .x = r->x};
    const cvl_weight_strides *to = &r->dw_strides;
    real *dw = r->dw;
    for (int i = 0; i < CVL_AXES; i++) {
        job.x += r->axis[i].phases->in_first * r->x_strides.s[i];
        dw += r->axis[i].phases->tap_first * to->k[i];
    }
    job.parts = cvl_ceil_div(r->axis[2].out, long_part);
    const ptrdiff_t filters = r->oc * r->ic, all = r->groups * filters;
    job.splits = cvl_reduce_splits(r->n * r->axis[0].out * job.parts, r->groups,
                                   cvl_scale_bytes(all, sizeof(real)));
    job.workspace_bytes = cvl_part_bytes(filters, sizeof(real));

    const ptrdiff_t tasks = r->groups * job.splits;
    int threads = cvl_threads_for(tasks, r->work);
    job.partial = alloc_partials(all, job.splits, job.workspace_bytes, &threads, &job.workspace);
    if (!job.partial)
        return CVL_NO_MEMORY;
    cvl_parallel_for(tasks, task_grain(r->work, tasks, threads), threads, dot_reduce_tasks, &job);
    add_partials(job.partial, job.splits, all, 0, all);
    for (ptrdiff_t o = 0; o < r->groups * r->oc; o++)
        job.kernels->copy(dw + o * to->oc, 0, to->ic, job.partial + o * r->ic, 0, 1, 1, r->ic);
    cvl_free(job.partial);
    return CVL_OK;
}
