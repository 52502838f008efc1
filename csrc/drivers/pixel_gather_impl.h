/* Gather with neighbouring destination positions along the lanes. Included by drivers_impl.h.
 *
 * A task takes a block of destination rows of one image and a few groups and brings their inputs
 * together in a tile whose rows follow one another, so that destination (row, column) reads, for tap k, place
 * row*line + column + offset[k]: one long line of positions, whatever the stride. What the line
 * computes between the end of a row and the start of the next is not kept.
 */

typedef struct pixel_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    cvl_blocks blocks;
    ptrdiff_t bundle, n_bundles; /* groups of a task, and how many such bundles there are */
    ptrdiff_t steps;             /* the most steps of a reduction, over all width phases together */
    ptrdiff_t line_room;         /* elements of the longest line of positions, in whole vectors */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} pixel_job;

/* A thread's workspace, and what it still holds of the task before. */
typedef struct pixel_space {
    real *tile, *out, *weights, *bias;
    ptrdiff_t *offset, *tap_offset, *tap_weight;
    ptrdiff_t bundle, rows;
    const cvl_phase *depth, *height; /* weights and offset are those of this bundle and phases */
} pixel_space;

static pixel_space pixel_layout(const pixel_job *job, char *memory) {
    const cvl_gather *g = job->g;
    pixel_space space = {.bundle = -1};
    const ptrdiff_t taps = g->axis[0].k * g->axis[1].k * g->axis[2].k;
    cvl_arena arena = {.memory = memory};
    space.tile =
        cvl_take(&arena, job->bundle * channel_room(job->blocks.places) * g->ic + CVL_MAX_LANES,
                 sizeof(real));
    space.out = cvl_take(&arena, job->line_room * job->kernels->pixel_rows, sizeof(real));
    space.weights = cvl_take(&arena, job->bundle * job->steps * g->oc, sizeof(real));
    space.bias = cvl_take(&arena, job->bundle * g->oc, sizeof(real));
    space.offset = cvl_take(&arena, job->steps, sizeof(ptrdiff_t));
    space.tap_offset = cvl_take(&arena, taps, sizeof(ptrdiff_t));
    space.tap_weight = cvl_take(&arena, taps, sizeof(ptrdiff_t));
    return space;
}

/* Where each step of the reduction reads, and its weights for a bundle of groups, one width phase
 * after another: offset[step], weights[group][output channel][step]. */
static void bring_pixel_weights(const pixel_job *job, pixel_space *space, ptrdiff_t bundle,
                                ptrdiff_t groups, const cvl_slab *slab, const input_tile *tile,
                                ptrdiff_t channel_size) {
    const cvl_gather *g = job->g;
    if (space->bundle == bundle && space->rows == slab->rows && space->depth == slab->depth &&
        space->height == slab->height)
        return;
    const ptrdiff_t first = bundle * job->bundle * g->oc, channels = groups * g->oc;
    real *a = space->weights;
    ptrdiff_t *b = space->offset;
    for (ptrdiff_t p = 0; p < g->axis[2].n_phases; p++) {
        const ptrdiff_t taps =
            list_taps(g, slab, &g->axis[2].phases[p], tile, space->tap_offset, space->tap_weight);
        for (ptrdiff_t i = 0; i < g->ic; i++)
            for (ptrdiff_t t = 0; t < taps; t++)
                *b++ = i * channel_size + space->tap_offset[t];
        for (ptrdiff_t o = first; o < first + channels; o++)
            for (ptrdiff_t i = 0; i < g->ic; i++) {
                const real *w =
                    (const real *)g->w + o / g->oc * g->w_group + o % g->oc * g->w_oc + i * g->w_ic;
                for (ptrdiff_t t = 0; t < taps; t++)
                    *a++ = w[space->tap_weight[t]];
            }
    }
    for (ptrdiff_t o = 0; o < channels; o++)
        space->bias[o] = g->bias ? ((const real *)g->bias)[(first + o) * g->bias_stride] : 0;
    space->bundle = bundle;
    space->rows = slab->rows;
    space->depth = slab->depth;
    space->height = slab->height;
}

/* One width phase of one group: a line of positions for every output channel, kept row by row. */
static void pixel_phase(const pixel_job *job, const cvl_slab *slab, ptrdiff_t columns,
                        const real *src, ptrdiff_t line, const real *weights,
                        const ptrdiff_t *offset, ptrdiff_t steps, const real *bias, real *out,
                        real *dst, ptrdiff_t dst_step) {
    enum {
        cut = CVL_REAL_BYTES == 4 ? 128 : 64
    }; /* steps between two visits to the sums in memory, for their accuracy */
    const cvl_gather *g = job->g;
    const kernel_table *kernels = job->kernels;
    const ptrdiff_t lanes = kernels->lanes;
    const ptrdiff_t vectors = ((slab->rows - 1) * line + columns + lanes - 1) / lanes;
    const ptrdiff_t dst_line = slab->height->out_step * g->dst_strides.s[1];
    const ptrdiff_t tiles = (g->oc + kernels->pixel_rows - 1) / kernels->pixel_rows;
    for (ptrdiff_t i = 0; i < tiles; i++) {
        const ptrdiff_t first = g->oc * i / tiles, m = g->oc * (i + 1) / tiles - first;
        ptrdiff_t done = 0;
        do {
            const ptrdiff_t length = steps - done < cut ? steps - done : cut;
            kernels->pixel_tile[m - 1](out, job->line_room, weights + first * steps + done, steps,
                                       src, offset + done, length, vectors,
                                       done == 0 ? bias + first : NULL);
            done += length;
        } while (done < steps);

        real *to = dst + first * g->dst_strides.c;
        if (m == 1)
            kernels->copy(to, dst_line, dst_step, out, line, 1, slab->rows, columns);
        else
            for (ptrdiff_t row = 0; row < slab->rows; row++)
                kernels->copy(to + row * dst_line, g->dst_strides.c, dst_step, out + row * line,
                              job->line_room, 1, m, columns);
    }
}

static void pixel_task(const pixel_job *job, ptrdiff_t index, pixel_space *space) {
    const cvl_gather *g = job->g;
    const cvl_blocks *blocks = &job->blocks;
    const cvl_slab *slab = &blocks->slabs[index % blocks->n_slabs];
    index /= blocks->n_slabs;
    const ptrdiff_t column_block = index % blocks->n_columns;
    index /= blocks->n_columns;
    const ptrdiff_t n = index % g->n, bundle = index / g->n, group = bundle * job->bundle;
    const ptrdiff_t groups = g->groups - group < job->bundle ? g->groups - group : job->bundle;
    const ptrdiff_t in[] = {g->axis[0].in, g->axis[1].in, g->axis[2].in};
    const cvl_gather_axis *width = &g->axis[2];

    input_tile tile = {.map = {cvl_pixel_map(slab->depth, 1, 1),
                               cvl_pixel_map(slab->height, 1, slab->rows), blocks->width},
                       .shift = {slab->depth_q * slab->depth->in_step,
                                 slab->height_q * slab->height->in_step,
                                 column_block * blocks->columns * width->phases[0].in_step}};
    const real *src =
        (const real *)g->src + n * g->src_strides.n + group * g->ic * g->src_strides.c;
    const ptrdiff_t channel_size = pack_positions_together(&tile, space->tile, src, &g->src_strides,
                                                           groups * g->ic, in, job->kernels->copy);
    memset(space->tile + groups * g->ic * channel_size, 0, CVL_MAX_LANES * sizeof(real));
    bring_pixel_weights(job, space, bundle, groups, slab, &tile, channel_size);

    const cvl_data_strides *to = &g->dst_strides;
    real *dst = (real *)g->dst + n * to->n + group * g->oc * to->c +
                (slab->depth->out_first + slab->depth->out_step * slab->depth_q) * to->s[0] +
                (slab->height->out_first + slab->height->out_step * slab->height_q) * to->s[1];
    const real *weights = space->weights;
    const ptrdiff_t *offset = space->offset;
    for (const cvl_phase *p = width->phases; p < width->phases + width->n_phases; p++) {
        const ptrdiff_t steps = slab->depth->taps * slab->height->taps * p->taps * g->ic;
        const ptrdiff_t columns = cvl_block_columns(blocks, p, column_block);
        const ptrdiff_t first = p->out_first + p->out_step * column_block * blocks->columns;
        for (ptrdiff_t i = 0; i < groups && columns > 0; i++)
            pixel_phase(job, slab, columns, tile.base + i * g->ic * channel_size, tile.position[1],
                        weights + i * g->oc * steps, offset, steps, space->bias + i * g->oc,
                        space->out, dst + i * g->oc * to->c + first * to->s[2],
                        p->out_step * to->s[2]);
        weights += groups * g->oc * steps;
        offset += steps;
    }
}

static void pixel_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const pixel_job *job = context;
    pixel_space space = pixel_layout(job, job->workspace + thread * job->workspace_bytes);
    for (ptrdiff_t i = begin; i < end; i++)
        pixel_task(job, i, &space);
}

cvl_status CVL_TYPED(cvl_gather_pixels)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    pixel_job job = {.g = g, .kernels = kernels};
    const ptrdiff_t taps = g->axis[0].k * g->axis[1].k * g->axis[2].k;
    /* One channel's rows shall stay in the level-1 cache; those of many only fit the next. */
    const ptrdiff_t budget = cvl_l2_bytes() / (g->ic == 1 ? 8 : 2);
    cvl_status status =
        cvl_cut(g, cvl_pixel_map, cvl_pixel_map, g->ic * (ptrdiff_t)sizeof(real), budget,
                g->n * g->groups, cvl_enough_tasks(g->work), false, &job.blocks);
    if (status != CVL_OK)
        return status;
    job.steps = taps * g->ic;

    /* Small groups share a task, as long as their tiles fit the cache and tasks remain. */
    const ptrdiff_t places =
        cvl_scale_bytes(channel_room(job.blocks.places), g->ic * (ptrdiff_t)sizeof(real));
    const ptrdiff_t areas = g->n * job.blocks.n_slabs * job.blocks.n_columns;
    job.bundle = budget / (places + 1);
    if (job.bundle > g->groups * areas / 16)
        job.bundle = g->groups * areas / 16;
    job.bundle = job.bundle < 1 ? 1 : job.bundle > g->groups ? g->groups : job.bundle;
    job.n_bundles = (g->groups + job.bundle - 1) / job.bundle;

    /* A line of positions is no longer than the part of the tile that one tap reads. */
    const ptrdiff_t line =
        job.blocks.width.length > job.blocks.columns ? job.blocks.width.length : job.blocks.columns;
    job.line_room = cvl_add_bytes(cvl_scale_bytes(line, job.blocks.rows), kernels->lanes);

    ptrdiff_t bytes = cvl_part_bytes(
        cvl_add_bytes(cvl_scale_bytes(channel_room(job.blocks.places), job.bundle * g->ic),
                      CVL_MAX_LANES),
        sizeof(real));
    bytes = cvl_add_bytes(
        bytes, cvl_part_bytes(cvl_scale_bytes(job.line_room, kernels->pixel_rows), sizeof(real)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.bundle * job.steps * g->oc, sizeof(real)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.bundle * g->oc, sizeof(real)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.steps, sizeof(ptrdiff_t)));
    job.workspace_bytes = cvl_add_bytes(bytes, 2 * cvl_part_bytes(taps, sizeof(ptrdiff_t)));

    const ptrdiff_t tasks = areas * job.n_bundles;
    const int threads = cvl_threads_for(tasks, g->work);
    job.workspace = cvl_alloc((size_t)cvl_scale_bytes(job.workspace_bytes, threads));
    if (job.workspace)
        cvl_parallel_for(tasks, task_grain(g->work, tasks, threads), threads, pixel_tasks, &job);
    else
        status = CVL_NO_MEMORY;
    cvl_free(job.workspace);
    cvl_free_blocks(&job.blocks);
    return status;
}
