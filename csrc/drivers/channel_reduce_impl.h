/* Weight gradient with channels along the lanes: the channels of dy, or of x. Included by drivers_impl.h.
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
 *
 * The product runs down the positions, one cache line of each operand at a time, so both are packed in
 * pieces a line or a tile wide, [piece][position][channels of the piece]: the lines of a piece follow
 * one another and share the level-1 cache, whatever the number of channels.
 */

enum {
    line_channels = 64 / sizeof(real), /* narrow channels of a piece: one cache line */
    least_visit = 192,                 /* positions between two visits to C, at least */
};

typedef struct reduce_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    cvl_chunks chunks;
    bool lanes_of_x;
    ptrdiff_t taps;
    ptrdiff_t wide, narrow;             /* channels per group */
    ptrdiff_t vectors;                  /* of wide channels */
    ptrdiff_t n_wide, n_narrow, splits; /* blocks, and partial results */
    ptrdiff_t strip;                    /* wide channels of a piece: one channel tile */
    ptrdiff_t most_rows;                /* narrow channels of a block */
    ptrdiff_t wide_room, narrow_room;   /* elements of the packed operands */
    real *partial; /* [split][group][wide block][narrow block]: [tap][narrow][wide] each */
    ptrdiff_t partial_count; /* elements of one split */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} reduce_job;

/* A block of the result: which channels, and where its sums stand. */
typedef struct reduce_block {
    ptrdiff_t group;
    ptrdiff_t wide, width, lanes; /* first channel, places for it, channels */
    ptrdiff_t narrow, rows;
    real *sums;
} reduce_block;

static reduce_block nth_block(const reduce_job *job, ptrdiff_t index) {
    const ptrdiff_t lanes = job->kernels->lanes;
    reduce_block b;
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

/* Channels of one operand side by side: `channels` from `first` on, `pitch` places for them. */
typedef struct channel_piece {
    ptrdiff_t first, channels, pitch;
} channel_piece;

/* The operands of a chunk as packed: how far from image to image and from row to row, and the tile
 * that says where taps of x are. Steps along a row are one pitch. */
typedef struct packed_operand {
    ptrdiff_t image, row, column;
    input_tile tile;
} packed_operand;

static packed_operand pack_dy(const reduce_job *job, const cvl_chunk *chunk, ptrdiff_t group,
                              channel_piece piece, real *to) {
    const cvl_reduce *r = job->r;
    const cvl_data_strides *s = &r->dy_strides;
    const real *dy = (const real *)r->dy + chunk->image * s->n +
                     (group * r->oc + piece.first) * s->c + chunk->depth * s->s[0] +
                     chunk->row * s->s[1] + chunk->column * s->s[2];
    const packed_operand packed = {.image = chunk->rows * chunk->columns * piece.pitch,
                                   .row = chunk->columns * piece.pitch,
                                   .column = piece.pitch};
    const bool rows_follow = s->s[1] == chunk->columns * s->s[2];
    const ptrdiff_t lines = rows_follow ? 1 : chunk->rows;
    const ptrdiff_t length = rows_follow ? chunk->rows * chunk->columns : chunk->columns;
    for (ptrdiff_t i = 0; i < chunk->images; i++)
        for (ptrdiff_t line = 0; line < lines; line++)
            job->kernels->copy(to + i * packed.image + line * packed.row, piece.pitch, 1,
                               dy + i * s->n + line * s->s[1], s->s[2], s->c, length,
                               piece.channels);
    return packed;
}

static packed_operand pack_x(const reduce_job *job, const cvl_chunk *chunk, ptrdiff_t group,
                             channel_piece piece, real *to) {
    const cvl_reduce *r = job->r;
    const cvl_phase *depth = r->axis[0].phases, *height = r->axis[1].phases;
    const cvl_phase *width = r->axis[2].phases;
    const ptrdiff_t in[] = {r->axis[0].in, r->axis[1].in, r->axis[2].in};
    const real *x = (const real *)r->x + chunk->image * r->x_strides.n +
                    (group * r->ic + piece.first) * r->x_strides.c;
    packed_operand packed = {
        .image = job->chunks.places * piece.pitch,
        .tile = {.map = {cvl_channel_map(depth, 1, 1), cvl_channel_map(height, 1, chunk->rows),
                         cvl_channel_map(width, 1, chunk->columns)},
                 .shift = {chunk->depth * depth->in_step, chunk->row * height->in_step,
                           chunk->column * width->in_step}}};
    for (ptrdiff_t i = 0; i < chunk->images; i++)
        pack_channels_together(&packed.tile, to + i * packed.image, piece.pitch,
                               x + i * r->x_strides.n, &r->x_strides, piece.channels, in,
                               job->kernels->copy);
    packed.row = packed.tile.position[1];
    packed.column = packed.tile.position[2];
    return packed;
}

/* Packs one operand of a chunk, piece by piece of `pitch` channels, `piece_room` elements apart. */
static packed_operand pack_operand(const reduce_job *job, bool of_x, const cvl_chunk *chunk,
                                   ptrdiff_t group, ptrdiff_t first, ptrdiff_t channels,
                                   ptrdiff_t pitch, ptrdiff_t piece_room, real *to) {
    packed_operand packed = {0};
    for (ptrdiff_t c = 0; c < channels; c += pitch, to += piece_room) {
        const channel_piece piece = {first + c, channels - c < pitch ? channels - c : pitch, pitch};
        packed = (of_x ? pack_x : pack_dy)(job, chunk, group, piece, to);
    }
    return packed;
}

/* The parts of a thread's workspace. */
typedef struct reduce_space {
    real *wide, *narrow;
    ptrdiff_t *a_row, *c_row, *b_row, *tap_offset;
    cvl_term *terms;
} reduce_space;

/* C[row][lane] += over the terms, for rows a_row and one strip of lanes; the terms are visited in
 * runs of at least `visit` positions, whose lines stay in cache while all rows pass over them. */
static void accumulate(const kernel_table *kernels, real *c, const ptrdiff_t *c_row, const real *a,
                       const ptrdiff_t *a_row, ptrdiff_t a_step, const real *b,
                       const ptrdiff_t *b_row, ptrdiff_t vectors, const cvl_term *terms,
                       ptrdiff_t n_terms, ptrdiff_t n_rows) {
    const ptrdiff_t tile_rows = kernels->rows[vectors - 1];
    const ptrdiff_t tiles = (n_rows + tile_rows - 1) / tile_rows;
    for (ptrdiff_t first = 0, last = 0; first < n_terms; first = last) {
        for (ptrdiff_t positions = 0; last < n_terms && positions < least_visit; last++)
            positions += terms[last].length;
        for (ptrdiff_t tile = 0; tile < tiles; tile++) {
            const ptrdiff_t m0 = n_rows * tile / tiles, m1 = n_rows * (tile + 1) / tiles;
            kernels->product_tile[vectors - 1][m1 - m0 - 1](c, c_row + m0, c, c_row + m0, false, a,
                                                            a_row + m0, a_step, b, b_row,
                                                            terms + first, last - first);
        }
    }
}

/* Elements a piece of an operand takes, for the largest chunk. */
static ptrdiff_t piece_room(const reduce_job *job, bool of_x, ptrdiff_t pitch) {
    const cvl_chunks *c = &job->chunks;
    const ptrdiff_t positions = of_x ? c->places : cvl_scale_bytes(c->rows, c->columns);
    return cvl_scale_bytes(cvl_scale_bytes(c->images, positions), pitch);
}

static void reduce_chunk(const reduce_job *job, const reduce_block *block, const cvl_chunk *chunk,
                         const reduce_space *space) {
    const cvl_reduce *r = job->r;
    const bool lanes_of_x = job->lanes_of_x;
    const ptrdiff_t line = line_channels, strip = job->strip;
    const ptrdiff_t narrow_room = piece_room(job, !lanes_of_x, line);
    const ptrdiff_t wide_room = piece_room(job, lanes_of_x, strip);
    const packed_operand narrow = pack_operand(job, !lanes_of_x, chunk, block->group, block->narrow,
                                               block->rows, line, narrow_room, space->narrow);
    const packed_operand wide = pack_operand(job, lanes_of_x, chunk, block->group, block->wide,
                                             block->lanes, strip, wide_room, space->wide);

    ptrdiff_t n_terms = 0;
    for (ptrdiff_t i = 0; i < chunk->images; i++)
        for (ptrdiff_t row = 0; row < chunk->rows; row++)
            space->terms[n_terms++] = (cvl_term){.a = i * narrow.image + row * narrow.row,
                                                 .b = (i * chunk->rows + row) * chunk->columns,
                                                 .length = chunk->columns};
    for (ptrdiff_t i = 0, n = 0; i < chunk->images; i++)
        for (ptrdiff_t row = 0; row < chunk->rows; row++)
            for (ptrdiff_t column = 0; column < chunk->columns; column++)
                space->b_row[n++] = i * wide.image + row * wide.row + column * wide.column;
    const cvl_phase *const phase[] = {r->axis[0].phases, r->axis[1].phases, r->axis[2].phases};
    const ptrdiff_t n_taps =
        list_tap_offsets(phase, lanes_of_x ? &wide.tile : &narrow.tile, space->tap_offset);

    /* Rows of the product: with the lanes of dy, (piece, tap, channel) of x; else channels of dy. */
    const ptrdiff_t row_taps = lanes_of_x ? 1 : n_taps;
    ptrdiff_t n_rows = 0;
    for (ptrdiff_t first = 0; first < block->rows; first += line) {
        const ptrdiff_t last = block->rows - first < line ? block->rows : first + line;
        for (ptrdiff_t t = 0; t < row_taps; t++)
            for (ptrdiff_t c = first; c < last; c++, n_rows++) {
                space->a_row[n_rows] = first / line * narrow_room + c - first +
                                       (lanes_of_x ? 0 : space->tap_offset[t]);
                space->c_row[n_rows] = (t * block->rows + c) * block->width;
            }
    }
    for (ptrdiff_t lane = 0, s = 0; lane < block->width; lane += strip, s++) {
        const ptrdiff_t left = block->width - lane, width = left < strip ? left : strip;
        for (ptrdiff_t t = 0; t < (lanes_of_x ? n_taps : 1); t++)
            accumulate(job->kernels, block->sums + t * block->rows * block->width + lane,
                       space->c_row, space->narrow, space->a_row, narrow.column,
                       space->wide + s * wide_room + (lanes_of_x ? space->tap_offset[t] : 0),
                       space->b_row, width / job->kernels->lanes, space->terms, n_terms, n_rows);
    }
}

static void reduce_task(const reduce_job *job, ptrdiff_t index, char *memory) {
    const cvl_reduce *r = job->r;
    const cvl_chunks *chunks = &job->chunks;
    const ptrdiff_t split = index % job->splits;
    reduce_block block = nth_block(job, index / job->splits);
    block.sums += split * job->partial_count;
    memset(block.sums, 0, (size_t)(job->taps * block.rows * block.width) * sizeof(real));

    cvl_arena arena = {.memory = memory};
    const reduce_space space = {
        .wide = cvl_take(&arena, job->wide_room, sizeof(real)),
        .narrow = cvl_take(&arena, job->narrow_room, sizeof(real)),
        .a_row = cvl_take(&arena, job->taps * job->most_rows, sizeof(ptrdiff_t)),
        .c_row = cvl_take(&arena, job->taps * job->most_rows, sizeof(ptrdiff_t)),
        .b_row =
            cvl_take(&arena, chunks->images * chunks->rows * chunks->columns, sizeof(ptrdiff_t)),
        .tap_offset = cvl_take(&arena, job->taps, sizeof(ptrdiff_t)),
        .terms = cvl_take(&arena, chunks->images * chunks->rows, sizeof(cvl_term))};
    const ptrdiff_t last = chunks->count * (split + 1) / job->splits;
    for (ptrdiff_t c = chunks->count * split / job->splits; c < last; c++) {
        const cvl_chunk chunk = cvl_nth_chunk(r, chunks, c);
        reduce_chunk(job, &block, &chunk, &space);
    }
}

static void reduce_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const reduce_job *job = context;
    for (ptrdiff_t i = begin; i < end; i++)
        reduce_task(job, i, job->workspace + thread * job->workspace_bytes);
}

/* Adds the partial results of a block in order and stores it in dw. */
static void finish_blocks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const reduce_job *job = context;
    const cvl_reduce *r = job->r;
    const cvl_weight_strides *to = &r->dw_strides;
    real *scratch = (real *)(job->workspace + thread * job->workspace_bytes);
    for (ptrdiff_t index = begin; index < end; index++) {
        const reduce_block block = nth_block(job, index);
        const ptrdiff_t count = job->taps * block.rows * block.width;
        for (ptrdiff_t split = 1; split < job->splits; split++) {
            const real *other = block.sums + split * job->partial_count;
            for (ptrdiff_t i = 0; i < count; i++)
                block.sums[i] += other[i];
        }
        const ptrdiff_t oc = job->lanes_of_x ? block.narrow : block.wide;
        const ptrdiff_t ic = job->lanes_of_x ? block.wide : block.narrow;
        weight_block weights = {.w = (real *)r->dw + (block.group * r->oc + oc) * to->oc +
                                     ic * to->ic,
                                .oc = job->lanes_of_x ? to->ic : to->oc,
                                .ic = job->lanes_of_x ? to->oc : to->ic,
                                .all_taps = true,
                                .channels = block.rows,
                                .lanes = block.lanes,
                                .width = block.width};
        for (int i = 0; i < CVL_AXES; i++) {
            weights.k[i] = to->k[i];
            weights.size[i] = r->axis[i].phases->taps;
            weights.all_taps &= weights.size[i] == r->axis[i].k;
            weights.order[i] = r->axis[i].tap_order + r->axis[i].phases->tap_first;
        }
        unpack_weights(&weights, block.sums, scratch, job->kernels->copy);
    }
}

cvl_status CVL_TYPED(cvl_reduce_channels)(const cvl_reduce *r, const cvl_kernels *all_kernels,
                               bool lanes_of_x) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    reduce_job job = {.r = r, .kernels = kernels, .lanes_of_x = lanes_of_x};
    const ptrdiff_t lanes = kernels->lanes, size = (ptrdiff_t)sizeof(real);
    const ptrdiff_t taps[] = {r->axis[0].phases->taps, r->axis[1].phases->taps,
                              r->axis[2].phases->taps};
    job.taps = taps[0] * taps[1] * taps[2];
    job.wide = lanes_of_x ? r->ic : r->oc;
    job.narrow = lanes_of_x ? r->oc : r->ic;
    job.vectors = (job.wide + lanes - 1) / lanes;

    /* A block is wide enough to pay for packing the narrow operand again for each of them. */
    job.strip = (job.vectors < kernels->vectors ? job.vectors : kernels->vectors) * lanes;
    const ptrdiff_t repay = job.taps == 1 ? 256 : 64;
    const ptrdiff_t most_wide = (repay > job.strip ? repay : job.strip) / lanes;
    job.n_wide = (job.vectors + most_wide - 1) / most_wide;
    const ptrdiff_t block_wide = (job.vectors + job.n_wide - 1) / job.n_wide * lanes;

    /* A block is as high as leaves room for enough positions of the narrow operand in the cache. */
    const ptrdiff_t line = line_channels, enough = least_visit;
    for (job.n_narrow = 1;; job.n_narrow *= 2) {
        job.most_rows = (job.narrow + job.n_narrow - 1) / job.n_narrow;
        job.chunks = cvl_cut_reduce(
            r, cvl_channel_map, (lanes_of_x ? block_wide : job.most_rows) * size,
            (lanes_of_x ? job.most_rows : block_wide) * size, cvl_l2_bytes() / 4 * 3, enough);
        if (job.most_rows <= 4 * line ||
            job.chunks.images * job.chunks.rows * job.chunks.columns >= enough / 2 ||
            job.chunks.count == job.chunks.n_images)
            break;
    }
    const ptrdiff_t blocks = r->groups * job.n_wide * job.n_narrow;
    job.partial_count =
        cvl_scale_bytes(cvl_scale_bytes(job.taps * job.narrow, job.vectors * lanes), r->groups);
    job.splits = cvl_reduce_splits(&job.chunks, blocks, cvl_scale_bytes(job.partial_count, size));

    const ptrdiff_t wide_pieces = (block_wide + job.strip - 1) / job.strip;
    const ptrdiff_t narrow_pieces = (job.most_rows + line - 1) / line;
    job.wide_room = cvl_scale_bytes(piece_room(&job, lanes_of_x, job.strip), wide_pieces);
    job.narrow_room = cvl_scale_bytes(piece_room(&job, !lanes_of_x, line), narrow_pieces);
    ptrdiff_t bytes = cvl_add_bytes(cvl_part_bytes(job.wide_room, sizeof(real)),
                                    cvl_part_bytes(job.narrow_room, sizeof(real)));
    bytes = cvl_add_bytes(bytes, 2 * cvl_part_bytes(job.taps * job.most_rows, sizeof(ptrdiff_t)));
    bytes = cvl_add_bytes(bytes, cvl_part_bytes(job.taps, sizeof(ptrdiff_t)));
    bytes = cvl_add_bytes(bytes,
                          cvl_part_bytes(job.chunks.images * job.chunks.rows * job.chunks.columns,
                                         sizeof(ptrdiff_t)));
    bytes =
        cvl_add_bytes(bytes, cvl_part_bytes(job.chunks.images * job.chunks.rows, sizeof(cvl_term)));
    const ptrdiff_t scratch = cvl_part_bytes(weight_scratch(taps, block_wide), sizeof(real));
    job.workspace_bytes = bytes > scratch ? bytes : scratch;

    const ptrdiff_t tasks = blocks * job.splits;
    const int threads = cvl_threads_for(tasks, r->work);
    const ptrdiff_t partials = cvl_scale_bytes(job.partial_count, job.splits);
    char *memory = cvl_alloc((size_t)cvl_add_bytes(cvl_part_bytes(partials, sizeof(real)),
                                                   cvl_scale_bytes(job.workspace_bytes, threads)));
    if (!memory)
        return CVL_NO_MEMORY;
    job.partial = (real *)memory;
    job.workspace = memory + cvl_part_bytes(partials, sizeof(real));
    cvl_parallel_for(tasks, 1, threads, reduce_tasks, &job);
    cvl_parallel_for(blocks, 1, threads, finish_blocks, &job);
    cvl_free(memory);
    return CVL_OK;
}
