/* Gather with channels along the lanes, each channel with a filter of its own (ic = oc = 1): depthwise
 * convolution of data whose channels are contiguous. Included by drivers_impl.h. */

typedef struct lane_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    cvl_blocks blocks;
    ptrdiff_t channels;   /* in a block of channels, a whole number of vectors */
    ptrdiff_t n_channels; /* blocks */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} lane_job;

/* A thread's workspace, and what it still holds of the task before. */
typedef struct lane_space {
    real *tile, *out, *weights, *bias;
    ptrdiff_t *offset, *tap_weight;
    ptrdiff_t block;
    const cvl_phase *depth, *height;
} lane_space;

static lane_space lane_layout(const lane_job *job, char *memory) {
    const cvl_gather *g = job->g;
    const ptrdiff_t taps = g->axis[0].k * g->axis[1].k * g->axis[2].k;
    lane_space space = {.block = -1};
    cvl_arena arena = {.memory = memory};
    space.tile = cvl_take(&arena, job->blocks.places * job->channels, sizeof(real));
    space.out = cvl_take(&arena, job->blocks.columns * job->kernels->lanes, sizeof(real));
    space.weights = cvl_take(&arena, taps * job->channels, sizeof(real));
    space.bias = cvl_take(&arena, job->channels, sizeof(real));
    space.offset = cvl_take(&arena, taps, sizeof(ptrdiff_t));
    space.tap_weight = cvl_take(&arena, taps, sizeof(ptrdiff_t));
    return space;
}

/* weights[tap][channel] of a block of channels, one width phase after another, and the bias. */
static void bring_lane_weights(const lane_job *job, lane_space *space, ptrdiff_t block,
                               ptrdiff_t channels, const cvl_slab *slab) {
    const cvl_gather *g = job->g;
    if (space->block == block && space->depth == slab->depth && space->height == slab->height)
        return;
    const ptrdiff_t first = block * job->channels;
    real *to = space->weights;
    for (ptrdiff_t p = 0; p < g->axis[2].n_phases; p++) {
        const cvl_phase *width = &g->axis[2].phases[p];
        for (ptrdiff_t jd = 0; jd < slab->depth->taps; jd++)
            for (ptrdiff_t jh = 0; jh < slab->height->taps; jh++)
                for (ptrdiff_t jw = 0; jw < width->taps; jw++, to += job->channels) {
                    const real *w = (const real *)g->w + first * g->w_group +
                                    g->axis[0].tap_order[slab->depth->tap_first + jd] * g->w_k[0] +
                                    g->axis[1].tap_order[slab->height->tap_first + jh] * g->w_k[1] +
                                    g->axis[2].tap_order[width->tap_first + jw] * g->w_k[2];
                    memset(to, 0, (size_t)job->channels * sizeof(real));
                    job->kernels->copy(to, job->channels, 1, w, 0, g->w_group, 1, channels);
                }
    }
    memset(space->bias, 0, (size_t)job->channels * sizeof(real));
    if (g->bias)
        for (ptrdiff_t c = 0; c < channels; c++)
            space->bias[c] = ((const real *)g->bias)[(first + c) * g->bias_stride];
    space->block = block;
    space->depth = slab->depth;
    space->height = slab->height;
}

/* What one task computes: an image's block of channels. */
typedef struct lane_task {
    ptrdiff_t n, block, first, channels;
    const cvl_slab *slab;
} lane_task;

/* Positions [q, q + count) of one width phase in rows [row, row + rows) of the slab. */
typedef struct lane_region {
    const cvl_phase *width;
    const real *weights;
    ptrdiff_t row, rows, q, count;
} lane_region;

static void lane_run_region(const lane_job *job, const lane_space *space, const lane_task *task,
                            const lane_region *region) {
    const cvl_gather *g = job->g;
    const kernel_table *kernels = job->kernels;
    const cvl_slab *slab = task->slab;
    const cvl_phase *width = region->width;
    const ptrdiff_t in[] = {g->axis[0].in, g->axis[1].in, g->axis[2].in};
    const ptrdiff_t height_q = slab->height_q + region->row, lanes = kernels->lanes;
    if (region->rows <= 0 || region->count <= 0)
        return;

    input_tile tile = {.map = {cvl_channel_map(slab->depth, 1, 1),
                               cvl_channel_map(slab->height, 1, region->rows),
                               cvl_channel_map(width, 1, region->count)},
                       .shift = {slab->depth_q * slab->depth->in_step,
                                 height_q * slab->height->in_step, region->q * width->in_step}};
    const real *src =
        (const real *)g->src + task->n * g->src_strides.n + task->first * g->src_strides.c;
    if (task->channels % lanes == 0 && tile_is_inside(&tile, in))
        tile_in_place(&tile, src, &g->src_strides);
    else
        pack_channels_together(&tile, space->tile, job->channels, src, &g->src_strides,
                               task->channels, in, kernels->copy);
    const ptrdiff_t taps = list_taps(g, slab, width, &tile, space->offset, space->tap_weight);

    const cvl_data_strides *to = &g->dst_strides;
    real *dst = (real *)g->dst + task->n * to->n + task->first +
                (slab->depth->out_first + slab->depth->out_step * slab->depth_q) * to->s[0] +
                (slab->height->out_first + slab->height->out_step * height_q) * to->s[1] +
                (width->out_first + width->out_step * region->q) * to->s[2];
    const ptrdiff_t dst_line = slab->height->out_step * to->s[1];
    const ptrdiff_t dst_step = width->out_step * to->s[2];
    const ptrdiff_t vectors = task->channels / lanes, whole = vectors * lanes;
    for (ptrdiff_t row = 0; row < region->rows; row++) {
        const real *from = tile.base + row * tile.position[1];
        real *line = dst + row * dst_line;
        kernels->lane_tile(line, dst_step, from, tile.position[2], space->offset, region->weights,
                           job->channels, taps, region->count, vectors, space->bias);
        if (whole == task->channels)
            continue;
        kernels->lane_tile(space->out, lanes, from + whole, tile.position[2], space->offset,
                           region->weights + whole, job->channels, taps, region->count, 1,
                           space->bias + whole);
        kernels->copy(line + whole, dst_step, 1, space->out, lanes, 1, region->count,
                      task->channels - whole);
    }
}

/* The positions [*begin, *end) of [q, q + count), counted from q, whose taps all lie inside. */
static void inner_positions(const cvl_phase *p, ptrdiff_t in, ptrdiff_t q, ptrdiff_t count,
                            ptrdiff_t *begin, ptrdiff_t *end) {
    const ptrdiff_t first = p->in_first + q * p->in_step;
    const ptrdiff_t room = in - 1 - first - (p->taps - 1) * p->tap_step;
    *begin = first >= 0 ? 0 : (-first + p->in_step - 1) / p->in_step;
    *end = room < 0 ? 0 : room / p->in_step + 1;
    if (*end > count)
        *end = count;
}

/* One width phase of a task: whole, or, where most of it needs no padding, its inside in place and only
 * its four margins packed. */
static void lane_run_phase(const lane_job *job, const lane_space *space, const lane_task *task,
                           const cvl_phase *width, const real *weights, ptrdiff_t q,
                           ptrdiff_t count) {
    const cvl_slab *slab = task->slab;
    const ptrdiff_t rows = slab->rows;
    ptrdiff_t top, bottom, left, right;
    inner_positions(slab->height, job->g->axis[1].in, slab->height_q, rows, &top, &bottom);
    inner_positions(width, job->g->axis[2].in, q, count, &left, &right);
    const bool split = top < bottom && left < right &&
                       4 * (bottom - top) * (right - left) >= 3 * rows * count &&
                       rows * count >= 256;
    if (!split)
        top = rows, bottom = rows, left = right = count;
    const lane_region regions[] = {
        {width, weights, 0, top, q, count},
        {width, weights, top, bottom - top, q, left},
        {width, weights, top, bottom - top, q + left, right - left},
        {width, weights, top, bottom - top, q + right, count - right},
        {width, weights, bottom, rows - bottom, q, count},
    };
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++)
        lane_run_region(job, space, task, &regions[i]);
}

static void lane_run_task(const lane_job *job, ptrdiff_t index, lane_space *space) {
    const cvl_gather *g = job->g;
    const cvl_blocks *blocks = &job->blocks;
    const cvl_gather_axis *width = &g->axis[2];
    lane_task task = {.slab = &blocks->slabs[index % blocks->n_slabs]};
    index /= blocks->n_slabs;
    const ptrdiff_t column_block = index % blocks->n_columns;
    index /= blocks->n_columns;
    task.n = index % g->n;
    task.block = index / g->n;
    task.first = task.block * job->channels;
    task.channels = g->groups - task.first < job->channels ? g->groups - task.first : job->channels;
    bring_lane_weights(job, space, task.block, task.channels, task.slab);

    const real *weights = space->weights;
    for (const cvl_phase *p = width->phases; p < width->phases + width->n_phases; p++) {
        lane_run_phase(job, space, &task, p, weights, column_block * blocks->columns,
                       cvl_block_columns(blocks, p, column_block));
        weights += task.slab->depth->taps * task.slab->height->taps * p->taps * job->channels;
    }
}

static void lane_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const lane_job *job = context;
    lane_space space = lane_layout(job, job->workspace + thread * job->workspace_bytes);
    for (ptrdiff_t i = begin; i < end; i++)
        lane_run_task(job, i, &space);
}

cvl_status CVL_TYPED(cvl_gather_lanes)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    enum {
        block_vectors = 32
    }; /* channels of a block: wide, so that memory is read in long runs */
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    lane_job job = {.g = g, .kernels = kernels};
    const ptrdiff_t taps = g->axis[0].k * g->axis[1].k * g->axis[2].k, lanes = kernels->lanes;
    const ptrdiff_t vectors = (g->groups + lanes - 1) / lanes;
    job.channels = (vectors < block_vectors ? vectors : block_vectors) * lanes;
    job.n_channels = (g->groups + job.channels - 1) / job.channels;
    cvl_status status = cvl_cut(
        g, cvl_channel_map, cvl_channel_map, job.channels * (ptrdiff_t)sizeof(real),
        cvl_l2_bytes() / 4, g->n * job.n_channels, cvl_enough_tasks(g->work), false, &job.blocks);
    if (status != CVL_OK)
        return status;

    ptrdiff_t bytes =
        cvl_part_bytes(cvl_scale_bytes(job.blocks.places, job.channels), sizeof(real));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.blocks.columns * lanes, sizeof(real)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(cvl_scale_bytes(taps, job.channels), sizeof(real)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.channels, sizeof(real)));
    job.workspace_bytes = cvl_add_bytes(bytes, 2 * cvl_part_bytes(taps, sizeof(ptrdiff_t)));

    const ptrdiff_t tasks = g->n * job.n_channels * job.blocks.n_slabs * job.blocks.n_columns;
    const int threads = cvl_threads_for(tasks, g->work);
    job.workspace = cvl_alloc((size_t)cvl_scale_bytes(job.workspace_bytes, threads));
    if (job.workspace)
        cvl_parallel_for(tasks, task_grain(g->work, tasks, threads), threads, lane_tasks, &job);
    else
        status = CVL_NO_MEMORY;
    cvl_free(job.workspace);
    cvl_free_blocks(&job.blocks);
    return status;
}
