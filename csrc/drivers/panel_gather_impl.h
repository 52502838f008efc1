/* Gather with neighbouring destination positions along the lanes and output channels along the rows
 * of the product tile. Included by drivers_impl.h.
 *
 * The natural way for channels-first data: weights are the broadcast operand, read where they stand
 * when the reduction runs along them, and results are stored as they are computed. A task takes
 * some images' block of positions and some output channels of a group; the reduction, (input
 * channel, tap), runs in passes. For each pass the inputs of its channels are brought together in a
 * tile in which the positions of one tap follow one another, row after row, and panels of as many
 * positions as a product tile is wide are cut from it, one row to a step of the reduction.
 */

typedef struct panel_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    cvl_blocks blocks;
    cvl_map_fn *width_map;      /* where rows are short, they are joined to one line */
    ptrdiff_t images, n_images; /* of a task, and how many such lots there are */
    ptrdiff_t rows, splits;     /* output channels of a task, at most, and such parts */
    ptrdiff_t taps;             /* the most of a task */
    ptrdiff_t steps, channels;  /* the most of a pass */
    bool stream;                /* whether results are written past the caches, */
    bool asks_results;          /* or asked for, */
    bool asks;                  /* and inputs asked for */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} panel_job;

typedef struct panel_space {
    real *tile, *weights, *panel, *sums, *bias;
    ptrdiff_t *a_row, *dst_row, *sum_row, *bias_row;
    ptrdiff_t *tap_offset, *tap_weight;
    ptrdiff_t *step_offset, *step_row; /* the row of a step in the tile, and in the panel */
    cvl_term *terms;
} panel_space;

/* What a task computes of one width phase: output channels [first, first + rows) at `positions`
 * positions of each image, from dst on. */
typedef struct panel_task {
    ptrdiff_t n, images, group, first, rows;
    const cvl_slab *slab;
    const cvl_phase *width;
    ptrdiff_t column_q, columns, positions;
    real *dst;
    ptrdiff_t dst_line, dst_step;
    ptrdiff_t taps, steps, cut;
} panel_task;

/* Channels or taps, whichever fill a cut: a cut ends with a channel, unless one alone is longer. */
static ptrdiff_t panel_cut(ptrdiff_t taps, ptrdiff_t channels) {
    const ptrdiff_t most = most_steps(taps, channels);
    return taps > most ? cvl_even_size(taps, most) : cvl_even_size(channels, most / taps) * taps;
}

/* The most steps of a pass. Of one tap it is short: the weights that it reads stay in the level-2
 * cache until all panels have met them, and little is brought for it. Of several it is longer, so
 * that fewer passes visit the sums. */
static ptrdiff_t most_pass_steps(const cvl_gather *g, ptrdiff_t cut, ptrdiff_t width) {
    const ptrdiff_t of_one_tap = 64 * 1024;
    return pass_steps(cut, width, kernel_taps(g) == 1 ? of_one_tap : cvl_l2_bytes() / 8);
}

/* The steps of the pass that starts at step k: whole cuts, none of which spans two passes. */
static ptrdiff_t panel_pass_end(const panel_job *job, const panel_task *t, ptrdiff_t k) {
    const ptrdiff_t pass = most_pass_steps(job->g, t->cut, panel_lanes(job->kernels));
    return t->steps - k < pass ? t->steps : k + pass;
}

/* Where the inputs and the weights of a pass are found. */
typedef struct panel_pass {
    ptrdiff_t first, end; /* steps of the reduction */
    const real *base;     /* inputs */
    ptrdiff_t image_step;
    bool packed;     /* whether the inputs are in the workspace, where whole panels may be read */
    const real *a;   /* weights, rows a_row apart */
    ptrdiff_t pitch; /* from step to step of a packed panel */
} panel_pass;

/* The inputs of one pass. Inputs that stand in memory as a tile would hold them are read there. */
static input_tile bring_pass(const panel_job *job, const panel_task *t, ptrdiff_t channel,
                             ptrdiff_t channels, real *room, ptrdiff_t *channel_step,
                             panel_pass *pass) {
    const cvl_gather *g = job->g;
    const cvl_slab *slab = t->slab;
    const ptrdiff_t in[] = {g->axis[0].in, g->axis[1].in, g->axis[2].in};
    const real *src = (const real *)g->src + t->n * g->src_strides.n +
                      (t->group * g->ic + channel) * g->src_strides.c;
    input_tile tile = {
        .map = {cvl_pixel_map(slab->depth, 1, 1), cvl_pixel_map(slab->height, 1, slab->rows),
                job->width_map(t->width, 1, t->columns)},
        .shift = {slab->depth_q * slab->depth->in_step, slab->height_q * slab->height->in_step,
                  t->column_q * t->width->in_step}};
    pass->packed = true;
    if (tile_is_inside(&tile, in)) {
        tile_in_place(&tile, src, &g->src_strides, in);
        const bool columns_follow = t->columns == 1 || tile.position[2] == 1;
        const bool rows_follow = slab->rows == 1 || tile.position[1] == t->columns;
        pass->packed = !columns_follow || !rows_follow;
    }
    *channel_step = g->src_strides.c;
    pass->image_step = g->src_strides.n;
    if (pass->packed) {
        pass->image_step = channel_room(job->blocks.places) * job->channels;
        for (ptrdiff_t i = t->images - 1; i >= 0; i--)
            *channel_step = pack_positions_together(&tile, room + i * pass->image_step,
                                                    src + i * g->src_strides.n, &g->src_strides,
                                                    channels, in, job->kernels->copy);
    }
    pass->base = tile.base;
    return tile;
}

/* Whether the steps of the reduction follow one another in the weights. */
static bool steps_follow(const cvl_gather *g, const panel_task *t, const ptrdiff_t *tap_weight) {
    for (ptrdiff_t tap = 1; tap < t->taps; tap++)
        if (tap_weight[tap] != tap_weight[0] + tap)
            return false;
    return g->ic == 1 || g->w_ic == t->taps;
}

/* Packs the weights of steps [k, end) as one row to an output channel, `pitch` apart: a few rows at
 * a time, so that what is written stays in the level-1 cache. */
static void pack_rows(const panel_job *job, const panel_task *t, const ptrdiff_t *tap_weight,
                      ptrdiff_t k, ptrdiff_t end, const real *w, real *to, ptrdiff_t pitch) {
    enum { strip = 16 };
    const cvl_gather *g = job->g;
    const ptrdiff_t taps = t->taps;
    if (taps == 1) {
        job->kernels->copy(to, pitch, 1, w + k * g->w_ic + tap_weight[0], g->w_oc, g->w_ic, t->rows,
                           end - k);
        return;
    }
    bool together = k % taps == 0 && end % taps == 0;
    for (ptrdiff_t tap = 1; tap < taps; tap++)
        together = together && tap_weight[tap] == tap_weight[0] + tap;
    for (ptrdiff_t o = 0; o < t->rows; o += strip) {
        const ptrdiff_t rows = cvl_least(strip, t->rows - o);
        const real *from = w + o * g->w_oc + tap_weight[0];
        for (ptrdiff_t step = k; step < end && together; step += taps)
            job->kernels->copy(to + o * pitch + step - k, pitch, 1, from + step / taps * g->w_ic,
                               g->w_oc, 1, rows, taps);
        for (ptrdiff_t step = k; step < end && !together; step++) {
            const real *one = w + o * g->w_oc + step / taps * g->w_ic + tap_weight[step % taps];
            for (ptrdiff_t row = 0; row < rows; row++)
                to[(o + row) * pitch + step - k] = one[row * g->w_oc];
        }
    }
}

/* Where the inputs of a position are, at the first step of a pass. */
static const real *panel_inputs(const panel_task *t, const panel_pass *pass, ptrdiff_t position) {
    return pass->base + position / t->positions * pass->image_step + position % t->positions;
}

/* Positions [first, first + count) of a task, `width` lanes: a panel, or a lot of panels side by
 * side. Their sums, while they are not complete or cannot be summed in dst. */
typedef struct task_panel {
    ptrdiff_t first, count, width;
    real *sums;
} task_panel;

/* Cuts a panel's positions from the tile: panel[step][pitch]. */
static void pack_panel(const panel_job *job, const panel_task *t, const panel_space *space,
                       const panel_pass *pass, const task_panel *p) {
    const ptrdiff_t steps = pass->end - pass->first, pitch = pass->pitch;
    for (ptrdiff_t done = 0, n; done < p->count; done += n) {
        n = cvl_least(t->positions - (p->first + done) % t->positions, p->count - done);
        job->kernels->gather_rows(space->panel + done, pitch,
                                  panel_inputs(t, pass, p->first + done), space->step_offset, steps,
                                  n);
    }
    for (ptrdiff_t k = 0; k < steps && p->count < p->width; k++)
        memset(space->panel + k * pitch + p->count, 0,
               (size_t)(p->width - p->count) * sizeof(real));
}

/* Moves the sums of a panel, sums[channel][width], to dst. */
static void store_panel(const panel_job *job, const panel_task *t, const task_panel *p) {
    copy_kernel *const copy = copy_phases(job->g, job->kernels, job->stream);
    const cvl_data_strides *to = &job->g->dst_strides;
    const bool rows_follow = t->dst_line == t->columns * t->dst_step;
    const ptrdiff_t line = rows_follow ? t->positions : t->columns;
    for (ptrdiff_t done = 0, n; done < p->count; done += n) {
        const ptrdiff_t image = (p->first + done) / t->positions;
        const ptrdiff_t at = (p->first + done) % t->positions;
        n = cvl_least(line - at % line, p->count - done);
        real *const dst =
            t->dst + image * to->n + at / line * t->dst_line + at % line * t->dst_step;
        copy(dst, to->c, t->dst_step, p->sums + done, p->width, 1, t->rows, n);
    }
}

/* Whether positions [first, first + count) stand side by side in dst and fill their vectors. */
static bool panel_in_place(const panel_job *job, const panel_task *t, ptrdiff_t first,
                           ptrdiff_t count) {
    const bool rows_follow = t->dst_line == t->columns || t->slab->rows == 1;
    return t->dst_step == 1 && count % job->kernels->lanes == 0 &&
           (rows_follow ? first % t->positions + count <= t->positions
                        : first % t->columns + count <= t->columns);
}

/* Taps in the order of their weights, so that those which stand side by side are taken together. */
static void order_taps(ptrdiff_t *offset, ptrdiff_t *weight, ptrdiff_t taps) {
    for (ptrdiff_t i = 0, j = taps - 1; i < j && weight[i] > weight[j]; i++, j--) {
        const ptrdiff_t o = offset[i], w = weight[i];
        offset[i] = offset[j], weight[i] = weight[j];
        offset[j] = o, weight[j] = w;
    }
}

/* Brings the inputs and the weights of the pass that starts at step k. */
static panel_pass start_pass(const panel_job *job, const panel_task *t, const panel_space *space,
                             ptrdiff_t k) {
    const cvl_gather *g = job->g;
    const real *w = (const real *)g->w + t->group * g->w_group + t->first * g->w_oc;
    panel_pass pass = {.first = k, .end = panel_pass_end(job, t, k), .a = space->weights};
    const ptrdiff_t steps = pass.end - k;
    if (steps == 0)
        return pass;
    const ptrdiff_t channel = k / t->taps, last = (pass.end - 1) / t->taps;
    ptrdiff_t channel_step = 0;
    const input_tile tile =
        bring_pass(job, t, channel, last - channel + 1, space->tile, &channel_step, &pass);
    list_taps(g, t->slab, t->width, &tile, space->tap_offset, space->tap_weight);
    order_taps(space->tap_offset, space->tap_weight, t->taps);
    for (ptrdiff_t i = 0, tap = k % t->taps, at = 0; i < steps; i++) {
        space->step_offset[i] = at + space->tap_offset[tap];
        if (++tap == t->taps)
            tap = 0, at += channel_step;
    }
    const bool follow = steps_follow(g, t, space->tap_weight);
    if (follow)
        pass.a = w + channel * g->w_ic + space->tap_weight[k % t->taps];
    else
        pack_rows(job, t, space->tap_weight, k, pass.end, w, space->weights, steps);
    for (ptrdiff_t o = 0; o < t->rows; o++)
        space->a_row[o] = o * (follow ? g->w_oc : steps);
    return pass;
}

/* What the tiles of a panel ask for: the next panel, of which each step is a piece of a stream of
 * its own, more than prefetchers follow. */
static asks ask_next_panel(const panel_job *job, const panel_task *t, const panel_space *space,
                           const panel_pass *pass, const task_panel *p) {
    const ptrdiff_t steps = pass->end - pass->first, next = p->first + p->width;
    if (!job->asks || pass->packed || t->taps != 1 || steps <= few_streams ||
        next >= t->images * t->positions)
        return no_asks;
    return (asks){.b = panel_inputs(t, pass, next),
                  .row = space->step_offset,
                  .rows = steps,
                  .length = p->width};
}

/* What they ask for else: their own results, where these have left the caches, and come from memory
 * to be written in pieces that no prefetcher follows: short ones, and those of small planes. */
static asks ask_results(const panel_job *job, const panel_task *t, const panel_space *space,
                        const task_panel *p, const real *dst) {
    enum { short_piece = 1024 / sizeof(real), small_plane = 8192 / sizeof(real) };
    if (!job->asks_results || (p->width > short_piece && job->g->dst_strides.c > small_plane))
        return no_asks;
    return (asks){.b = dst, .row = space->dst_row, .rows = t->rows, .length = p->width};
}

/* The sums of one pass over a panel, into its own place or, at the end, dst. */
static void run_panel(const panel_job *job, const panel_task *t, const panel_space *space,
                      const panel_pass *pass, const task_panel *p) {
    /* A panel repays its packing if many rows meet it: fewer of them where inputs stand far apart
     * than in a tile, whose rows begin anywhere in a cache line. */
    enum { few_rows = 32, few_rows_of_tile = 64 };
    const cvl_gather *g = job->g;
    const ptrdiff_t steps = pass->end - pass->first, at = p->first % t->positions;
    const bool last = pass->end == t->steps;
    const bool in_place = last && panel_in_place(job, t, p->first, p->count);
    /* Within one image, and not beyond what there is to read: what stands behind the positions of a
     * tile, less than a vector, is not kept. */
    const bool near =
        pass->packed ? t->rows <= few_rows_of_tile : p->count == p->width && t->rows <= few_rows;
    const bool read_in_place = near && at + p->count <= t->positions;
    const real *b = NULL; /* without steps nothing is read */
    if (steps)
        b = panel_inputs(t, pass, p->first);
    if (steps && !read_in_place)
        pack_panel(job, t, space, pass, p);
    const ptrdiff_t *const b_row = read_in_place ? space->step_offset : space->step_row;
    const bool even = steps > 1 && (!read_in_place || t->taps == 1);
    const ptrdiff_t b_step = even ? b_row[1] - b_row[0] : 0;
    const ptrdiff_t n_terms = list_cuts(space->terms, steps, t->cut, b_step);
    for (ptrdiff_t o = 0; o < t->rows; o++)
        space->sum_row[o] = o * p->width;
    real *const dst = t->dst + p->first / t->positions * g->dst_strides.n +
                      at / t->columns * t->dst_line + at % t->columns * t->dst_step;
    const real *const bias = g->bias ? space->bias : NULL;
    const product products = {.c = in_place ? dst : p->sums,
                              .c_row = in_place ? space->dst_row : space->sum_row,
                              .init = pass->first ? p->sums : bias,
                              .init_row = pass->first ? space->sum_row : space->bias_row,
                              .init_splat = pass->first == 0,
                              .a = pass->a,
                              .a_row = space->a_row,
                              .a_step = 1,
                              .b = read_in_place ? b : space->panel,
                              .b_row = b_row,
                              .terms = space->terms,
                              .n_terms = n_terms,
                              .stream = job->stream && in_place};
    asks ask = ask_next_panel(job, t, space, pass, p);
    if (ask.rows == 0 && in_place)
        ask = ask_results(job, t, space, p, dst);
    multiply(job->kernels, &products, t->rows, p->width, &ask);
    if (last && !in_place)
        store_panel(job, t, p);
}

/* Elements: half of the level-1 cache, or a part of the level-2 cache. */
enum { most_of_lot = 24 * 1024 / sizeof(real), most_of_pair = 128 * 1024 / sizeof(real) };

/* How many panels make a lot: of a reduction short enough for one pass, as many as stay in half of
 * the level-1 cache, or two. A few rows meet all of them before the next rows do, so that long
 * pieces of inputs are read, and of dst written, at once. */
static ptrdiff_t panels_together(const panel_task *t, const panel_pass *pass, ptrdiff_t width) {
    if (t->images > 1 || pass->first > 0 || pass->end < t->steps || t->steps == 0)
        return 1;
    const ptrdiff_t panel = t->steps * width;
    return cvl_most(most_of_lot / panel, 2 * panel <= most_of_pair ? 2 : 1);
}

/* One width phase of a task, pass by pass, all panels in each. A panel whose last vector is not
 * filled, which is not summed in dst, is a lot of its own. */
static void run_panels(const panel_job *job, const panel_task *t, const panel_space *space) {
    const kernel_table *kernels = job->kernels;
    const ptrdiff_t all = t->images * t->positions, vectors = cvl_ceil_div(all, kernels->lanes);
    const ptrdiff_t n_panels = cvl_ceil_div(vectors, kernels->panel_vectors);
    const ptrdiff_t filled = all % kernels->lanes ? n_panels - 1 : n_panels;
    ptrdiff_t k = 0;
    do {
        panel_pass pass = start_pass(job, t, space, k);
        const ptrdiff_t together = panels_together(t, &pass, panel_lanes(kernels));
        pass.pitch = together * panel_lanes(kernels);
        list_even(space->step_row, pass.end - pass.first, 0, pass.pitch);
        for (ptrdiff_t i = 0, next; i < n_panels; i = next) {
            next = i < filled ? cvl_least(i + together, filled) : n_panels;
            const ptrdiff_t first = panel_lane(kernels, vectors, i, n_panels);
            const ptrdiff_t width = panel_lane(kernels, vectors, next, n_panels) - first;
            const task_panel panel = {.first = first,
                                      .count = cvl_least(all - first, width),
                                      .width = width,
                                      .sums = space->sums + first * t->rows};
            run_panel(job, t, space, &pass, &panel);
        }
        k = pass.end;
    } while (k < t->steps);
}

/* The parts of a thread's workspace; without memory, only its size. */
static panel_space panel_layout(const panel_job *job, cvl_arena *memory) {
    const ptrdiff_t lanes = job->kernels->lanes, width = panel_lanes(job->kernels);
    const ptrdiff_t positions =
        cvl_add_bytes(cvl_scale_bytes(job->blocks.rows * job->blocks.columns, job->images), lanes);
    const ptrdiff_t places = cvl_scale_bytes(channel_room(job->blocks.places), job->images);
    panel_space space;
    /* A panel of the last channel may reach beyond the tile. */
    space.tile = cvl_take(memory, cvl_add_bytes(cvl_scale_bytes(places, job->channels), width),
                          sizeof(real));
    space.weights = cvl_take(memory, cvl_scale_bytes(job->rows, job->steps), sizeof(real));
    space.panel =
        cvl_take(memory, cvl_most(cvl_scale_bytes(job->steps, width), most_of_pair), sizeof(real));
    space.sums = cvl_take(memory, cvl_scale_bytes(positions, job->rows), sizeof(real));
    space.bias = cvl_take(memory, job->rows, sizeof(real));
    space.a_row = cvl_take(memory, job->rows, sizeof(ptrdiff_t));
    space.dst_row = cvl_take(memory, job->rows, sizeof(ptrdiff_t));
    space.sum_row = cvl_take(memory, job->rows, sizeof(ptrdiff_t));
    space.bias_row = cvl_take(memory, job->rows, sizeof(ptrdiff_t));
    space.tap_offset = cvl_take(memory, job->taps, sizeof(ptrdiff_t));
    space.tap_weight = cvl_take(memory, job->taps, sizeof(ptrdiff_t));
    space.step_offset = cvl_take(memory, job->steps, sizeof(ptrdiff_t));
    space.step_row = cvl_take(memory, job->steps, sizeof(ptrdiff_t));
    space.terms = cvl_take(memory, job->steps, sizeof(cvl_term));
    return space;
}

static void run_panel_task(const panel_job *job, ptrdiff_t index, const panel_space *space) {
    const cvl_gather *g = job->g;
    const cvl_blocks *blocks = &job->blocks;
    const cvl_data_strides *to = &g->dst_strides;
    panel_task t = {.slab = &blocks->slabs[index % blocks->n_slabs]};
    index /= blocks->n_slabs;
    const ptrdiff_t column_block = index % blocks->n_columns;
    index /= blocks->n_columns;
    t.n = index % job->n_images * job->images;
    t.images = cvl_least(job->images, g->n - t.n);
    index /= job->n_images;
    const ptrdiff_t split = index % job->splits;
    t.group = index / job->splits;
    t.first = g->oc * split / job->splits;
    t.rows = g->oc * (split + 1) / job->splits - t.first;
    const ptrdiff_t channel = t.group * g->oc + t.first;
    for (ptrdiff_t o = 0; o < t.rows; o++) {
        space->dst_row[o] = o * to->c;
        space->bias_row[o] = o;
        space->bias[o] = g->bias ? ((const real *)g->bias)[(channel + o) * g->bias_stride] : 0;
    }

    const cvl_slab *slab = t.slab;
    real *const dst =
        (real *)g->dst + t.n * to->n + channel * to->c +
        (slab->depth->out_first + slab->depth->out_step * slab->depth_q) * to->s[0] +
        (slab->height->out_first + slab->height->out_step * slab->height_q) * to->s[1];
    t.dst_line = slab->height->out_step * to->s[1];
    t.column_q = column_block * blocks->columns;
    for (ptrdiff_t i = 0; i < g->axis[2].n_phases; i++) {
        t.width = &g->axis[2].phases[i];
        t.columns = cvl_block_columns(blocks, t.width, column_block);
        t.positions = slab->rows * t.columns;
        t.dst_step = t.width->out_step * to->s[2];
        t.dst = dst + (t.width->out_first + t.width->out_step * t.column_q) * to->s[2];
        t.taps = slab->depth->taps * slab->height->taps * t.width->taps;
        t.steps = t.taps * g->ic;
        t.cut = t.steps ? panel_cut(t.taps, g->ic) : 1;
        if (t.columns)
            run_panels(job, &t, space);
    }
}

static void panel_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const panel_job *job = context;
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    const panel_space space = panel_layout(job, &memory);
    for (ptrdiff_t i = begin; i < end; i++)
        run_panel_task(job, i, &space);
    end_stream(job->stream);
}

/* The channels that a pass of a task of so many taps reads, at most: it starts and ends within one
 * unless either is made of whole ones of the other. */
static ptrdiff_t pass_channels(const cvl_gather *g, ptrdiff_t taps, ptrdiff_t width) {
    const ptrdiff_t pass = most_pass_steps(g, panel_cut(taps, g->ic), width);
    if (pass % taps == 0 || taps % pass == 0)
        return pass > taps ? pass / taps : 1;
    return (pass - 2) / taps + 2;
}

/* The same of all tasks. */
static ptrdiff_t most_pass_channels(const cvl_gather *g, ptrdiff_t width) {
    const cvl_gather_axis *axis = g->axis;
    ptrdiff_t most = 1;
    for (ptrdiff_t d = 0; d < axis[0].n_phases; d++)
        for (ptrdiff_t h = 0; h < axis[1].n_phases; h++)
            for (ptrdiff_t w = 0; w < axis[2].n_phases; w++) {
                const ptrdiff_t taps =
                    axis[0].phases[d].taps * axis[1].phases[h].taps * axis[2].phases[w].taps;
                most = taps > 0 ? cvl_most(most, pass_channels(g, taps, width)) : most;
            }
    return cvl_least(most, g->ic);
}

cvl_status CVL_TYPED(cvl_gather_panels)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    enum {
        most_rows = 512, /* of a task: with a few hundred positions their sums fill half of L2 */
        least_rows = 64, /* repay bringing the inputs once more for another part */
    };
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    panel_job job = {.g = g, .kernels = kernels};
    /* Rows that begin within cache lines leave parts of lines, which would be read again. */
    const bool many = stream_results(g);
    job.stream = many && g->dst_strides.c % line_channels == 0;
    job.asks_results = many && !job.stream;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real), tasks_wanted = cvl_enough_tasks(g->work);
    job.asks = leave_level2(source_count(g));
    job.width_map = g->axis[1].out > 1 ? cvl_joined_map : cvl_pixel_map;
    job.taps = kernel_taps(g);
    const ptrdiff_t width = panel_lanes(kernels);
    job.steps = cvl_least(job.taps * g->ic, most_pass_steps(g, longest_cut, width));
    job.channels = most_pass_channels(g, width);
    const ptrdiff_t parts = (g->oc + most_rows - 1) / most_rows;
    const ptrdiff_t most_parts = g->oc / least_rows > parts ? g->oc / least_rows : parts;
    cvl_status status =
        cvl_cut(g, cvl_pixel_map, job.width_map, job.channels * size, cvl_l2_bytes() / 2,
                g->n * g->groups * most_parts, tasks_wanted, false, &job.blocks);
    if (status != CVL_OK)
        return status;
    const cvl_blocks *blocks = &job.blocks;
    const ptrdiff_t areas = g->groups * blocks->n_slabs * blocks->n_columns;
    const ptrdiff_t tile_bytes = cvl_scale_bytes(channel_room(blocks->places), job.channels * size);
    job.images = images_together(g, blocks, tile_bytes, cvl_l2_bytes() / 2, areas * most_parts,
                                 tasks_wanted);
    job.n_images = (g->n + job.images - 1) / job.images;
    /* Two tasks a thread do: each brings the inputs anew. */
    job.splits = cvl_ceil_div(tasks_wanted / 2, areas * job.n_images);
    job.splits = job.splits < parts ? parts : cvl_least(job.splits, most_parts);
    job.rows = (g->oc + job.splits - 1) / job.splits;

    cvl_arena arena = {0};
    panel_layout(&job, &arena);
    job.workspace_bytes = arena.bytes;
    const ptrdiff_t tasks = areas * job.n_images * job.splits;
    int threads = cvl_threads_for(tasks, g->work);
    job.workspace = cvl_alloc_workspace(0, job.workspace_bytes, &threads);
    if (job.workspace)
        cvl_parallel_for(tasks, 1, threads, panel_tasks, &job);
    else
        status = CVL_NO_MEMORY;
    cvl_free(job.workspace);
    cvl_free_blocks(&job.blocks);
    return status;
}
