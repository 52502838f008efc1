/* Weight gradient with channels along the lanes: the channels of dy, or of x. Included by drivers.c.
 *
 * For a chunk of positions the tile of x and the block of dy are matrices [position][channel], packed
 * or read where they stand; the channel tile multiplies one, transposed, by the other:
 *
 *     lanes of dy:  C[(tap, i)][o] += sum over positions of x[position + tap][i] * dy[position][o]
 *     lanes of x:   C[tap][o][i]   += sum over positions of dy[position][o] * x[position + tap][i]
 *
 * In the first, taps and input channels together are the rows of one product. The second is for few
 * output channels, whose lanes would stay empty. The channels along the lanes are called wide, the
 * others narrow.
 */

/* One of x and dy, as the tasks see it. */
typedef struct CVL_NAME(operand) {
    ptrdiff_t first, channels, pitch; /* channels of the task's block; elements per position */
} CVL_NAME(operand);

typedef struct CVL_NAME(reduce_job) {
    const cvl_reduce *r;
    const CVL_NAME(cvl_kernels) * kernels;
    cvl_chunks chunks;
    bool lanes_of_x;
    ptrdiff_t taps;
    ptrdiff_t wide, narrow;             /* channels per group */
    ptrdiff_t vectors;                  /* of wide channels */
    ptrdiff_t n_wide, n_narrow, splits; /* blocks, and partial results */
    ptrdiff_t wide_room, narrow_room;   /* the most channels of a block, lanes rounded up */
    real *partial; /* [split][group][wide block][narrow block]: [tap][narrow][wide] each */
    ptrdiff_t partial_count; /* elements of one split */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} CVL_NAME(reduce_job);

/* A block of the result: which channels, and where its sums stand. */
typedef struct CVL_NAME(reduce_block) {
    ptrdiff_t group;
    ptrdiff_t wide, width, lanes; /* first channel, places for it, channels */
    ptrdiff_t narrow, rows;
    real *sums;
} CVL_NAME(reduce_block);

static CVL_NAME(reduce_block) CVL_NAME(nth_block)(const CVL_NAME(reduce_job) * job,
                                                  ptrdiff_t index) {
    const ptrdiff_t lanes = job->kernels->lanes;
    CVL_NAME(reduce_block) b;
    const ptrdiff_t narrow = index % job->n_narrow;
    index /= job->n_narrow;
    const ptrdiff_t wide = index % job->n_wide;
    b.group = index / job->n_wide;
    b.wide = job->vectors * wide / job->n_wide * lanes;
    b.width = job->vectors * (wide + 1) / job->n_wide * lanes - b.wide;
    b.lanes = job->wide - b.wide < b.width ? job->wide - b.wide : b.width;
    b.narrow = job->narrow * narrow / job->n_narrow;
    b.rows = job->narrow * (narrow + 1) / job->n_narrow - b.narrow;
    b.sums = job->partial + job->taps * (b.group * job->narrow * job->vectors * lanes +
                                         job->narrow * b.wide + b.narrow * b.width);
    return b;
}

/* Brings dy's block of a chunk together, [image][row][column][pitch], or finds it in place. */
static const real *CVL_NAME(bring_dy)(const CVL_NAME(reduce_job) * job, const cvl_chunk *chunk,
                                      ptrdiff_t group, const CVL_NAME(operand) * operand,
                                      bool whole_vectors, real *room, cvl_data_strides *strides) {
    const cvl_reduce *r = job->r;
    *strides = r->dy_strides;
    const real *dy = (const real *)r->dy + chunk->image * strides->n +
                     (group * r->oc + operand->first) * strides->c +
                     chunk->depth * strides->s[0] + chunk->row * strides->s[1] +
                     chunk->column * strides->s[2];
    if ((strides->c == 1 || r->oc * r->groups == 1) &&
        (!whole_vectors || operand->channels == operand->pitch))
        return dy;
    const ptrdiff_t line = chunk->columns * operand->pitch;
    const bool rows_follow = strides->s[1] == chunk->columns * strides->s[2];
    for (ptrdiff_t i = 0; i < chunk->images; i++)
        if (rows_follow)
            job->kernels->copy(room + i * chunk->rows * line, operand->pitch, 1,
                               dy + i * strides->n, strides->s[2], strides->c,
                               chunk->rows * chunk->columns, operand->channels);
        else
            for (ptrdiff_t row = 0; row < chunk->rows; row++)
                job->kernels->copy(room + (i * chunk->rows + row) * line, operand->pitch, 1,
                                   dy + i * strides->n + row * strides->s[1], strides->s[2],
                                   strides->c, chunk->columns, operand->channels);
    *strides = (cvl_data_strides){
        .n = chunk->rows * line, .c = 1, .s = {0, line, operand->pitch}};
    return room;
}

/* Brings x's tile of a chunk together, one image after another, or finds it in place. Returns the
 * step from image to image. */
static ptrdiff_t CVL_NAME(bring_x)(const CVL_NAME(reduce_job) * job, const cvl_chunk *chunk,
                                   ptrdiff_t group, const CVL_NAME(operand) * operand,
                                   bool whole_vectors, real *room, CVL_NAME(tile) * tile) {
    const cvl_reduce *r = job->r;
    const cvl_phase *depth = r->axis[0].phases, *height = r->axis[1].phases;
    const cvl_phase *width = r->axis[2].phases;
    const ptrdiff_t in[] = {r->axis[0].in, r->axis[1].in, r->axis[2].in};
    const real *x = (const real *)r->x + chunk->image * r->x_strides.n +
                    (group * r->ic + operand->first) * r->x_strides.c;
    *tile = (CVL_NAME(tile)){.map = {cvl_channel_map(depth, 1, 1),
                                     cvl_channel_map(height, 1, chunk->rows),
                                     cvl_channel_map(width, 1, chunk->columns)},
                             .shift = {chunk->depth * depth->in_step, chunk->row * height->in_step,
                                       chunk->column * width->in_step}};
    if ((r->x_strides.c == 1 || r->ic * r->groups == 1) && CVL_NAME(tile_is_inside)(tile, in) &&
        (!whole_vectors || operand->channels == operand->pitch)) {
        CVL_NAME(tile_in_place)(tile, x, &r->x_strides);
        return r->x_strides.n;
    }
    const ptrdiff_t image = job->chunks.places * operand->pitch;
    for (ptrdiff_t i = 0; i < chunk->images; i++)
        CVL_NAME(pack_channels_together)
        (tile, room + i * image, operand->pitch, x + i * r->x_strides.n, &r->x_strides,
         operand->channels, in, job->kernels->copy);
    tile->base = room;
    return image;
}

/* C[row][lane] += over the terms, for all rows and the width of a block, C's rows `width` apart. */
static void CVL_NAME(accumulate)(const CVL_NAME(cvl_kernels) * kernels, real *c, ptrdiff_t width,
                                 const ptrdiff_t *c_row, const real *a, const ptrdiff_t *a_row,
                                 ptrdiff_t a_step, const real *b, ptrdiff_t b_step,
                                 const cvl_term *terms, ptrdiff_t n_terms, ptrdiff_t n_rows) {
    const ptrdiff_t vectors = width / kernels->lanes;
    const ptrdiff_t strips = (vectors + kernels->vectors - 1) / kernels->vectors;
    for (ptrdiff_t strip = 0; strip < strips; strip++) {
        const ptrdiff_t first = vectors * strip / strips;
        const ptrdiff_t v = vectors * (strip + 1) / strips - first, lane = first * kernels->lanes;
        const ptrdiff_t tile_rows = kernels->rows[v - 1];
        const ptrdiff_t tiles = (n_rows + tile_rows - 1) / tile_rows;
        for (ptrdiff_t tile = 0; tile < tiles; tile++) {
            const ptrdiff_t m0 = n_rows * tile / tiles, m1 = n_rows * (tile + 1) / tiles;
            kernels->channel_tile[v - 1][m1 - m0 - 1](c + lane, c_row + m0, a, a_row + m0, a_step,
                                                      b + lane, b_step, terms, n_terms, NULL);
        }
    }
}

static void CVL_NAME(reduce_task)(const CVL_NAME(reduce_job) * job, ptrdiff_t index,
                                  char *workspace) {
    const cvl_reduce *r = job->r;
    const ptrdiff_t split = index % job->splits;
    CVL_NAME(reduce_block) block = CVL_NAME(nth_block)(job, index / job->splits);
    block.sums += split * job->partial_count;
    memset(block.sums, 0, (size_t)(job->taps * block.rows * block.width) * sizeof(real));

    const CVL_NAME(operand) wide = {block.wide, block.lanes, block.width};
    const CVL_NAME(operand) narrow = {block.narrow, block.rows, block.rows};
    const cvl_chunks *chunks = &job->chunks;
    const ptrdiff_t x_room = job->lanes_of_x ? job->wide_room : job->narrow_room;
    const ptrdiff_t dy_room = job->lanes_of_x ? job->narrow_room : job->wide_room;
    real *x_space = cvl_take(&workspace, chunks->images * chunks->places * x_room, sizeof(real));
    real *dy_space = cvl_take(
        &workspace, chunks->images * chunks->rows * chunks->columns * dy_room, sizeof(real));
    ptrdiff_t *a_row = cvl_take(&workspace, job->taps * job->narrow_room, sizeof *a_row);
    ptrdiff_t *c_row = cvl_take(&workspace, job->taps * job->narrow_room, sizeof *c_row);
    ptrdiff_t *tap_offset = cvl_take(&workspace, job->taps, sizeof *tap_offset);
    cvl_term *terms = cvl_take(&workspace, chunks->images * chunks->rows, sizeof *terms);
    for (ptrdiff_t m = 0; m < job->taps * block.rows; m++)
        c_row[m] = m * block.width;

    const ptrdiff_t last = chunks->count * (split + 1) / job->splits;
    for (ptrdiff_t c = chunks->count * split / job->splits; c < last; c++) {
        const cvl_chunk chunk = cvl_nth_chunk(r, chunks, c);
        CVL_NAME(tile) tile;
        cvl_data_strides dy_strides;
        const real *dy = CVL_NAME(bring_dy)(job, &chunk, block.group,
                                            job->lanes_of_x ? &narrow : &wide, !job->lanes_of_x,
                                            dy_space, &dy_strides);
        const ptrdiff_t x_image =
            CVL_NAME(bring_x)(job, &chunk, block.group, job->lanes_of_x ? &wide : &narrow,
                              job->lanes_of_x, x_space, &tile);

        ptrdiff_t n_terms = 0, n_taps = 0;
        for (ptrdiff_t i = 0; i < chunk.images; i++)
            for (ptrdiff_t row = 0; row < chunk.rows; row++) {
                const ptrdiff_t x_at = i * x_image + row * tile.position[1];
                const ptrdiff_t dy_at = i * dy_strides.n + row * dy_strides.s[1];
                terms[n_terms++] = (cvl_term){.a = job->lanes_of_x ? dy_at : x_at,
                                              .b = job->lanes_of_x ? x_at : dy_at,
                                              .length = chunk.columns};
            }
        for (ptrdiff_t jd = 0; jd < r->axis[0].phases->taps; jd++)
            for (ptrdiff_t jh = 0; jh < r->axis[1].phases->taps; jh++)
                for (ptrdiff_t jw = 0; jw < r->axis[2].phases->taps; jw++)
                    tap_offset[n_taps++] =
                        CVL_NAME(tap_offset)(&tile, 0, r->axis[0].phases, jd) +
                        CVL_NAME(tap_offset)(&tile, 1, r->axis[1].phases, jh) +
                        CVL_NAME(tap_offset)(&tile, 2, r->axis[2].phases, jw);

        if (job->lanes_of_x) {
            for (ptrdiff_t o = 0; o < block.rows; o++)
                a_row[o] = o;
            for (ptrdiff_t t = 0; t < n_taps; t++)
                CVL_NAME(accumulate)
                (job->kernels, block.sums + t * block.rows * block.width, block.width, c_row, dy,
                 a_row, dy_strides.s[2], tile.base + tap_offset[t], tile.position[2], terms,
                 n_terms, block.rows);
        } else {
            for (ptrdiff_t t = 0; t < n_taps; t++)
                for (ptrdiff_t i = 0; i < block.rows; i++)
                    a_row[t * block.rows + i] = tap_offset[t] + i;
            CVL_NAME(accumulate)
            (job->kernels, block.sums, block.width, c_row, tile.base, a_row, tile.position[2], dy,
             dy_strides.s[2], terms, n_terms, n_taps * block.rows);
        }
    }
}

static void CVL_NAME(reduce_tasks)(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const CVL_NAME(reduce_job) *job = context;
    for (ptrdiff_t i = begin; i < end; i++)
        CVL_NAME(reduce_task)(job, i, job->workspace + thread * job->workspace_bytes);
}

/* Adds the partial results of a block in order and stores it in dw. */
static void CVL_NAME(finish_blocks)(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const CVL_NAME(reduce_job) *job = context;
    const cvl_reduce *r = job->r;
    const cvl_weight_strides *to = &r->dw_strides;
    real *scratch = (real *)(job->workspace + thread * job->workspace_bytes);
    for (ptrdiff_t index = begin; index < end; index++) {
        const CVL_NAME(reduce_block) block = CVL_NAME(nth_block)(job, index);
        const ptrdiff_t count = job->taps * block.rows * block.width;
        for (ptrdiff_t split = 1; split < job->splits; split++) {
            const real *other = block.sums + split * job->partial_count;
            for (ptrdiff_t i = 0; i < count; i++)
                block.sums[i] += other[i];
        }
        const ptrdiff_t oc = job->lanes_of_x ? block.narrow : block.wide;
        const ptrdiff_t ic = job->lanes_of_x ? block.wide : block.narrow;
        CVL_NAME(weight_block)
        weights = {.w = (real *)r->dw + (block.group * r->oc + oc) * to->oc + ic * to->ic,
                   .oc = job->lanes_of_x ? to->ic : to->oc,
                   .ic = job->lanes_of_x ? to->oc : to->ic,
                   .channels = block.rows,
                   .lanes = block.lanes,
                   .width = block.width};
        for (int i = 0; i < CVL_AXES; i++) {
            weights.k[i] = to->k[i];
            weights.size[i] = r->axis[i].phases->taps;
            weights.order[i] = r->axis[i].tap_order + r->axis[i].phases->tap_first;
        }
        CVL_NAME(unpack_weights)(&weights, block.sums, scratch, job->kernels->copy);
    }
}

cvl_status CVL_NAME(cvl_reduce_channels)(const cvl_reduce *r, const cvl_kernels *all_kernels,
                                         bool lanes_of_x) {
    const CVL_NAME(cvl_kernels) *kernels = all_kernels->CVL_DTYPE;
    CVL_NAME(reduce_job) job = {.r = r, .kernels = kernels, .lanes_of_x = lanes_of_x};
    const ptrdiff_t lanes = kernels->lanes, size = (ptrdiff_t)sizeof(real);
    const ptrdiff_t taps[] = {r->axis[0].phases->taps, r->axis[1].phases->taps,
                              r->axis[2].phases->taps};
    job.taps = taps[0] * taps[1] * taps[2];
    job.wide = lanes_of_x ? r->ic : r->oc;
    job.narrow = lanes_of_x ? r->oc : r->ic;
    job.vectors = (job.wide + lanes - 1) / lanes;

    /* A block is wide enough to pay for packing the narrow operand again for each, and the blocks of
     * all groups together are tasks enough. */
    const ptrdiff_t repay = job.taps == 1 ? 256 : 64, tile = kernels->vectors * lanes;
    const ptrdiff_t most_wide = (repay > tile ? repay : tile) / lanes;
    job.n_wide = (job.vectors + most_wide - 1) / most_wide;
    const ptrdiff_t budget = cvl_l2_bytes() / 4 * 3, enough_positions = 192;
    job.n_narrow = 1;
    for (;; job.n_narrow *= 2) {
        job.wide_room = (job.vectors + job.n_wide - 1) / job.n_wide * lanes;
        job.narrow_room = (job.narrow + job.n_narrow - 1) / job.n_narrow;
        const ptrdiff_t x_room = lanes_of_x ? job.wide_room : job.narrow_room;
        const ptrdiff_t dy_room = lanes_of_x ? job.narrow_room : job.wide_room;
        job.chunks = cvl_cut_reduce(r, cvl_channel_map, x_room * size, dy_room * size, budget,
                                    enough_positions);
        const ptrdiff_t positions = job.chunks.images * job.chunks.rows * job.chunks.columns;
        const bool few = positions < enough_positions / 2 && job.chunks.count > job.chunks.n_images;
        if (!few || job.narrow_room < 64)
            break;
    }
    const ptrdiff_t blocks = r->groups * job.n_wide * job.n_narrow;
    job.partial_count =
        cvl_scale_bytes(cvl_scale_bytes(job.taps * job.narrow, job.vectors * lanes), r->groups);
    job.splits =
        cvl_reduce_splits(&job.chunks, blocks, cvl_scale_bytes(job.partial_count, size));

    const cvl_chunks *c = &job.chunks;
    const ptrdiff_t x_room = lanes_of_x ? job.wide_room : job.narrow_room;
    const ptrdiff_t dy_room = lanes_of_x ? job.narrow_room : job.wide_room;
    ptrdiff_t bytes =
        cvl_part_bytes(cvl_scale_bytes(cvl_scale_bytes(c->places, c->images), x_room), sizeof(real));
    bytes = cvl_add_bytes(
        bytes, cvl_part_bytes(c->images * c->rows * c->columns * dy_room, sizeof(real)));
    bytes = cvl_add_bytes(bytes, 2 * cvl_part_bytes(job.taps * job.narrow_room, sizeof(ptrdiff_t)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.taps, sizeof(ptrdiff_t)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(c->images * c->rows, sizeof(cvl_term)));
    const ptrdiff_t scratch =
        cvl_part_bytes(CVL_NAME(weight_scratch)(taps, job.wide_room), sizeof(real));
    job.workspace_bytes = bytes > scratch ? bytes : scratch;

    const ptrdiff_t tasks = blocks * job.splits;
    const int threads = cvl_threads_for(tasks, r->work);
    const ptrdiff_t partials = cvl_scale_bytes(job.partial_count, job.splits);
    char *memory =
        cvl_alloc((size_t)cvl_add_bytes(cvl_part_bytes(partials, sizeof(real)),
                                        cvl_scale_bytes(job.workspace_bytes, threads)));
    if (!memory)
        return CVL_NO_MEMORY;
    job.workspace = memory;
    job.partial = cvl_take(&job.workspace, partials, sizeof(real));
    cvl_parallel_for(tasks, 1, threads, CVL_NAME(reduce_tasks), &job);
    cvl_parallel_for(blocks, 1, threads, CVL_NAME(finish_blocks), &job);
    cvl_free(memory);
    return CVL_OK;
}
