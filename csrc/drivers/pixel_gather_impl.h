/* Gather with neighbouring destination positions along the lanes. Included by drivers_impl.h.
 *
 * A task takes a block of destination rows of one image and a few groups and brings their inputs
 * together in a tile whose rows follow one another, so that destination (row, column) reads, for
 * tap k, place row*line + column + offset[k]: one long line of positions, whatever the stride. What
 * the line computes between the end of a row and the start of the next is not kept.
 *
 * Width phases that read alike are one product, and share what it loads: position q of a phase is
 * position q + shift of a frame that all of them are in.
 *
 * Where the kernel has one tap, and its inputs stand as such a line, they are read where they do: a
 * few channels at a time, so that long streams of them are.
 */

/* Width phases that are summed together, in the order of their destinations in a frame position:
 * phase i's, of frame position f, stands at first[i] + out_step*f. */
typedef struct phase_comb {
    ptrdiff_t n;
    const cvl_phase *phase[CVL_MAX_ROWS], *base; /* the one with no shift */
    ptrdiff_t shift[CVL_MAX_ROWS], first[CVL_MAX_ROWS];
} phase_comb;

typedef struct pixel_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    cvl_blocks blocks;
    bool stream;                 /* whether results are written past the caches */
    bool interleaved;            /* whether the channels of dst are contiguous, and not its rows */
    bool lines;                  /* whether inputs stand as the lines that are made of them, */
    bool in_place;               /* and are read there */
    ptrdiff_t most_phases;       /* that are summed together */
    ptrdiff_t bundle, n_bundles; /* groups of a task, and how many such bundles there are */
    ptrdiff_t steps;             /* the most steps of a reduction, over all width phases together */
    ptrdiff_t line_room;         /* elements of the longest line of positions, in whole vectors */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} pixel_job;

/* The parts of a thread's workspace, and what it still holds of the task before. Without memory,
 * only its size is counted. */
typedef struct pixel_space {
    real *tile, *out, *weights, *bias;
    ptrdiff_t *offset, *tap_offset, *tap_weight;
    ptrdiff_t bundle, rows;
    const cvl_phase *depth, *height; /* weights and offset are those of this bundle and phases */
    input_tile held;                 /* what the tile holds, */
    ptrdiff_t image, held_bundle;    /* of this image and bundle; -1: nothing */
    ptrdiff_t channel_size;          /* from channel to channel of it */
} pixel_space;

/* The comb of the phases from p on: as many as have the same taps and start less than a vector
 * apart. */
static phase_comb next_comb(const pixel_job *job, const cvl_phase *p) {
    const cvl_gather_axis *width = &job->g->axis[2];
    const cvl_phase *const end = width->phases + width->n_phases, *last = p;
    phase_comb comb = {.n = 1, .phase = {p}, .base = p};
    for (const cvl_phase *next = p + 1; next < end && comb.n < job->most_phases; next++) {
        const cvl_phase *const base = next->in_first < comb.base->in_first ? next : comb.base;
        last = next->in_first > last->in_first ? next : last;
        if (p->taps == 0 || next->taps != p->taps || next->tap_step != p->tap_step ||
            last->in_first - base->in_first >= job->kernels->lanes)
            break;
        comb.base = base;
        comb.phase[comb.n++] = next;
    }
    for (ptrdiff_t i = 0; i < comb.n; i++) {
        const cvl_phase *own = comb.phase[i];
        const ptrdiff_t shift = own->in_first - comb.base->in_first; /* in_step is 1 */
        const ptrdiff_t first = own->out_first - own->out_step * shift;
        ptrdiff_t at = i;
        for (; at > 0 && comb.first[at - 1] > first; at--) {
            comb.phase[at] = comb.phase[at - 1];
            comb.shift[at] = comb.shift[at - 1];
            comb.first[at] = comb.first[at - 1];
        }
        comb.phase[at] = own;
        comb.shift[at] = shift;
        comb.first[at] = first;
    }
    return comb;
}

static pixel_space pixel_layout(const pixel_job *job, cvl_arena *memory) {
    const cvl_gather *g = job->g;
    pixel_space space = {.bundle = -1, .held_bundle = -1};
    const ptrdiff_t taps = kernel_taps(g);
    const ptrdiff_t rows = g->oc * job->most_phases;
    const ptrdiff_t lines =
        job->interleaved ? job->bundle * rows : cvl_least(rows, job->kernels->pixel_rows);
    const ptrdiff_t room =
        job->in_place ? 0 : cvl_scale_bytes(channel_room(job->blocks.places), job->bundle * g->ic);
    space.tile = cvl_take(memory, cvl_add_bytes(room, CVL_MAX_LANES), sizeof(real));
    space.out = cvl_take(memory, cvl_scale_bytes(job->line_room, lines), sizeof(real));
    space.weights = cvl_take(memory, job->bundle * job->steps * g->oc, sizeof(real));
    space.bias = cvl_take(memory, job->bundle * g->oc, sizeof(real));
    space.offset = cvl_take(memory, job->steps, sizeof(ptrdiff_t));
    space.tap_offset = cvl_take(memory, taps, sizeof(ptrdiff_t));
    space.tap_weight = cvl_take(memory, taps, sizeof(ptrdiff_t));
    return space;
}

/* Whether each phase of a comb has one tap, whose weight stands behind that of the phase before. */
static bool weights_adjoin(const cvl_gather *g, const cvl_slab *slab, const phase_comb *comb) {
    const ptrdiff_t *order = g->axis[2].tap_order;
    bool adjoin = slab->depth->taps * slab->height->taps * comb->base->taps == 1 && g->w_k[2] == 1;
    for (ptrdiff_t k = 0; k < comb->n && adjoin; k++)
        adjoin = order[comb->phase[k]->tap_first] == order[comb->phase[0]->tap_first] + k;
    return adjoin;
}

/* The weights of phase k of a comb, or, where they adjoin, of all phases with the first; `taps` of
 * them are listed. */
static void pack_phase(const pixel_job *job, const pixel_space *space, const phase_comb *comb,
                       ptrdiff_t k, bool adjoin, ptrdiff_t taps, const real *w, real *rows) {
    const cvl_gather *g = job->g;
    const ptrdiff_t steps = g->ic * taps;
    if (adjoin) {
        if (k == 0)
            job->kernels->copy(rows, steps, 1, w + space->tap_weight[0], 1, g->w_ic, comb->n,
                               g->ic);
        return;
    }
    real *row = rows + k * steps;
    for (ptrdiff_t i = 0; i < g->ic; i++, w += g->w_ic)
        for (ptrdiff_t t = 0; t < taps; t++)
            *row++ = w[space->tap_weight[t]];
}

/* Where each step of the reduction reads, and its weights for a bundle of groups, one comb after
 * another: offset[step], weights[group][output channel][phase][step]. */
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
    for (ptrdiff_t p = 0, next; p < g->axis[2].n_phases; p = next) {
        const phase_comb comb = next_comb(job, &g->axis[2].phases[p]);
        const bool adjoin = weights_adjoin(g, slab, &comb);
        ptrdiff_t steps = 0;
        next = p + comb.n;
        for (ptrdiff_t k = 0; k < comb.n; k++) {
            const ptrdiff_t taps =
                list_taps(g, slab, comb.phase[k], tile, space->tap_offset, space->tap_weight);
            steps = g->ic * taps;
            for (ptrdiff_t i = 0; i < g->ic && comb.phase[k] == comb.base; i++)
                for (ptrdiff_t t = 0; t < taps; t++)
                    b[i * taps + t] = i * channel_size + space->tap_offset[t];
            for (ptrdiff_t o = 0; o < channels; o++) {
                const ptrdiff_t channel = first + o;
                pack_phase(job, space, &comb, k, adjoin, taps,
                           (const real *)g->w + channel / g->oc * g->w_group +
                               channel % g->oc * g->w_oc,
                           a + o * comb.n * steps);
            }
        }
        a += channels * comb.n * steps;
        b += steps;
    }
    for (ptrdiff_t o = 0; o < channels; o++)
        space->bias[o] = g->bias ? ((const real *)g->bias)[(first + o) * g->bias_stride] : 0;
    space->bundle = bundle;
    space->rows = slab->rows;
    space->depth = slab->depth;
    space->height = slab->height;
}

/* Where the results of a comb go. */
typedef struct pixel_target {
    real *dst; /* of the first channel, and of column 0 */
    const phase_comb *comb;
    ptrdiff_t rows, line;          /* of dst */
    ptrdiff_t origin;              /* the position that frame position 0 is */
    ptrdiff_t count[CVL_MAX_ROWS]; /* positions of each phase */
    ptrdiff_t columns;             /* of the frame */
} pixel_target;

/* Moves frame positions [from, end) of some phases of a comb, each with `channels` lines, row by
 * row to dst: all channels of a row together, of one channel all rows, or of one channel and row
 * all phases. */
static void store_part(const pixel_job *job, const pixel_target *to, const real *out,
                       ptrdiff_t line, ptrdiff_t first, ptrdiff_t channels, ptrdiff_t phase,
                       ptrdiff_t phases, ptrdiff_t from, ptrdiff_t end) {
    copy_kernel *const copy = copy_phases(job->g, job->kernels, job->stream);
    const cvl_data_strides *s = &job->g->dst_strides;
    const ptrdiff_t n = to->comb->n, out_step = to->comb->base->out_step;
    const ptrdiff_t column = to->comb->first[phase] + out_step * (to->origin + from);
    real *const dst = to->dst + first * s->c + column * s->s[2];
    out += phase * job->line_room + from;
    if (from >= end)
        return;
    if (phases > 1)
        for (ptrdiff_t c = 0; c < channels; c++)
            for (ptrdiff_t row = 0; row < to->rows; row++)
                copy(dst + c * s->c + row * to->line, s->s[2], out_step * s->s[2],
                     out + c * n * job->line_room + row * line, job->line_room, 1, phases,
                     end - from);
    else if (channels == 1)
        copy(dst, to->line, out_step * s->s[2], out, line, 1, to->rows, end - from);
    else
        for (ptrdiff_t row = 0; row < to->rows; row++)
            copy(dst + row * to->line, s->c, out_step * s->s[2], out + row * line,
                 n * job->line_room, 1, channels, end - from);
}

/* Moves `channels` channels' lines of sums to dst. Where the phases fill long rows of dst, those
 * positions that all phases have are moved together. */
static void store_lines(const pixel_job *job, const pixel_target *to, const real *out,
                        ptrdiff_t line, ptrdiff_t first, ptrdiff_t channels) {
    enum { long_rows = 2 }; /* vectors, of rows that repay a transposition each */
    const phase_comb *comb = to->comb;
    ptrdiff_t from = 0, end = to->columns;
    bool together = comb->n > 1 && comb->n == comb->base->out_step && !job->interleaved;
    for (ptrdiff_t k = 0; k < comb->n; k++) {
        from = comb->shift[k] > from ? comb->shift[k] : from;
        end = cvl_least(end, comb->shift[k] + to->count[k]);
        together = together && comb->first[k] == comb->first[0] + k;
    }
    together = together && end - from >= long_rows * job->kernels->lanes;
    if (together)
        store_part(job, to, out, line, first, channels, 0, comb->n, from, end);
    for (ptrdiff_t k = 0; k < comb->n; k++) {
        const ptrdiff_t last = comb->shift[k] + to->count[k];
        if (!together)
            from = end = last;
        store_part(job, to, out, line, first, channels, k, 1, comb->shift[k], from);
        store_part(job, to, out, line, first, channels, k, 1, end, last);
    }
}

/* What one comb of one group reads: its channels, rows `line` apart, and where each step of the
 * reduction does so. */
typedef struct pixel_source {
    const real *at;
    ptrdiff_t line;
    const ptrdiff_t *offset;
    ptrdiff_t steps, cut;            /* a cut is whole rows of taps, if they are not too long */
    ptrdiff_t row_taps, column_taps; /* where the steps are a grid over neighbouring rows; else 0 */
} pixel_source;

/* As many whole rows of taps as one cut holds; taps row by row, or one after another, are summed
 * alike. */
static ptrdiff_t whole_rows(ptrdiff_t column_taps, ptrdiff_t most) {
    return column_taps > 0 && column_taps <= most ? most / column_taps * column_taps : most;
}

/* Whether the steps are taps in a row, for each of several rows that follow one another as
 * positions do. */
static void find_grid(pixel_source *from, ptrdiff_t column_taps) {
    from->row_taps = from->steps / column_taps;
    from->column_taps = column_taps;
    bool grid = from->row_taps > 1 && column_taps <= from->cut;
    for (ptrdiff_t k = column_taps; k < from->steps && grid; k++)
        grid = from->offset[k] == from->offset[k - column_taps] + from->line;
    if (!grid)
        from->row_taps = from->column_taps = 0;
}

/* `vectors` of positions from one on, for m rows of the product. */
static void sum_vectors(const pixel_job *job, const pixel_source *from, const real *weights,
                        const real *bias, ptrdiff_t m, ptrdiff_t position, ptrdiff_t vectors,
                        real *sums) {
    ptrdiff_t done = 0;
    do {
        const ptrdiff_t length = cvl_least(from->steps - done, from->cut);
        job->kernels->pixel_tile[m - 1](sums + position, job->line_room, weights + done,
                                        from->steps, from->at + position, from->offset + done,
                                        length, vectors, done == 0 ? bias : NULL);
        done += length;
    } while (done < from->steps);
}

/* m rows of the product, phases of output channels, as one long line of positions: what it computes
 * between the end of a row and the start of the next is not kept. Of inputs in place nothing may be
 * read beyond the line: its last vector begins before the others end, and sums anew what they
 * did. */
static void sum_as_line(const pixel_job *job, const pixel_target *to, const pixel_source *from,
                        const real *weights, const real *bias, ptrdiff_t m, real *sums) {
    const ptrdiff_t lanes = job->kernels->lanes;
    const ptrdiff_t positions = (to->rows - 1) * from->line + to->columns;
    const bool within = job->in_place && positions % lanes > 0;
    sum_vectors(job, from, weights, bias, m, 0,
                within ? positions / lanes : cvl_ceil_div(positions, lanes), sums);
    if (within)
        sum_vectors(job, from, weights, bias, m, positions - lanes, 1, sums);
}

/* One output channel row by row, a few rows at a time. */
static void sum_as_rows(const pixel_job *job, const pixel_target *to, const pixel_source *from,
                        const real *weights, const real *bias, ptrdiff_t out_line, real *sums) {
    const ptrdiff_t lanes = job->kernels->lanes, vectors = (to->columns + lanes - 1) / lanes;
    const ptrdiff_t most = from->cut / from->column_taps;
    for (ptrdiff_t h = 0; h < from->row_taps; h += most)
        job->kernels->row_tile(sums, out_line, weights + h * from->column_taps,
                               cvl_least(most, from->row_taps - h), from->column_taps,
                               from->at + h * from->line, from->line, from->offset, to->rows,
                               vectors, h == 0 ? bias : NULL);
}

/* One comb of one group. Where channels are interleaved their sums are kept until those of all
 * groups are there, else stored tile by tile. A tile has all phases of some channels. */
static void pixel_comb(const pixel_job *job, const pixel_target *to, ptrdiff_t channel,
                       const pixel_source *from, const real *weights, const real *bias,
                       ptrdiff_t out_line, real *out) {
    const cvl_gather *g = job->g;
    const ptrdiff_t n = to->comb->n, most = from->row_taps ? 1 : job->kernels->pixel_rows / n;
    const ptrdiff_t tiles = (g->oc + most - 1) / most;
    for (ptrdiff_t i = 0; i < tiles; i++) {
        const ptrdiff_t first = g->oc * i / tiles, channels = g->oc * (i + 1) / tiles - first;
        real *const sums = job->interleaved ? out + (channel + first) * n * job->line_room : out;
        const real *w = weights + first * n * from->steps;
        real start[CVL_MAX_ROWS];
        for (ptrdiff_t row = 0; row < channels * n; row++)
            start[row] = bias[first + row / n];
        if (from->row_taps)
            sum_as_rows(job, to, from, w, start, out_line, sums);
        else
            sum_as_line(job, to, from, w, start, channels * n, sums);
        if (!job->interleaved)
            store_lines(job, to, sums, out_line, channel + first, channels);
    }
}

/* One input channel and one or two output channels share few loads. */
static bool shares_little(const cvl_gather *g) {
    return g->ic == 1 && g->oc <= 2;
}

/* Whether to sum row by row: what shares little, in rows that fill their vectors, and enough of
 * them or enough taps to use each vector often. */
static bool rows_pay(const pixel_job *job, const pixel_target *to, ptrdiff_t steps) {
    enum { many_steps = 25 };
    const ptrdiff_t lanes = job->kernels->lanes, filled = (to->columns + lanes - 1) / lanes * lanes;
    return shares_little(job->g) && to->rows > 1 && 4 * to->columns >= 3 * filled &&
           (to->columns >= 2 * lanes || steps >= many_steps);
}

/* Brings the inputs of some groups together, if those at hand are others; returns the step from
 * channel to channel. */
static ptrdiff_t bring_pixels(const pixel_job *job, pixel_space *space, input_tile *tile,
                              ptrdiff_t n, ptrdiff_t bundle, ptrdiff_t groups) {
    const cvl_gather *g = job->g;
    if (space->image == n && space->held_bundle == bundle && same_places(tile, &space->held)) {
        *tile = space->held;
        return space->channel_size;
    }
    const ptrdiff_t in[] = {g->axis[0].in, g->axis[1].in, g->axis[2].in};
    const ptrdiff_t channels = groups * g->ic;
    const real *src = (const real *)g->src + n * g->src_strides.n +
                      bundle * job->bundle * g->ic * g->src_strides.c;
    if (job->in_place) {
        tile_in_place(tile, src, &g->src_strides, in);
        return g->src_strides.c;
    }
    space->channel_size = pack_positions_together(tile, space->tile, src, &g->src_strides, channels,
                                                  in, job->kernels->copy);
    memset(space->tile + channels * space->channel_size, 0, CVL_MAX_LANES * sizeof(real));
    space->held = *tile;
    space->image = n;
    space->held_bundle = bundle;
    return space->channel_size;
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
    const cvl_gather_axis *width = &g->axis[2];

    input_tile tile = {.map = {cvl_pixel_map(slab->depth, 1, 1),
                               cvl_pixel_map(slab->height, 1, slab->rows), blocks->width},
                       .shift = {slab->depth_q * slab->depth->in_step,
                                 slab->height_q * slab->height->in_step,
                                 column_block * blocks->columns * width->phases[0].in_step}};
    const ptrdiff_t channel_size = bring_pixels(job, space, &tile, n, bundle, groups);
    bring_pixel_weights(job, space, bundle, groups, slab, &tile, channel_size);

    const cvl_data_strides *to = &g->dst_strides;
    const ptrdiff_t lanes = job->kernels->lanes;
    real *dst = (real *)g->dst + n * to->n + group * g->oc * to->c +
                (slab->depth->out_first + slab->depth->out_step * slab->depth_q) * to->s[0] +
                (slab->height->out_first + slab->height->out_step * slab->height_q) * to->s[1];
    const real *weights = space->weights;
    const ptrdiff_t *offset = space->offset;
    for (ptrdiff_t p = 0, next; p < width->n_phases; p = next) {
        const phase_comb comb = next_comb(job, &width->phases[p]);
        const ptrdiff_t taps = comb.base->taps;
        const ptrdiff_t steps = slab->depth->taps * slab->height->taps * taps * g->ic;
        const ptrdiff_t most = most_steps(slab->depth->taps * slab->height->taps * taps, g->ic);
        pixel_target target = {.dst = dst,
                               .comb = &comb,
                               .rows = slab->rows,
                               .line = slab->height->out_step * to->s[1],
                               .origin = column_block * blocks->columns};
        next = p + comb.n;
        for (ptrdiff_t k = 0; k < comb.n; k++) {
            target.count[k] = cvl_block_columns(blocks, comb.phase[k], column_block);
            if (target.count[k] > 0 && comb.shift[k] + target.count[k] > target.columns)
                target.columns = comb.shift[k] + target.count[k];
        }
        pixel_source source = {.line = tile.position[1],
                               .offset = offset,
                               .steps = steps,
                               .cut = job->lines ? few_streams : whole_rows(taps, most)};
        if (steps > 0 && rows_pay(job, &target, steps))
            find_grid(&source, taps);
        const ptrdiff_t out_line =
            source.row_taps ? (target.columns + lanes - 1) / lanes * lanes : source.line;
        for (ptrdiff_t i = 0; i < groups && target.columns > 0; i++) {
            source.at = tile.base + i * g->ic * channel_size;
            pixel_comb(job, &target, i * g->oc, &source, weights + i * g->oc * comb.n * steps,
                       space->bias + i * g->oc, out_line, space->out);
        }
        if (job->interleaved && target.columns > 0)
            store_lines(job, &target, space->out, out_line, 0, groups * g->oc);
        weights += groups * g->oc * comb.n * steps;
        offset += steps;
    }
}

static void pixel_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const pixel_job *job = context;
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    pixel_space space = pixel_layout(job, &memory);
    for (ptrdiff_t i = begin; i < end; i++)
        pixel_task(job, i, &space);
    end_stream(job->stream);
}

/* Whether the kernel has one tap, and its inputs stand as lines of destinations do. */
static bool inputs_are_lines(const cvl_gather *g) {
    return cvl_pointwise(g) && g->axis[1].out == 1 && g->axis[2].phases->in_step == 1 &&
           g->src_strides.s[2] == 1;
}

/* What the inputs of a block may take: one channel's rows shall stay in the level-1 cache, those of
 * many fit only the next. */
static ptrdiff_t pixel_budget(const cvl_gather *g) {
    return cvl_l2_bytes() / (g->ic == 1 ? 8 : 2);
}

/* Cuts into blocks whose inputs fit a cache, or, where these are read where they stand and once,
 * whose sums do; then every block must fill a vector. */
static cvl_status cut_pixels(pixel_job *job) {
    const cvl_gather *g = job->g;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real), budget = pixel_budget(g);
    const ptrdiff_t tasks_wanted = cvl_enough_tasks(g->work), repeats = g->n * g->groups;
    job->lines = inputs_are_lines(g);
    if (job->lines) {
        const ptrdiff_t channels = g->oc <= job->kernels->pixel_rows ? g->oc : g->ic;
        const cvl_status status = cvl_cut(g, cvl_pixel_map, cvl_pixel_map, channels * size, budget,
                                          repeats, tasks_wanted, false, &job->blocks);
        if (status != CVL_OK)
            return status;
        job->in_place = (g->axis[2].out - 1) % job->blocks.columns + 1 >= job->kernels->lanes;
        if (job->in_place)
            return CVL_OK;
        cvl_free_blocks(&job->blocks);
    }
    return cvl_cut(g, cvl_pixel_map, cvl_pixel_map, g->ic * size, budget, repeats, tasks_wanted,
                   false, &job->blocks);
}

cvl_status CVL_TYPED(cvl_gather_pixels)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    pixel_job job = {.g = g, .kernels = kernels, .stream = stream_results(g)};
    const ptrdiff_t taps = kernel_taps(g);
    cvl_status status = cut_pixels(&job);
    if (status != CVL_OK)
        return status;
    job.steps = taps * g->ic;
    /* Phases share places where all taps and positions do. */
    job.most_phases = job.blocks.width.kind == CVL_SHARED && !shares_little(g)
                          ? cvl_least(g->axis[2].n_phases, kernels->pixel_rows)
                          : 1;
    job.interleaved = g->dst_strides.c == 1 && g->dst_strides.s[2] != 1 && g->groups * g->oc > 1;

    /* Small groups share a task, as long as their tiles fit the cache and tasks remain: a few, or,
     * where channels are interleaved, as many as can be transposed together. */
    const ptrdiff_t places =
        cvl_scale_bytes(channel_room(job.blocks.places), g->ic * (ptrdiff_t)sizeof(real));
    const ptrdiff_t areas = g->n * job.blocks.n_slabs * job.blocks.n_columns;
    const ptrdiff_t parts = job.interleaved ? cvl_enough_tasks(g->work) : 16;
    job.bundle = cvl_least(pixel_budget(g) / (places + 1), g->groups * areas / parts);
    job.bundle = job.bundle < 1 ? 1 : job.bundle > g->groups ? g->groups : job.bundle;
    job.n_bundles = (g->groups + job.bundle - 1) / job.bundle;

    /* A line of positions is no longer than the part of the tile that one tap reads. */
    const ptrdiff_t line =
        job.blocks.width.length > job.blocks.columns ? job.blocks.width.length : job.blocks.columns;
    const ptrdiff_t lanes = kernels->lanes, filled = cvl_add_bytes(job.blocks.columns, lanes);
    job.line_room =
        cvl_add_bytes(cvl_scale_bytes(line > filled ? line : filled, job.blocks.rows), lanes);

    cvl_arena size = {0};
    pixel_layout(&job, &size);
    job.workspace_bytes = size.bytes;

    const ptrdiff_t tasks = areas * job.n_bundles;
    int threads = cvl_threads_for(tasks, g->work);
    job.workspace = cvl_alloc_workspace(0, job.workspace_bytes, &threads);
    if (job.workspace)
        cvl_parallel_for(tasks, task_grain(g->work, tasks, threads), threads, pixel_tasks, &job);
    else
        status = CVL_NO_MEMORY;
    cvl_free(job.workspace);
    cvl_free_blocks(&job.blocks);
    return status;
}
