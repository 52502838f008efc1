/* Weight gradient by Winograd's minimal filtering, channels of dy along the lanes. Included by
 * drivers_impl.h.
 *
 * The transpose of the gather's (math.md): inputs are transformed as there, dy as results are
 * backwards, and products summed over tiles, for each point by itself:
 *
 *     C[point][part, i][o] += sum over tiles of x[point][tile][part, i] * dy[point][tile][o]
 *
 * At the end the points of each channel become its taps. A task sums its share of the chunks, some
 * tiles of some planes of one depth, for one block of channels of both.
 */

typedef struct winograd_sums_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    winograd_view view;
    ptrdiff_t vectors, n_wide, n_narrow; /* of a group's channels of dy; blocks */
    ptrdiff_t most_wide, most_rows;      /* lanes and channels of x of a block */
    ptrdiff_t x_pitch, x_point;          /* of transformed inputs */
    ptrdiff_t dy_pitch, dy_point;        /* and of dy */
    ptrdiff_t sum_point, count;          /* of sums, [point][depth tap, part, i][lane], and all */
    ptrdiff_t blocks, chunks, splits;    /* of all groups; partial sums of each block */
    bool stream;                         /* whether dw is written past the caches */
    bool finite;                         /* whether all results are */
    real *partial;                       /* [block][split][sums], if any are split; else NULL */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} winograd_sums_job;

typedef struct winograd_sums_space {
    real *sums, *tile, *x, *dy, *taps;
    ptrdiff_t *a_row, *c_row, *b_row;
    cvl_term *terms;
} winograd_sums_space;

static const ptrdiff_t only_filter[CVL_AXES];

static reduce_block nth_sums_block(const winograd_sums_job *job, ptrdiff_t index) {
    const block_cut cut = {job->r->oc,  job->r->ic,    job->vectors,
                           job->n_wide, job->n_narrow, job->kernels->lanes};
    return cut_block(&cut, index);
}

/* Transforms a plane's share of dy; positions that it does not have are zero. */
static void transform_dy(const winograd_sums_job *job, const reduce_block *block,
                         const winograd_plane *plane, ptrdiff_t depth,
                         const winograd_sums_space *space) {
    const cvl_reduce *r = job->r;
    const cvl_winograd_axis *axis = job->view.axis;
    const ptrdiff_t out[] = {r->axis[0].out, r->axis[1].out, r->axis[2].out};
    const winograd_inputs from = {.src = (const real *)r->dy + plane->image * r->dy_strides.n +
                                         (block->group * r->oc + block->wide) * r->dy_strides.c,
                                  .strides = &r->dy_strides,
                                  .channels = block->lanes};
    input_tile tile = {.map = {place_run(depth, 1, 1, 1)}};
    for (int i = 1; i < CVL_AXES; i++) {
        const cvl_phase *phase = &plane->phase[i];
        tile.map[i] =
            place_run(phase->out_first, phase->out_step, plane->tiles[i] * axis[i].outputs, 1);
        tile.shift[i] = plane->at[i] * axis[i].outputs * phase->out_step;
    }
    bring_places(&tile, &from, out, job->kernels->copy, space->tile);
    for (ptrdiff_t line = 0; line < plane->tiles[1]; line++)
        job->view.transforms->gradients(
            space->dy + (plane->first + line * plane->tiles[2]) * job->dy_pitch, job->dy_point,
            job->dy_pitch, tile.base + line * axis[1].outputs * tile.position[1], tile.position[1],
            tile.position[2], plane->tiles[2], block->lanes);
}

/* A chunk of tiles: at one depth of dy, which meets some taps of the depth. */
typedef struct winograd_chunk {
    ptrdiff_t depth, first_tap, last_tap;
    ptrdiff_t at[CVL_AXES], planes;
    ptrdiff_t tiles;
} winograd_chunk;

static winograd_chunk nth_winograd_chunk(const winograd_sums_job *job, ptrdiff_t index) {
    winograd_chunk c = {0};
    c.depth = nth_cut(&job->view, index, c.at, &c.planes);
    taps_inside(job->r->axis[0].phases, c.depth, job->r->axis[0].in, &c.first_tap, &c.last_tap);
    return c;
}

/* Brings and transforms both operands of a chunk. */
static void bring_chunk(const winograd_sums_job *job, const reduce_block *block,
                        winograd_chunk *chunk, const winograd_sums_space *space) {
    const cvl_reduce *r = job->r;
    const cvl_phase *depth = r->axis[0].phases;
    winograd_plane plane;
    for (ptrdiff_t i = 0; i < chunk->planes; i++) {
        if (!nth_plane(&job->view, only_filter, chunk->at, chunk->at[0] + i, &plane))
            continue;
        plane.first = chunk->tiles;
        chunk->tiles += plane.tiles[1] * plane.tiles[2];
        transform_dy(job, block, &plane, chunk->depth, space);
        for (ptrdiff_t tap = chunk->first_tap; tap < chunk->last_tap; tap++) {
            const winograd_inputs inputs = {
                .src = (const real *)r->x + plane.image * r->x_strides.n +
                       (block->group * r->ic + block->narrow) * r->x_strides.c,
                .strides = &r->x_strides,
                .channels = block->rows,
                .to = space->x + tap * job->view.parts * block->rows,
                .to_tile = job->x_pitch,
                .to_point = job->x_point};
            transform_inputs(&job->view, only_filter, &plane,
                             depth->in_first + chunk->depth * depth->in_step +
                                 tap * depth->tap_step,
                             &inputs, job->kernels->copy, space->tile);
        }
    }
}

/* Adds one chunk to the sums: for every point, panels of dy that stay in the level-1 cache times
 * the channels of all parts that take part in it. */
static void add_winograd_chunk(const winograd_sums_job *job, const reduce_block *block,
                               const winograd_chunk *chunk, const winograd_sums_space *space,
                               real *sums) {
    const kernel_table *kernels = job->kernels;
    const ptrdiff_t lanes = kernels->lanes, vectors = block->width / lanes;
    const ptrdiff_t strips = cvl_ceil_div(vectors, kernels->vectors), parts = job->view.parts;
    const ptrdiff_t cut = cvl_even_size(chunk->tiles, winograd_cut(job->view.all[0]));
    ptrdiff_t n_terms = 0;
    for (ptrdiff_t tile = 0; tile < chunk->tiles; tile += cut)
        space->terms[n_terms++] = (cvl_term){.a = tile * job->x_pitch,
                                             .b = tile,
                                             .length = cvl_least(cut, chunk->tiles - tile),
                                             .b_step = job->dy_pitch,
                                             .flush = true};
    for (ptrdiff_t i = 0; i < (chunk->last_tap * parts) * block->rows; i++)
        space->c_row[i] = i * block->width;
    for (ptrdiff_t point = 0; point < job->view.points; point++)
        for (ptrdiff_t s = 0; s < strips; s++) {
            const ptrdiff_t lane = vectors * s / strips * lanes;
            const ptrdiff_t width = vectors * (s + 1) / strips * lanes - lane;
            real *const c = sums + point * job->sum_point + lane;
            const ptrdiff_t last = chunk->last_tap * parts;
            for (ptrdiff_t p = chunk->first_tap * parts, end; p < last; p = end + 1) {
                for (end = p;
                     end < last && part_meets(&job->view, only_filter, end % parts, point);)
                    end++;
                const ptrdiff_t row = p * block->rows;
                const product products = {.c = c,
                                          .c_row = space->c_row + row,
                                          .init = c,
                                          .init_row = space->c_row + row,
                                          .a = space->x + point * job->x_point,
                                          .a_row = space->a_row + row,
                                          .a_step = job->x_pitch,
                                          .b = space->dy + point * job->dy_point + lane,
                                          .b_row = space->b_row,
                                          .terms = space->terms,
                                          .n_terms = n_terms};
                multiply(kernels, &products, (end - p) * block->rows, width, &no_asks);
            }
        }
}

/* The parts of a thread's workspace; without memory, only its size. */
static winograd_sums_space sums_layout(const winograd_sums_job *job, cvl_arena *memory) {
    const winograd_view *v = &job->view;
    const ptrdiff_t tiles = tiles_together(v), taps = job->r->axis[1].k * job->r->axis[2].k;
    const ptrdiff_t positions = v->size[1] * v->axis[1].outputs * v->size[2] * v->axis[2].outputs;
    const ptrdiff_t rows = job->r->axis[0].k * v->parts * job->most_rows;
    const ptrdiff_t x_places = most_places(v) * job->most_rows;
    const ptrdiff_t dy_places = positions * job->most_wide;
    winograd_sums_space space;
    space.sums = cvl_take(memory, job->partial ? 0 : job->count, sizeof(real));
    space.tile = cvl_take(memory, x_places > dy_places ? x_places : dy_places, sizeof(real));
    space.x = cvl_take(memory, v->points * job->x_point, sizeof(real));
    space.dy = cvl_take(memory, v->points * job->dy_point, sizeof(real));
    space.taps = cvl_take(memory, strip * taps * job->most_wide, sizeof(real));
    space.a_row = cvl_take(memory, rows, sizeof(ptrdiff_t));
    space.c_row = cvl_take(memory, rows, sizeof(ptrdiff_t));
    space.b_row = cvl_take(memory, tiles, sizeof(ptrdiff_t));
    space.terms = cvl_take(memory, tiles, sizeof(cvl_term));
    for (ptrdiff_t i = 0; i < rows && memory->memory; i++)
        space.a_row[i] = i;
    for (ptrdiff_t i = 0; i < tiles && memory->memory; i++)
        space.b_row[i] = i * job->dy_pitch;
    return space;
}

static winograd_sums_space sums_space_of(const winograd_sums_job *job, int thread) {
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    return sums_layout(job, &memory);
}

/* Sums one share of the chunks of a block. */
static void sum_chunks(const winograd_sums_job *job, const reduce_block *block, ptrdiff_t split,
                       const winograd_sums_space *space, real *sums) {
    memset(sums, 0, (size_t)job->count * sizeof(real));
    const ptrdiff_t last = job->chunks * (split + 1) / job->splits;
    for (ptrdiff_t c = job->chunks * split / job->splits; c < last; c++) {
        winograd_chunk chunk = nth_winograd_chunk(job, c);
        if (chunk.first_tap >= chunk.last_tap)
            continue;
        bring_chunk(job, block, &chunk, space);
        if (chunk.tiles > 0) /* not all phases have as many as the first */
            add_winograd_chunk(job, block, &chunk, space, sums);
    }
}

/* ---- results -------------------------------------------------------------------------------- */

/* Makes the taps of some channels of x at one tap of the depth, [channel][tap][lane]. Returns
 * whether all of them are finite. */
static bool transform_sums(const winograd_sums_job *job, const reduce_block *block, ptrdiff_t tap,
                           ptrdiff_t channel, ptrdiff_t channels, const real *sums, real *to) {
    const winograd_view *v = &job->view;
    const ptrdiff_t columns = job->r->axis[2].k, taps = job->r->axis[1].k * columns;
    bool finite = true;
    for (ptrdiff_t p = 0; p < v->parts; p++) {
        ptrdiff_t part[CVL_AXES];
        winograd_parts(v, p, part);
        const cvl_winograd_part *row = &v->axis[1].filter[0].part[part[1]];
        const cvl_winograd_part *column = &v->axis[2].filter[0].part[part[2]];
        for (ptrdiff_t i = 0; i < channels; i++)
            finite &= v->transforms->taps(
                to + (i * taps + row->first * columns + column->first) * block->width,
                v->axis[1].step * columns * block->width, v->axis[2].step * block->width, row->taps,
                column->taps,
                sums + ((tap * v->parts + p) * block->rows + channel + i) * block->width,
                job->sum_point, block->lanes);
    }
    return finite;
}

/* Stores the taps of some channels at one tap of the depth. */
static void store_taps(const winograd_sums_job *job, const reduce_block *block, ptrdiff_t channels,
                       const real *from, real *w) {
    enum { few_rows = 16 };
    const cvl_weight_strides *to = &job->r->dw_strides;
    const ptrdiff_t rows = job->r->axis[1].k, columns = job->r->axis[2].k, taps = rows * columns;
    copy_kernel *const copy = copy_results(job->kernels, job->stream);
    if (taps_adjoin(job->r->axis, to->k)) {
        /* Channels that adjoin, too, are one row. A few rows are written at a time: filters a power
         * of two apart fall into few sets of a cache. */
        const ptrdiff_t together = to->ic == taps ? channels : 1;
        for (ptrdiff_t i = 0; i < channels; i += together)
            for (ptrdiff_t lane = 0; lane < block->lanes; lane += few_rows)
                copy(w + i * to->ic + lane * to->oc, to->oc, 1,
                     from + i * taps * block->width + lane, 1, block->width,
                     cvl_least(few_rows, block->lanes - lane), together * taps);
        return;
    }
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            copy(w + i * to->k[1] + j * to->k[2], to->ic, to->oc,
                 from + (i * columns + j) * block->width, taps * block->width, 1, channels,
                 block->lanes);
}

/* Adds the partial sums of a strip of a block's channels, at one tap of the depth, to the first. */
static void add_strip(const winograd_sums_job *job, const reduce_block *block, ptrdiff_t tap,
                      ptrdiff_t channel, ptrdiff_t channels, real *sums) {
    const ptrdiff_t parts = job->view.parts;
    for (ptrdiff_t point = 0; point < job->view.points; point++)
        for (ptrdiff_t p = tap * parts; p < (tap + 1) * parts; p++) {
            const ptrdiff_t first =
                point * job->sum_point + (p * block->rows + channel) * block->width;
            add_partials(sums, job->splits, job->count, first, first + channels * block->width);
        }
}

/* Makes weights of a strip of a block's channels, at one tap of the depth. Returns whether all of
 * them are finite. */
static bool store_strip(const winograd_sums_job *job, const reduce_block *block, ptrdiff_t number,
                        real *sums, const winograd_sums_space *space) {
    const cvl_weight_strides *to = &job->r->dw_strides;
    const ptrdiff_t depths = job->r->axis[0].k, tap = number % depths;
    const ptrdiff_t channel = number / depths * strip;
    const ptrdiff_t channels = cvl_least(strip, block->rows - channel);
    if (channels <= 0) /* not every block has as many */
        return true;
    if (job->partial)
        add_strip(job, block, tap, channel, channels, sums);
    const bool finite = transform_sums(job, block, tap, channel, channels, sums, space->taps);
    store_taps(job, block, channels, space->taps,
               (real *)job->r->dw + (block->group * job->r->oc + block->wide) * to->oc +
                   (block->narrow + channel) * to->ic + tap * to->k[0]);
    return finite;
}

static ptrdiff_t strips_of_block(const winograd_sums_job *job) {
    return job->r->axis[0].k * cvl_ceil_div(job->most_rows, strip);
}

static void note_finite(winograd_sums_job *job, bool finite) {
    if (!finite)
        __atomic_store_n(&job->finite, false, __ATOMIC_RELAXED);
}

static void sum_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    winograd_sums_job *job = context;
    const winograd_sums_space space = sums_space_of(job, thread);
    bool finite = true;
    for (ptrdiff_t i = begin; i < end; i++) {
        const reduce_block block = nth_sums_block(job, i / job->splits);
        real *const sums = job->partial ? job->partial + i * job->count : space.sums;
        sum_chunks(job, &block, i % job->splits, &space, sums);
        for (ptrdiff_t n = 0; n < strips_of_block(job) && !job->partial; n++)
            finite &= store_strip(job, &block, n, sums, &space);
    }
    note_finite(job, finite);
    end_stream(job->stream);
}

static void strip_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    winograd_sums_job *job = context;
    const winograd_sums_space space = sums_space_of(job, thread);
    const ptrdiff_t strips = strips_of_block(job);
    bool finite = true;
    for (ptrdiff_t i = begin; i < end; i++) {
        const reduce_block block = nth_sums_block(job, i / strips);
        finite &= store_strip(job, &block, i % strips,
                              job->partial + i / strips * job->splits * job->count, &space);
    }
    note_finite(job, finite);
    end_stream(job->stream);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Cuts the channels into n_wide times n_narrow blocks, so that the sums of each stay near, and the
 * operands, each transformed again for every block of the other, are moved as little as can be. */
static void cut_sums(winograd_sums_job *job) {
    enum { sum_bytes = 1 << 20 };
    const cvl_reduce *r = job->r;
    const ptrdiff_t lanes = job->kernels->lanes, parts = r->axis[0].k * job->view.parts;
    const ptrdiff_t most = sum_bytes / (ptrdiff_t)sizeof(real) / (job->view.points * parts);
    double least_moves = 0;
    job->vectors = cvl_ceil_div(r->oc, lanes);
    for (ptrdiff_t n = 1; n == 1 || job->vectors / n >= job->kernels->vectors; n++) {
        const ptrdiff_t wide = cvl_ceil_div(job->vectors, n) * lanes;
        ptrdiff_t n_narrow = cvl_ceil_div(r->ic * wide, most);
        n_narrow = r->ic / n_narrow >= 2 * lanes ? n_narrow : r->ic / (2 * lanes);
        n_narrow = n_narrow > 1 ? n_narrow : 1;
        const double moves = (double)(n * r->ic * parts) + (double)(n_narrow * r->oc);
        if (n > 1 && moves >= least_moves)
            continue;
        least_moves = moves;
        job->n_wide = n;
        job->n_narrow = n_narrow;
        job->most_wide = wide;
        job->most_rows = cvl_ceil_div(r->ic, n_narrow);
    }
}

/* Cuts the tiles into chunks: so many together that the sums, which all of them visit, are not most
 * of what is read, and that what they need stays near; smaller ones where they would be few. */
static void cut_sum_chunks(winograd_sums_job *job) {
    enum { least_tiles = 32, enough_tiles = 48, few_tasks = 8, enough_bytes = 1 << 20 };
    const cvl_reduce *r = job->r;
    winograd_view *v = &job->view;
    const ptrdiff_t depths = r->axis[0].out, tiles = v->all[0] * v->all[1] * v->all[2] * depths;
    const ptrdiff_t rows = r->axis[0].k * v->parts * job->most_rows;
    const ptrdiff_t blocks = r->groups * job->n_wide * job->n_narrow;
    ptrdiff_t most = enough_bytes / (v->points * (rows + job->most_wide) * (ptrdiff_t)sizeof(real));
    const ptrdiff_t shared = cvl_ceil_div(tiles * blocks, few_tasks);
    if (shared < most)
        most = shared > enough_tiles ? shared : cvl_least(most, enough_tiles);
    cut_planes(v, most > least_tiles ? most : least_tiles);
    job->chunks = depths * v->cuts[0] * v->cuts[1] * v->cuts[2];
    /* Half of what partial results may take: the operands take more here than elsewhere. */
    job->splits =
        cvl_reduce_splits(job->chunks, blocks,
                          2 * blocks * v->points * rows * job->most_wide * (ptrdiff_t)sizeof(real));
}

/* Makes smaller blocks until threads share them well. Unlike the chunks and splits, that changes no
 * sum. */
static void share_sums(winograd_sums_job *job) {
    const cvl_reduce *r = job->r;
    const ptrdiff_t each = r->groups * job->n_wide * job->splits;
    while (!cvl_shared_well(each * job->n_narrow, r->work) &&
           r->ic / (job->n_narrow + 1) >= 2 * job->kernels->lanes)
        job->n_narrow++;
    job->most_rows = cvl_ceil_div(r->ic, job->n_narrow);
    job->blocks = r->groups * job->n_wide * job->n_narrow;
}

cvl_status
CVL_TYPED(cvl_reduce_winograd)(const cvl_reduce *r, const cvl_kernels *all_kernels, bool *finite) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    winograd_sums_job job = {.r = r, .kernels = kernels, .finite = true};
    winograd_view *const v = &job.view;
    *v = view_winograd(kernels, r->axis, r->n);
    job.stream = stream_weights(r);
    cut_sums(&job);
    cut_sum_chunks(&job);
    share_sums(&job);
    const ptrdiff_t rows = r->axis[0].k * v->parts * job.most_rows;
    job.x_pitch = channel_room(rows);
    job.dy_pitch = channel_room(job.most_wide);
    job.x_point = channel_room(tiles_together(v) * job.x_pitch);
    job.dy_point = channel_room(tiles_together(v) * job.dy_pitch);
    job.sum_point = channel_room(rows * job.most_wide);
    job.count = v->points * job.sum_point;

    const ptrdiff_t tasks = job.blocks * job.splits;
    int threads = cvl_threads_for(tasks, r->work);
    const ptrdiff_t partial_bytes =
        job.splits > 1 ? cvl_part_bytes(tasks * job.count, sizeof(real)) : 0;
    real nowhere;
    job.partial = job.splits > 1 ? &nowhere : NULL; /* known once there is memory */
    cvl_arena arena = {0};
    sums_layout(&job, &arena);
    job.workspace_bytes = arena.bytes;
    char *const memory = cvl_alloc_workspace(partial_bytes, job.workspace_bytes, &threads);
    if (!memory)
        return CVL_NO_MEMORY;
    if (job.partial)
        job.partial = (real *)memory;
    job.workspace = memory + partial_bytes;
    cvl_parallel_for(tasks, 1, threads, sum_tasks, &job);
    if (job.partial)
        cvl_parallel_for(job.blocks * strips_of_block(&job), 1, threads, strip_tasks, &job);
    cvl_free(memory);
    *finite = job.finite;
    return CVL_OK;
}

void CVL_TYPED(cvl_take_unusual_weights)(const cvl_reduce *r, const cvl_reduce *again) {
    const cvl_weight_strides *to = &r->dw_strides, *from = &again->dw_strides;
    const ptrdiff_t size[] = {r->axis[0].k, r->axis[1].k, r->axis[2].k};
    const ptrdiff_t taps = size[0] * size[1] * size[2];
    for (ptrdiff_t o = 0; o < r->groups * r->oc; o++)
        for (ptrdiff_t i = 0; i < r->ic * taps; i++) {
            const ptrdiff_t channel = i / taps, d = i / (size[1] * size[2]) % size[0];
            const ptrdiff_t h = i / size[2] % size[1], w = i % size[2];
            real *const dw = (real *)r->dw + o * to->oc + channel * to->ic + d * to->k[0] +
                             h * to->k[1] + w * to->k[2];
            if (*dw - *dw != 0) /* infinite, or NaN */
                *dw = ((const real *)again->dw)[o * from->oc + i];
        }
}
