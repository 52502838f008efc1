/* Weight gradient with channels along the lanes, each channel with a filter of its own (ic = oc = 1):
 * depthwise convolution of data whose channels are contiguous. Included by drivers_impl.h. */

typedef struct lane_reduce_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    cvl_chunks chunks;
    ptrdiff_t taps, splits;
    ptrdiff_t channels, n_channels; /* of a block, a whole number of vectors, and blocks */
    ptrdiff_t padded;               /* channels of all blocks */
    real *partial;                  /* [split][tap][padded] */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} lane_reduce_job;

/* One image of a chunk, for the block of channels from `first` on. */
static void lane_reduce_image(const lane_reduce_job *job, const cvl_chunk *chunk, ptrdiff_t image,
                              ptrdiff_t first, real *sums, char *memory) {
    const cvl_reduce *r = job->r;
    const kernel_table *kernels = job->kernels;
    const cvl_phase *const phase[] = {r->axis[0].phases, r->axis[1].phases, r->axis[2].phases};
    const ptrdiff_t in[] = {r->axis[0].in, r->axis[1].in, r->axis[2].in};
    const ptrdiff_t left = r->groups - first, lanes = kernels->lanes;
    const ptrdiff_t channels = left < job->channels ? left : job->channels;
    const bool whole = channels % lanes == 0;
    cvl_arena arena = {.memory = memory};
    real *x_space = cvl_take(&arena, job->chunks.places * job->channels, sizeof(real));
    real *dy_space =
        cvl_take(&arena, job->chunks.rows * job->chunks.columns * job->channels, sizeof(real));
    ptrdiff_t *offset = cvl_take(&arena, job->taps, sizeof *offset);

    input_tile tile = {.map = {cvl_channel_map(phase[0], 1, 1),
                               cvl_channel_map(phase[1], 1, chunk->rows),
                               cvl_channel_map(phase[2], 1, chunk->columns)},
                       .shift = {chunk->depth * phase[0]->in_step, chunk->row * phase[1]->in_step,
                                 chunk->column * phase[2]->in_step}};
    const real *x = (const real *)r->x + image * r->x_strides.n + first * r->x_strides.c;
    if (whole && tile_is_inside(&tile, in))
        tile_in_place(&tile, x, &r->x_strides, in);
    else
        pack_channels_together(&tile, x_space, job->channels, x, &r->x_strides, channels, in,
                               kernels->copy);
    const ptrdiff_t taps = list_tap_offsets(phase, &tile, offset);

    const cvl_data_strides *s = &r->dy_strides;
    const real *dy = (const real *)r->dy + image * s->n + first * s->c + chunk->depth * s->s[0] +
                     chunk->row * s->s[1] + chunk->column * s->s[2];
    ptrdiff_t dy_row = s->s[1], dy_step = s->s[2];
    if (!whole) {
        for (ptrdiff_t row = 0; row < chunk->rows; row++)
            kernels->copy(dy_space + row * chunk->columns * job->channels, job->channels, 1,
                          dy + row * s->s[1], s->s[2], 1, chunk->columns, channels);
        dy = dy_space;
        dy_row = chunk->columns * job->channels;
        dy_step = job->channels;
    }
    /* Cut for accuracy: what the kernel has summed is added to `sums` once. */
    const ptrdiff_t columns = least(chunk->columns, longest_cut), rows = longest_cut / columns;
    for (ptrdiff_t h = 0; h < chunk->rows; h += rows)
        for (ptrdiff_t w = 0; w < chunk->columns; w += columns)
            for (ptrdiff_t lane = 0; lane < channels; lane += lanes)
                kernels->lane_sums(
                    sums + lane, job->padded, dy + h * dy_row + w * dy_step + lane, dy_row, dy_step,
                    tile.base + h * tile.position[1] + w * tile.position[2] + lane,
                    tile.position[1], tile.position[2], offset, taps, least(rows, chunk->rows - h),
                    least(columns, chunk->columns - w));
}

static void lane_reduce_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const lane_reduce_job *job = context;
    const cvl_reduce *r = job->r;
    char *memory = job->workspace + thread * job->workspace_bytes;
    for (ptrdiff_t index = begin; index < end; index++) {
        const ptrdiff_t first = index % job->n_channels * job->channels;
        const ptrdiff_t split = index / job->n_channels;
        real *sums = job->partial + split * job->taps * job->padded + first;
        for (ptrdiff_t t = 0; t < job->taps; t++)
            memset(sums + t * job->padded, 0, (size_t)job->channels * sizeof(real));
        const ptrdiff_t last = job->chunks.count * (split + 1) / job->splits;
        for (ptrdiff_t c = job->chunks.count * split / job->splits; c < last; c++) {
            const cvl_chunk chunk = cvl_nth_chunk(r, &job->chunks, c);
            for (ptrdiff_t i = 0; i < chunk.images; i++)
                lane_reduce_image(job, &chunk, chunk.image + i, first, sums, memory);
        }
    }
}

/* Adds the partial results in order and stores them in dw. */
static void lane_reduce_finish(const lane_reduce_job *job) {
    const cvl_reduce *r = job->r;
    const cvl_weight_strides *to = &r->dw_strides;
    const cvl_phase *const phase[] = {r->axis[0].phases, r->axis[1].phases, r->axis[2].phases};
    const ptrdiff_t all = job->taps * job->padded;
    for (ptrdiff_t split = 1; split < job->splits; split++)
        for (ptrdiff_t i = 0; i < all; i++)
            job->partial[i] += job->partial[split * all + i];
    const real *from = job->partial;
    for (ptrdiff_t d = 0; d < phase[0]->taps; d++)
        for (ptrdiff_t h = 0; h < phase[1]->taps; h++)
            for (ptrdiff_t w = 0; w < phase[2]->taps; w++, from += job->padded)
                job->kernels->copy((real *)r->dw + (phase[0]->tap_first + d) * to->k[0] +
                                       (phase[1]->tap_first + h) * to->k[1] +
                                       (phase[2]->tap_first + w) * to->k[2],
                                   0, to->oc, from, 0, 1, 1, r->groups);
}

cvl_status CVL_TYPED(cvl_reduce_lanes)(const cvl_reduce *r, const cvl_kernels *all_kernels) {
    enum { block_vectors = 32, enough_positions = 4096 };
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    lane_reduce_job job = {.r = r, .kernels = kernels};
    const ptrdiff_t lanes = kernels->lanes, size = (ptrdiff_t)sizeof(real);
    const ptrdiff_t vectors = (r->groups + lanes - 1) / lanes;
    job.taps = r->axis[0].phases->taps * r->axis[1].phases->taps * r->axis[2].phases->taps;
    job.channels = (vectors < block_vectors ? vectors : block_vectors) * lanes;
    job.n_channels = (r->groups + job.channels - 1) / job.channels;
    job.padded = job.n_channels * job.channels;
    job.chunks = cvl_cut_reduce(r, cvl_channel_map, cvl_channel_map, job.channels * size,
                                job.channels * size, cvl_l2_bytes() / 2, enough_positions, false);
    const ptrdiff_t sums = cvl_scale_bytes(job.taps, job.padded);
    job.splits = cvl_reduce_splits(&job.chunks, job.n_channels, cvl_scale_bytes(sums, size));

    const ptrdiff_t positions = cvl_scale_bytes(job.chunks.rows, job.chunks.columns);
    ptrdiff_t bytes =
        cvl_part_bytes(cvl_scale_bytes(job.chunks.places, job.channels), sizeof(real));
    bytes = cvl_add_bytes(bytes,
                          cvl_part_bytes(cvl_scale_bytes(positions, job.channels), sizeof(real)));
    job.workspace_bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.taps, sizeof(ptrdiff_t)));

    const ptrdiff_t tasks = job.n_channels * job.splits;
    const int threads = cvl_threads_for(tasks, r->work);
    char *memory = cvl_alloc(
        (size_t)cvl_add_bytes(cvl_part_bytes(cvl_scale_bytes(sums, job.splits), sizeof(real)),
                              cvl_scale_bytes(job.workspace_bytes, threads)));
    if (!memory)
        return CVL_NO_MEMORY;
    job.partial = (real *)memory;
    job.workspace = memory + cvl_part_bytes(sums * job.splits, sizeof(real));
    cvl_parallel_for(tasks, 1, threads, lane_reduce_tasks, &job);
    lane_reduce_finish(&job);
    cvl_free(memory);
    return CVL_OK;
}
