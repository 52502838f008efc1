/* Weight gradient with neighbouring positions along the lanes: for few channels on both sides.
 * Included by drivers_impl.h.
 *
 * A chunk's x is brought together so that position (row, column) reads, for tap k, place row*line +
 * column + offset[k]; dy's rows are laid out beside it. Short rows would leave most lanes empty, so
 * they are joined into one line, dy being zero between them.
 */

/* Adds partial[split][group][oc][ic][tap] in order and stores the sums in dw. */
static void store_filters(const cvl_reduce *r, real *partial, ptrdiff_t splits) {
    const cvl_weight_strides *to = &r->dw_strides;
    const cvl_phase *depth = r->axis[0].phases, *height = r->axis[1].phases;
    const cvl_phase *width = r->axis[2].phases;
    const ptrdiff_t all = r->groups * r->oc * r->ic * reduce_taps(r);
    add_partials(partial, splits, all, 0, all);
    const real *from = partial;
    for (ptrdiff_t o = 0; o < r->groups * r->oc; o++)
        for (ptrdiff_t i = 0; i < r->ic; i++)
            for (ptrdiff_t d = 0; d < depth->taps; d++)
                for (ptrdiff_t h = 0; h < height->taps; h++) {
                    real *row = (real *)r->dw + o * to->oc + i * to->ic +
                                (depth->tap_first + d) * to->k[0] +
                                (height->tap_first + h) * to->k[1] + width->tap_first * to->k[2];
                    for (ptrdiff_t w = 0; w < width->taps; w++)
                        row[w * to->k[2]] = *from++;
                }
}

typedef struct pixel_reduce_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    cvl_chunks chunks;
    ptrdiff_t taps, splits;
    ptrdiff_t bundle, n_bundles; /* groups of a task, and how many such bundles there are */
    real *partial;               /* [split][group][oc][ic][tap] */
    char *workspace;
    ptrdiff_t lot;             /* channels of dy that are laid out together */
    ptrdiff_t line_room;       /* elements of dy's rows of one channel, joined */
    ptrdiff_t workspace_bytes; /* per thread */
} pixel_reduce_job;

/* The sums of one filter, cut for accuracy: what a lane has summed is added to `sums` now and
 * then. */
static void sum_taps(const kernel_table *kernels, real *sums, const real *dy, ptrdiff_t dy_row,
                     const real *x, ptrdiff_t x_row, const ptrdiff_t *offset, ptrdiff_t taps,
                     ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t lanes = kernels->lanes, vectors = (columns + lanes - 1) / lanes;
    const ptrdiff_t vectors_cut = cvl_least(vectors, longest_cut),
                    rows_cut = longest_cut / vectors_cut;
    for (ptrdiff_t r = 0; r < rows; r += rows_cut)
        for (ptrdiff_t j = 0; j < columns; j += vectors_cut * lanes)
            kernels->tap_sums(sums, dy + r * dy_row + j, dy_row, x + r * x_row + j, x_row, offset,
                              taps, cvl_least(rows_cut, rows - r),
                              cvl_least(vectors_cut * lanes, columns - j));
}

/* The sums of one filter over a chunk, rows apart: what lies between rows takes no part. */
static void sum_rows(const kernel_table *kernels, real *sums, const real *dy, ptrdiff_t dy_row,
                     const real *x, ptrdiff_t x_row, const ptrdiff_t *offset, ptrdiff_t taps,
                     const cvl_chunk *chunk) {
    sum_taps(kernels, sums, dy, dy_row, x, x_row, offset, taps, chunk->rows, chunk->columns);
}

/* The same with the rows joined. Zeros of dy meet values of x that belong to no window; should one
 * of those not be finite, their product is not zero, and the rows are summed apart after all. */
static void sum_line(const kernel_table *kernels, real *sums, const real *dy, ptrdiff_t line,
                     const real *x, const ptrdiff_t *offset, ptrdiff_t taps,
                     const cvl_chunk *chunk) {
    enum { strip = 12 };
    real sum[strip];
    for (ptrdiff_t t = 0; t < taps; t += strip) {
        const ptrdiff_t n = taps - t < strip ? taps - t : strip;
        memset(sum, 0, sizeof sum);
        sum_taps(kernels, sum, dy, 0, x, 0, offset + t, n, 1,
                 (chunk->rows - 1) * line + chunk->columns);
        real total = 0;
        for (ptrdiff_t k = 0; k < n; k++)
            total += sum[k] * 0;
        if (total != 0) /* true of NaN alone */
            sum_rows(kernels, sums + t, dy, line, x, line, offset + t, n, chunk);
        else
            for (ptrdiff_t k = 0; k < n; k++)
                sums[t + k] += sum[k];
    }
}

/* The parts of a thread's workspace; without memory, only its size. */
typedef struct pixel_reduce_space {
    real *x, *lines;
    ptrdiff_t *offset;
} pixel_reduce_space;

static pixel_reduce_space pixel_reduce_layout(const pixel_reduce_job *job, cvl_arena *memory) {
    const ptrdiff_t room =
        cvl_scale_bytes(channel_room(job->chunks.places), job->bundle * job->r->ic);
    pixel_reduce_space space;
    space.x = cvl_take(memory, cvl_add_bytes(room, CVL_MAX_LANES), sizeof(real));
    space.lines = cvl_take(memory, cvl_scale_bytes(job->line_room, job->lot), sizeof(real));
    space.offset = cvl_take(memory, job->taps, sizeof(ptrdiff_t));
    return space;
}

/* Lays out the rows of some channels of dy, `dy_row` apart, one line to a channel; between its rows
 * a line is zero. */
static void bring_lines(const pixel_reduce_job *job, const cvl_chunk *chunk, const real *dy,
                        ptrdiff_t channels, ptrdiff_t dy_row, real *lines) {
    const cvl_data_strides *s = &job->r->dy_strides;
    const ptrdiff_t room = job->line_room;
    memset(lines, 0, (size_t)(channels * room) * sizeof(real));
    if (channels == 1)
        job->kernels->copy(lines, dy_row, 1, dy, s->s[1], s->s[2], chunk->rows, chunk->columns);
    else
        for (ptrdiff_t row = 0; row < chunk->rows; row++)
            job->kernels->copy(lines + row * dy_row, room, 1, dy + row * s->s[1], s->c, s->s[2],
                               channels, chunk->columns);
}

/* One image of a chunk, for a bundle of groups from `group` on. */
static void pixel_reduce_image(const pixel_reduce_job *job, const cvl_chunk *chunk, ptrdiff_t image,
                               ptrdiff_t group, ptrdiff_t groups, real *sums, char *memory) {
    const cvl_reduce *r = job->r;
    const cvl_phase *const phase[] = {r->axis[0].phases, r->axis[1].phases, r->axis[2].phases};
    const ptrdiff_t in[] = {r->axis[0].in, r->axis[1].in, r->axis[2].in};
    const ptrdiff_t lanes = job->kernels->lanes;
    cvl_arena arena = {.memory = memory};
    const pixel_reduce_space space = pixel_reduce_layout(job, &arena);

    input_tile tile = {.map = {cvl_pixel_map(phase[0], 1, 1),
                               cvl_pixel_map(phase[1], 1, chunk->rows),
                               cvl_pixel_map(phase[2], 1, chunk->columns)},
                       .shift = {chunk->depth * phase[0]->in_step, chunk->row * phase[1]->in_step,
                                 chunk->column * phase[2]->in_step}};
    const real *x = (const real *)r->x + image * r->x_strides.n + group * r->ic * r->x_strides.c;
    const ptrdiff_t size = pack_positions_together(&tile, space.x, x, &r->x_strides, groups * r->ic,
                                                   in, job->kernels->copy);
    memset(space.x + size * groups * r->ic, 0, CVL_MAX_LANES * sizeof(real));
    const ptrdiff_t taps = list_tap_offsets(phase, &tile, space.offset);

    const ptrdiff_t line = tile.position[1];
    const ptrdiff_t joined = ((chunk->rows - 1) * line + chunk->columns + lanes - 1) / lanes;
    const bool join = joined <= chunk->rows * ((chunk->columns + lanes - 1) / lanes);
    const ptrdiff_t dy_row = join ? line : chunk->columns;
    const cvl_data_strides *from = &r->dy_strides;
    const real *dy = (const real *)r->dy + image * from->n + group * r->oc * from->c +
                     chunk->depth * from->s[0] + chunk->row * from->s[1] +
                     chunk->column * from->s[2];
    const ptrdiff_t channels = groups * r->oc;
    for (ptrdiff_t first = 0; first < channels; first += job->lot) {
        const ptrdiff_t last = cvl_least(first + job->lot, channels);
        bring_lines(job, chunk, dy + first * from->c, last - first, dy_row, space.lines);
        for (ptrdiff_t o = first; o < last; o++)
            for (ptrdiff_t i = 0; i < r->ic; i++) {
                real *filter = sums + (o * r->ic + i) * job->taps;
                const real *channel = space.x + (o / r->oc * r->ic + i) * size;
                const real *row = space.lines + (o - first) * job->line_room;
                if (join)
                    sum_line(job->kernels, filter, row, line, channel, space.offset, taps, chunk);
                else
                    sum_rows(job->kernels, filter, row, dy_row, channel, line, space.offset, taps,
                             chunk);
            }
    }
}

static void pixel_reduce_task(const pixel_reduce_job *job, ptrdiff_t index, char *memory) {
    const cvl_reduce *r = job->r;
    const cvl_chunks *chunks = &job->chunks;
    const ptrdiff_t group = index % job->n_bundles * job->bundle, split = index / job->n_bundles;
    const ptrdiff_t groups = r->groups - group < job->bundle ? r->groups - group : job->bundle;
    const ptrdiff_t filters = r->oc * r->ic;
    real *sums = job->partial + (split * r->groups + group) * filters * job->taps;
    memset(sums, 0, (size_t)(groups * filters * job->taps) * sizeof(real));
    const ptrdiff_t last = chunks->count * (split + 1) / job->splits;
    for (ptrdiff_t c = chunks->count * split / job->splits; c < last; c++) {
        const cvl_chunk chunk = cvl_nth_chunk(r, chunks, c);
        for (ptrdiff_t i = 0; i < chunk.images; i++)
            pixel_reduce_image(job, &chunk, chunk.image + i, group, groups, sums, memory);
    }
}

static void pixel_reduce_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const pixel_reduce_job *job = context;
    for (ptrdiff_t i = begin; i < end; i++)
        pixel_reduce_task(job, i, job->workspace + thread * job->workspace_bytes);
}

static cvl_chunks cut_lines(const cvl_reduce *r, ptrdiff_t positions) {
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    return cvl_cut_reduce(r, cvl_pixel_map, cvl_pixel_map, r->ic * size, size, cvl_l2_bytes() / 4,
                          positions, false);
}

cvl_status CVL_TYPED(cvl_reduce_pixels)(const cvl_reduce *r, const cvl_kernels *all_kernels) {
    /* Long lines are best, but for the sake of threads a few parts are cut into more. */
    enum { long_line = 4096, short_line = 512, few_parts = 8 };
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    pixel_reduce_job job = {.r = r, .kernels = kernels};
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    job.taps = reduce_taps(r);
    job.chunks = cut_lines(r, long_line);
    if (job.chunks.count * r->groups < few_parts)
        job.chunks = cut_lines(r, short_line);
    const ptrdiff_t sums = cvl_scale_bytes(r->groups * r->oc * r->ic, job.taps);

    /* Small groups share a task, as long as their tiles fit the cache and tasks remain. */
    job.bundle =
        cvl_l2_bytes() / 4 / (cvl_scale_bytes(channel_room(job.chunks.places), r->ic * size) + 1);
    if (job.bundle > r->groups / 8)
        job.bundle = r->groups / 8;
    if (job.bundle < 1)
        job.bundle = 1;
    job.n_bundles = (r->groups + job.bundle - 1) / job.bundle;
    job.splits = cvl_reduce_splits(job.chunks.count, job.n_bundles, cvl_scale_bytes(sums, size));

    const cvl_map width = cvl_pixel_map(r->axis[2].phases, 1, job.chunks.columns);
    const ptrdiff_t line = width.length > job.chunks.columns ? width.length : job.chunks.columns;
    job.line_room = cvl_scale_bytes(line, job.chunks.rows) + CVL_MAX_LANES;
    /* Channels that are interleaved are laid out together, others just before they are used. */
    const bool interleaved = r->dy_strides.c == 1 && r->dy_strides.s[2] != 1;
    const ptrdiff_t fitting = cvl_l2_bytes() / 8 / (job.line_room * size);
    job.lot = interleaved && fitting > 1 ? cvl_least(fitting, job.bundle * r->oc) : 1;
    cvl_arena arena = {0};
    pixel_reduce_layout(&job, &arena);
    job.workspace_bytes = arena.bytes;

    const ptrdiff_t tasks = job.n_bundles * job.splits;
    int threads = cvl_threads_for(tasks, r->work);
    job.partial = alloc_partials(sums, job.splits, job.workspace_bytes, &threads, &job.workspace);
    if (!job.partial)
        return CVL_NO_MEMORY;
    cvl_parallel_for(tasks, task_grain(r->work, tasks, threads), threads, pixel_reduce_tasks, &job);
    store_filters(r, job.partial, job.splits);
    cvl_free(job.partial);
    return CVL_OK;
}
