/* Gather of groups of one or two channels out, with neighbouring positions of a row along the
 * lanes, whose inputs are read where they stand. Included by drivers_impl.h.
 *
 * A task takes a block of positions of some groups of one image, or of some images where there is
 * one group: in every phase of depth and height, at one depth, some rows and columns, so few that
 * what a plane tile reads stays in the level-1 cache. Several input channels are added one after
 * another. Padding is not read at all. Along the height positions of a phase are as far apart as
 * every classes-th of its taps: a plane tile sums one class of them.
 */

typedef struct plane_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    bool stream;                     /* whether results go past the caches */
    bool of_images;                  /* whether planes are of images, or of groups of one */
    ptrdiff_t bundle, rows, columns; /* planes of a task; positions, in a phase */
    ptrdiff_t n_bundles, n_depths, n_rows, n_columns; /* parts of the planes and axes */
    ptrdiff_t *column; /* where each tap of a row reads, for the first output of every block */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread: results that go past the caches */
} plane_job;

typedef struct plane_task {
    ptrdiff_t n, group, planes;            /* the first of so many */
    ptrdiff_t depth, row, column, columns; /* of the positions: the first ones */
    const ptrdiff_t *reads;                /* the block's part of job->column */
} plane_task;

/* How far ahead of rows of some planes those stand that the next task reads, where planes are
 * contiguous. They are asked for: strips of rows are no stream. */
static ptrdiff_t plane_ahead(ptrdiff_t planes, ptrdiff_t plane, ptrdiff_t rows, ptrdiff_t row) {
    return planes > 1 ? planes * plane : rows * row;
}

/* How far the weights of a phase's taps stand apart, in the order in which they are walked. */
static ptrdiff_t weight_step(const cvl_gather *g, int axis, const cvl_phase *p) {
    const ptrdiff_t *const order = g->axis[axis].tap_order + p->tap_first;
    return p->taps > 1 ? (order[1] - order[0]) * g->w_k[axis] : 0;
}

/* The weight of the first of a phase's taps. */
static ptrdiff_t first_weight(const cvl_gather *g, int axis, const cvl_phase *p) {
    return p->taps > 0 ? g->axis[axis].tap_order[p->tap_first] * g->w_k[axis] : 0;
}

/* One output channel of all planes of a task, in one phase of depth and height: what a plane tile
 * is told of it, whatever the taps. */
typedef struct plane_sum {
    real *c;
    const cvl_plane *to;
    const real *init; /* NULL once sums have been started */
    ptrdiff_t init_plane;
    const real *src, *weights; /* of the first column; of the first tap */
    ptrdiff_t channel_step, w_channel;
    cvl_plane from;
    ptrdiff_t depth_step, row_step;   /* of src */
    ptrdiff_t w_depth, w_row, w_step; /* from tap to tap of the weights */
    ptrdiff_t classes, rows_step;     /* of taps along the height; from row to row, of places */
} plane_sum;

static plane_sum start_sum(const plane_job *job, const plane_task *task, const cvl_phase *depth,
                           const cvl_phase *height, real *c, const cvl_plane *to, ptrdiff_t o) {
    static const real nothing = 0;
    const cvl_gather *g = job->g;
    const cvl_data_strides *s = &g->src_strides;
    const cvl_phase *const width = g->axis[2].phases;
    const bool several = height->taps > 1 && height->count > 1;
    plane_sum sum = {
        .c = c,
        .to = to,
        .init = &nothing,
        .src = (const real *)g->src + task->n * s->n + task->group * g->ic * s->c,
        .weights = (const real *)g->w + task->group * g->w_group + o * g->w_oc +
                   first_weight(g, 0, depth) + first_weight(g, 1, height) +
                   first_weight(g, 2, width),
        .channel_step = g->ic > 1 ? s->c : 0,
        .w_channel = g->w_ic,
        .depth_step = g->axis[0].in > 1 ? s->s[0] : 0,
        .row_step = g->axis[1].in > 1 ? s->s[1] : 0,
        .w_depth = weight_step(g, 0, depth),
        .w_row = weight_step(g, 1, height),
        .w_step = weight_step(g, 2, width),
        .classes = several ? cvl_divide(height->in_step, height->tap_step) : 1,
    };
    if (g->bias) {
        sum.init = (const real *)g->bias + (task->group * g->oc + o) * g->bias_stride;
        sum.init_plane = job->of_images ? 0 : g->oc * g->bias_stride;
    }
    sum.rows_step = height->taps > 1 ? sum.classes * height->tap_step : height->in_step;
    const ptrdiff_t row = sum.rows_step * sum.row_step;
    const ptrdiff_t plane = job->of_images ? s->n : g->ic * s->c;
    sum.from = (cvl_plane){plane, row, 0, g->axis[2].in,
                           g->ic > 1 ? s->c : plane_ahead(task->planes, plane, to->rows, row)};
    return sum;
}

/* Adds the taps of one depth and one class of the height, the first of which reads source `row`: as
 * many of their rows and columns at a time as a cut and a plane tile take. */
static void add_class(const plane_job *job, const plane_task *task, plane_sum *sum,
                      const real *plane, const real *weights, ptrdiff_t row, ptrdiff_t tap_rows) {
    const cvl_gather_axis *const axis = job->g->axis;
    const ptrdiff_t tap_columns = axis[2].phases->taps;
    const ptrdiff_t columns = cvl_even_size(tap_columns, CVL_PLANE_COLUMNS);
    const ptrdiff_t rows = cvl_even_size(tap_rows, cvl_least(CVL_MAX_RUN, longest_cut / columns));
    for (ptrdiff_t h = 0; h < tap_rows; h += rows)
        for (ptrdiff_t w = 0; w < tap_columns; w += columns, sum->init = NULL) {
            const cvl_plane_taps taps = {
                .plane = job->of_images ? 0 : job->g->w_group,
                .row = sum->classes * sum->w_row,
                .step = sum->w_step,
                .rows = cvl_least(rows, tap_rows - h),
                .columns = cvl_least(columns, tap_columns - w),
                .column = task->reads + w,
            };
            const cvl_places in = {row + h * sum->rows_step, sum->rows_step, axis[1].in};
            job->kernels->plane_tile(
                sum->c, sum->to, sum->init, sum->init_plane, weights + h * taps.row + w * taps.step,
                &taps, plane + in.first * sum->row_step, &sum->from, &in, task->planes);
        }
}

/* Sums all taps and input channels of one output channel of the planes, in one phase of depth and
 * height. */
static void sum_planes(const plane_job *job, const plane_task *task, const cvl_phase *depth,
                       const cvl_phase *height, plane_sum *sum) {
    const cvl_gather_axis *const axis = job->g->axis;
    ptrdiff_t first, last;
    taps_inside(depth, task->depth, axis[0].in, &first, &last);
    for (ptrdiff_t i = 0; i < job->g->ic; i++)
        for (ptrdiff_t d = first; d < last && axis[2].phases->taps > 0; d++) {
            const ptrdiff_t in =
                depth->in_first + depth->in_step * task->depth + depth->tap_step * d;
            for (ptrdiff_t tap = 0; tap < sum->classes && tap < height->taps; tap++)
                add_class(job, task, sum, sum->src + i * sum->channel_step + in * sum->depth_step,
                          sum->weights + i * sum->w_channel + d * sum->w_depth + tap * sum->w_row,
                          height->in_first + height->in_step * task->row + height->tap_step * tap,
                          cvl_divide(height->taps - 1 - tap, sum->classes) + 1);
        }
    if (sum->init) { /* padding alone */
        const cvl_plane_taps none = {.rows = 1};
        const cvl_places nowhere = {0};
        job->kernels->plane_tile(sum->c, sum->to, sum->init, sum->init_plane, sum->weights, &none,
                                 sum->src, &sum->from, &nowhere, task->planes);
    }
}

/* Writes planes of results, brought together, to where they go: in runs as long as they are in one
 * piece there, for a line that two of them share is read from memory. */
static void write_planes(const plane_job *job, const cvl_plane *to, const cvl_plane *from, real *c,
                         const real *staged, ptrdiff_t planes) {
    ptrdiff_t rows = to->rows, run = from->row;
    if (to->row == run) {
        run *= rows;
        rows = 1;
    }
    if (rows == 1 && (planes == 1 || to->plane == run)) {
        run *= planes;
        planes = 1;
    }
    for (ptrdiff_t i = 0; i < planes; i++)
        job->kernels->copy_past(c + i * to->plane, to->row, 1, staged + i * from->plane, from->row,
                                1, rows, run);
}

/* One phase of depth and height of a task. */
static void run_plane_phases(const plane_job *job, const plane_task *task, const cvl_phase *depth,
                             const cvl_phase *height, real *staged) {
    const cvl_gather *g = job->g;
    const cvl_data_strides *s = &g->dst_strides;
    const ptrdiff_t rows = cvl_least(job->rows, height->count - task->row);
    if (task->depth >= depth->count || rows <= 0)
        return;
    const cvl_plane dst = {job->of_images ? s->n : g->oc * s->c, height->out_step * s->s[1], rows,
                           task->columns, 0};
    const cvl_plane out = {rows * task->columns, task->columns, rows, task->columns, 0};
    for (ptrdiff_t o = 0; o < g->oc; o++) {
        real *const to = (real *)g->dst + task->n * s->n + (task->group * g->oc + o) * s->c +
                         (depth->out_first + depth->out_step * task->depth) * s->s[0] +
                         (height->out_first + height->out_step * task->row) * s->s[1] +
                         task->column;
        plane_sum sum = start_sum(job, task, depth, height, job->stream ? staged : to,
                                  job->stream ? &out : &dst, o);
        sum_planes(job, task, depth, height, &sum);
        if (job->stream)
            write_planes(job, &dst, &out, to, staged, task->planes);
    }
}

/* Planes that may be a task's. */
static ptrdiff_t count_planes(const plane_job *job) {
    return job->of_images ? job->g->n : job->g->groups;
}

static void plane_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plane_job *job = context;
    const cvl_gather *g = job->g;
    real *const staged = (real *)(job->workspace + thread * job->workspace_bytes);
    for (ptrdiff_t index = begin; index < end; index++) {
        plane_task task;
        ptrdiff_t at = index;
        task.row = at % job->n_rows * job->rows;
        at /= job->n_rows;
        task.column = at % job->n_columns * job->columns;
        task.reads = job->column + at % job->n_columns * g->axis[2].phases->taps;
        task.columns = cvl_least(job->columns, g->axis[2].out - task.column);
        at /= job->n_columns;
        task.depth = at % job->n_depths;
        at /= job->n_depths;
        const ptrdiff_t first = at % job->n_bundles * job->bundle;
        task.n = job->of_images ? first : at / job->n_bundles;
        task.group = job->of_images ? 0 : first;
        task.planes = cvl_least(job->bundle, count_planes(job) - first);
        for (ptrdiff_t d = 0; d < g->axis[0].n_phases; d++)
            for (ptrdiff_t h = 0; h < g->axis[1].n_phases; h++)
                run_plane_phases(job, &task, &g->axis[0].phases[d], &g->axis[1].phases[h], staged);
    }
    end_stream(job->stream);
}

/* Counts the parts of planes and axes, and returns how many tasks they make. */
static ptrdiff_t count_parts(plane_job *job) {
    const cvl_gather *g = job->g;
    job->n_bundles = cvl_ceil_div(count_planes(job), job->bundle);
    job->n_depths = most_positions(&g->axis[0]);
    job->n_rows = cvl_ceil_div(most_positions(&g->axis[1]), job->rows);
    job->n_columns = cvl_ceil_div(g->axis[2].out, job->columns);
    return (job->of_images ? 1 : g->n) * job->n_bundles * job->n_depths * job->n_rows *
           job->n_columns;
}

/* Cuts so that what a task reads and writes stays in the level-1 cache, in rows so few that they
 * are read as streams, and so that there are tasks enough. The columns are cut by the shape alone:
 * a vector at the end of a block may add a row's products in another order than two do. */
static void cut_planes_up(plane_job *job) {
    enum { task_bytes = 16 * 1024 };
    const cvl_gather *g = job->g;
    const ptrdiff_t lanes = job->kernels->lanes, most = task_bytes / (ptrdiff_t)sizeof(real);
    const ptrdiff_t all_rows = most_positions(&g->axis[1]), all_columns = g->axis[2].out;
    const ptrdiff_t enough = cvl_enough_tasks(g->work);
    job->columns = all_columns;
    job->rows = all_rows;
    job->bundle = cvl_most(1, most / cvl_scale_bytes(all_rows, all_columns));
    job->bundle = cvl_even_size(count_planes(job), job->bundle);
    if (all_rows > most / all_columns)
        job->rows = cvl_even_size(all_rows, cvl_most(most / all_columns, few_streams - 2));
    const ptrdiff_t longest = all_rows == 1 ? most / 2 : most;
    if (all_columns > longest)
        job->columns = cvl_ceil_div(cvl_even_size(all_columns, longest), lanes) * lanes;
    while (job->bundle > 1 && count_parts(job) < enough)
        job->bundle = cvl_even_size(count_planes(job), (job->bundle + 1) / 2);
    while (job->rows > 4 && count_parts(job) < enough)
        job->rows = cvl_even_size(all_rows, (job->rows + 1) / 2);
}

cvl_status CVL_TYPED(cvl_gather_planes)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    plane_job job = {.g = g, .kernels = all_kernels->CVL_DTYPE, .stream = stream_copies(g)};
    job.of_images = g->groups == 1;
    cut_planes_up(&job);
    const cvl_phase *const width = g->axis[2].phases;
    if (job.stream)
        job.workspace_bytes = cvl_part_bytes(job.bundle * job.rows * job.columns, sizeof(real));

    const ptrdiff_t tasks = count_parts(&job);
    const ptrdiff_t columns_bytes =
        cvl_part_bytes(cvl_scale_bytes(width->taps, job.n_columns), sizeof *job.column);
    int threads = cvl_threads_for(tasks, g->work);
    char *const memory = cvl_alloc_workspace(columns_bytes, job.workspace_bytes, &threads);
    if (!memory)
        return CVL_NO_MEMORY;
    job.workspace = memory + columns_bytes;
    job.column = (ptrdiff_t *)memory;
    for (ptrdiff_t i = 0; i < job.n_columns; i++)
        list_columns(width, i * job.columns, job.column + i * width->taps);
    cvl_parallel_for(tasks, task_grain(g->work, tasks, threads), threads, plane_tasks, &job);
    cvl_free(memory);
    return CVL_OK;
}
