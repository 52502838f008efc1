/* Weight gradient of depthwise layers with neighbouring positions of a row along the lanes, whose
 * operands are read where they stand. Included by drivers_impl.h.
 *
 * A task takes some groups and some of the planes of dy, those of all images and depths, and sums
 * each filter's gradient lane by lane: lanes[group][tap][lane]. These are added up when it ends.
 * Rows of dy whose taps meet the same rows of x are as far apart as the taps are: one class.
 */

typedef struct plane_reduce_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    ptrdiff_t taps, splits;
    ptrdiff_t bundle, n_bundles; /* groups of a task, and how many such bundles there are */
    ptrdiff_t rows;              /* of dy, of one class, that are summed at a time */
    real *partial;               /* [split][group][tap] */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} plane_reduce_job;

/* The parts of a thread's workspace; without memory, only its size. */
typedef struct plane_reduce_space {
    real *lanes;
    ptrdiff_t *column; /* where each tap of a row reads, for the first column of dy */
} plane_reduce_space;

static plane_reduce_space plane_reduce_layout(const plane_reduce_job *job, cvl_arena *memory) {
    const ptrdiff_t sums = cvl_scale_bytes(job->bundle * job->taps, job->kernels->lanes);
    plane_reduce_space space;
    space.lanes = cvl_take(memory, sums, sizeof(real));
    space.column = cvl_take(memory, job->r->axis[2].phases->taps, sizeof(ptrdiff_t));
    return space;
}

/* Rows [row, row + rows) of a class, of one depth of dy: all taps, a few at a time. */
static void reduce_plane_rows(const plane_reduce_job *job, const plane_reduce_space *space,
                              const real *dy, const cvl_plane *dy_at, const real *x,
                              ptrdiff_t depth, ptrdiff_t row, ptrdiff_t step, ptrdiff_t groups) {
    const cvl_reduce *r = job->r;
    const cvl_gather_axis *const axis = r->axis;
    const cvl_phase *const phase[] = {axis[0].phases, axis[1].phases, axis[2].phases};
    const ptrdiff_t lanes = job->kernels->lanes, kh = phase[1]->taps, kw = phase[2]->taps;
    const ptrdiff_t row_step = axis[1].in > 1 ? r->x_strides.s[1] : 0;
    const ptrdiff_t plane = r->x_strides.c, x_row = step * row_step;
    const cvl_plane x_at = {plane, x_row, 0, axis[2].in,
                            plane_ahead(groups, plane, dy_at->rows, x_row)};
    ptrdiff_t first, last;
    taps_inside(phase[0], depth, axis[0].in, &first, &last);
    for (ptrdiff_t d = first; d < last; d++) {
        const ptrdiff_t in =
            phase[0]->in_first + depth * phase[0]->in_step + d * phase[0]->tap_step;
        const real *const from = x + (axis[0].in > 1 ? in * r->x_strides.s[0] : 0);
        for (ptrdiff_t h = 0; h < kh; h += CVL_PLANE_SUMS) {
            const cvl_places places = {phase[1]->in_first + row * phase[1]->in_step +
                                           h * phase[1]->tap_step,
                                       step, axis[1].in};
            for (ptrdiff_t w = 0; w < kw; w += CVL_PLANE_SUMS) {
                const cvl_plane_taps taps = {.plane = job->taps * lanes,
                                             .row = kw * lanes,
                                             .step = lanes,
                                             .rows = cvl_least(CVL_PLANE_SUMS, kh - h),
                                             .columns = cvl_least(CVL_PLANE_SUMS, kw - w),
                                             .column = space->column + w};
                job->kernels->plane_sums(space->lanes + ((d * kh + h) * kw + w) * lanes, &taps, dy,
                                         dy_at, from + places.first * row_step, &x_at, &places,
                                         groups);
            }
        }
    }
}

/* One depth of dy of one image, for some groups. */
static void reduce_plane(const plane_reduce_job *job, const plane_reduce_space *space,
                         ptrdiff_t image, ptrdiff_t depth, ptrdiff_t group, ptrdiff_t groups) {
    const cvl_reduce *r = job->r;
    const cvl_phase *const height = r->axis[1].phases;
    const cvl_data_strides *s = &r->dy_strides;
    const ptrdiff_t all_rows = r->axis[1].out;
    const ptrdiff_t classes = height->taps > 1 ? height->tap_step : 1;
    const ptrdiff_t step = height->taps > 1 ? height->tap_step : height->in_step;
    const real *const x = (const real *)r->x + image * r->x_strides.n + group * r->x_strides.c;
    const real *const dy = (const real *)r->dy + image * s->n + group * s->c + depth * s->s[0];
    for (ptrdiff_t part = 0; part < classes && part < all_rows; part++) {
        const ptrdiff_t rows = cvl_divide(all_rows - part - 1, classes) + 1;
        for (ptrdiff_t q = 0; q < rows; q += job->rows) {
            const ptrdiff_t row = part + q * classes, count = cvl_least(job->rows, rows - q);
            const ptrdiff_t dy_row = classes * s->s[1];
            const cvl_plane dy_at = {s->c, dy_row, count, r->axis[2].out,
                                     plane_ahead(groups, s->c, count, dy_row)};
            reduce_plane_rows(job, space, dy + row * s->s[1], &dy_at, x, depth, row, step, groups);
        }
    }
}

static void plane_reduce_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plane_reduce_job *job = context;
    const cvl_reduce *r = job->r;
    const ptrdiff_t depths = r->axis[0].out, planes = r->n * depths;
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    const plane_reduce_space space = plane_reduce_layout(job, &memory);
    list_columns(r->axis[2].phases, 0, space.column);
    for (ptrdiff_t index = begin; index < end; index++) {
        const ptrdiff_t group = index % job->n_bundles * job->bundle;
        const ptrdiff_t split = index / job->n_bundles;
        const ptrdiff_t groups = cvl_least(job->bundle, r->groups - group);
        const ptrdiff_t count = groups * job->taps, last = planes * (split + 1) / job->splits;
        memset(space.lanes, 0, (size_t)(count * job->kernels->lanes) * sizeof(real));
        for (ptrdiff_t plane = planes * split / job->splits; plane < last; plane++)
            reduce_plane(job, &space, plane / depths, plane % depths, group, groups);
        job->kernels->add_parts(job->partial + (split * r->groups + group) * job->taps, space.lanes,
                                count);
    }
}

cvl_status CVL_TYPED(cvl_reduce_planes)(const cvl_reduce *r, const cvl_kernels *all_kernels) {
    enum { task_bytes = 16 * 1024, fewest_rows = 8 };
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    plane_reduce_job job = {.r = r, .kernels = kernels, .taps = reduce_taps(r)};
    const ptrdiff_t row_bytes =
        cvl_scale_bytes(r->axis[2].out + r->axis[2].in, (ptrdiff_t)sizeof(real));
    job.rows = cvl_even_size(r->axis[1].out,
                             cvl_least(longest_cut, cvl_most(fewest_rows, task_bytes / row_bytes)));
    const ptrdiff_t plane_bytes = cvl_scale_bytes(row_bytes, r->axis[1].out);
    const ptrdiff_t sums_bytes = cvl_scale_bytes(job.taps, (ptrdiff_t)sizeof(real));
    const ptrdiff_t fitting = cvl_most(1, task_bytes / plane_bytes);
    job.splits =
        cvl_reduce_splits(r->n * r->axis[0].out, r->groups, cvl_scale_bytes(sums_bytes, r->groups));
    const ptrdiff_t shared = r->groups * job.splits / cvl_enough_tasks(r->work);
    job.bundle = cvl_even_size(r->groups, cvl_most(1, cvl_least(fitting, shared)));
    job.n_bundles = cvl_ceil_div(r->groups, job.bundle);
    cvl_arena own = {0};
    plane_reduce_layout(&job, &own);
    job.workspace_bytes = own.bytes;

    const ptrdiff_t tasks = job.n_bundles * job.splits;
    int threads = cvl_threads_for(tasks, r->work);
    job.partial = alloc_partials(r->groups * job.taps, job.splits, job.workspace_bytes, &threads,
                                 &job.workspace);
    if (!job.partial)
        return CVL_NO_MEMORY;
    cvl_parallel_for(tasks, task_grain(r->work, tasks, threads), threads, plane_reduce_tasks, &job);
    store_filters(r, job.partial, job.splits);
    cvl_free(job.partial);
    return CVL_OK;
}
