/* Gather with output channels along the lanes. Included by drivers_impl.h.
 *
 * A task takes some images' block of destination positions in one group. It reads their inputs
 * where they stand, or brings them together in a tile (channels contiguous, padding zero), and runs
 * the product tile over positions x output channels x (taps x input channels). The weights of a
 * pass, as many steps of the reduction as stay in the level-1 or level-2 cache, are packed just
 * before all positions meet them, so that no packed copy of all weights is ever written to memory.
 *
 * Inputs read in place have no padding: positions that meet the same taps form a class, and a class
 * is summed over its taps alone.
 */

typedef struct channel_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    cvl_blocks blocks;
    ptrdiff_t images, n_images; /* of a task, and how many such lots there are */
    ptrdiff_t groups;           /* of a task */
    ptrdiff_t vectors;          /* of output channels */
    ptrdiff_t n_blocks;         /* of output channels */
    ptrdiff_t splits;           /* of the blocks, into tasks of their own */
    ptrdiff_t taps, steps;      /* the most taps of a task, and steps of a pass */
    bool some_in_place;         /* whether some blocks are summed in dst, */
    bool some_moved;            /* and some by way of `out` */
    ptrdiff_t pitch;            /* elements of `out` to a position: the widest block */
    ptrdiff_t max_classes;
    ptrdiff_t cut;     /* channels of a tap that a pass takes before it takes several taps */
    bool weights_stay; /* whether rows of weights are read where they stand */
    bool asks;         /* whether inputs are asked for */
    bool stream;       /* whether results are written past the caches, if one pass makes them */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} channel_job;

/* The first lane of an output-channel block, which is a panel of the product. */
static ptrdiff_t block_lane(const channel_job *job, ptrdiff_t block) {
    return panel_lane(job->kernels, job->vectors, block, job->n_blocks);
}

/* The first block of a split, or the block after the last. */
static ptrdiff_t split_block(const channel_job *job, ptrdiff_t split) {
    return job->n_blocks * split / job->splits;
}

/* Whether a block is summed in dst itself: its channels are contiguous there and fill their
 * vectors. */
static bool block_in_place(const channel_job *job, ptrdiff_t block) {
    return job->g->dst_strides.c == 1 && block_lane(job, block + 1) <= job->g->oc;
}

/* Taps [first, last) of a phase, on every axis. */
typedef struct tap_box {
    ptrdiff_t first[CVL_AXES], last[CVL_AXES];
} tap_box;

static bool empty_box(const tap_box *box) {
    return box->first[0] >= box->last[0] || box->first[1] >= box->last[1] ||
           box->first[2] >= box->last[2];
}

/* Positions of one width phase that meet the same taps. */
typedef struct position_class {
    const cvl_phase *width;
    tap_box taps;
    ptrdiff_t first, count;
} position_class;

/* What a task computes: `rows` of the slab by `columns` destination columns (of all width phases),
 * from dst on, for some images and some of the output-channel blocks of some groups. */
typedef struct channel_task {
    ptrdiff_t n, images, group, groups, split, column_block;
    const cvl_slab *slab;
    real *dst;
    ptrdiff_t dst_line, columns;
    input_tile tile;
    bool in_place;                    /* whether that is the source */
    ptrdiff_t tile_image, tile_group; /* from image to image, from group to group */
} channel_task;

/* A thread's workspace. A position is a destination of the task: where its inputs start in the
 * tile, and where its sums go, in dst or in `out`. */
typedef struct channel_space {
    real *tile, *weights, *bias, *out;
    ptrdiff_t *a_row, *dst_row, *out_row;
    position_class *classes;
    ptrdiff_t *tap_place, *tap_weight;
    ptrdiff_t *step_row; /* of a step in `weights` */
    cvl_term *terms;
} channel_space;

static channel_task nth_channel_task(const channel_job *job, ptrdiff_t index) {
    const cvl_gather *g = job->g;
    const cvl_blocks *blocks = &job->blocks;
    const cvl_gather_axis *width = &g->axis[2];
    const cvl_data_strides *to = &g->dst_strides;
    channel_task t = {.slab = &blocks->slabs[index % blocks->n_slabs]};
    index /= blocks->n_slabs;
    t.column_block = index % blocks->n_columns;
    index /= blocks->n_columns;
    t.n = index % job->n_images * job->images;
    t.images = g->n - t.n < job->images ? g->n - t.n : job->images;
    index /= job->n_images;
    t.split = index % job->splits;
    t.group = index / job->splits * job->groups;
    t.groups = cvl_least(job->groups, g->groups - t.group);

    const cvl_slab *slab = t.slab;
    const ptrdiff_t out_step = width->phases[0].out_step;
    const ptrdiff_t first_column = t.column_block * blocks->columns * out_step;
    const ptrdiff_t left = width->out - first_column;
    t.columns = blocks->columns * out_step < left ? blocks->columns * out_step : left;
    t.dst_line = slab->height->out_step * to->s[1];
    t.dst = (real *)g->dst + t.n * to->n + t.group * g->oc * to->c +
            (slab->depth->out_first + slab->depth->out_step * slab->depth_q) * to->s[0] +
            (slab->height->out_first + slab->height->out_step * slab->height_q) * to->s[1] +
            first_column * to->s[2];
    return t;
}

/* Whether a task's inputs are read where they stand: their channels must do so together, and no
 * step between two inputs be much longer than the source itself. Few channels of many are packed
 * even so, fewer if they are whole cache lines of near positions: then the taps of a row follow one
 * another and are summed as one. */
static bool inputs_in_place(const cvl_gather *g, const input_tile *tile, const ptrdiff_t in[]) {
    enum { few = 32, few_lines = 16 };
    const bool lines = g->ic % line_channels == 0 && positions_are_near(&g->src_strides);
    const ptrdiff_t few_channels = lines ? few_lines : few;
    if (g->src_strides.c != 1 && g->ic != 1)
        return false;
    if (g->ic < few_channels && g->axis[2].k > 1 && g->src_strides.s[2] != g->ic)
        return false;
    return tile_is_near(tile, in);
}

/* Brings a task's inputs together. */
static void bring_inputs(const channel_job *job, channel_task *task, real *room) {
    const cvl_gather *g = job->g;
    const cvl_slab *slab = task->slab;
    const real *src =
        (const real *)g->src + task->n * g->src_strides.n + task->group * g->ic * g->src_strides.c;
    const ptrdiff_t in[] = {g->axis[0].in, g->axis[1].in, g->axis[2].in};
    input_tile *tile = &task->tile;
    tile->map[0] = cvl_channel_map(slab->depth, 1, 1);
    tile->map[1] = cvl_channel_map(slab->height, 1, slab->rows);
    tile->map[2] = job->blocks.width;
    tile->shift[0] = slab->depth_q * slab->depth->in_step;
    tile->shift[1] = slab->height_q * slab->height->in_step;
    tile->shift[2] = task->column_block * job->blocks.columns * g->axis[2].phases[0].in_step;
    task->in_place = inputs_in_place(g, tile, in);
    if (task->in_place) {
        tile_in_place(tile, src, &g->src_strides, in);
        task->tile_image = g->src_strides.n;
        task->tile_group = g->ic * g->src_strides.c;
        return;
    }
    /* Only places inside the source are packed: no others are read. */
    ptrdiff_t skipped[CVL_AXES];
    for (int i = 0; i < CVL_AXES; i++)
        skipped[i] = clip_map(&tile->map[i], tile->shift[i], in[i]);
    task->tile_image = job->blocks.places * g->ic;
    task->tile_group = task->tile_image * task->images;
    const channel_pieces pieces = {g->ic, task->tile_group, task->groups * g->ic};
    for (ptrdiff_t i = task->images - 1; i >= 0; i--)
        pack_channels_together(tile, room + i * task->tile_image, &pieces,
                               src + i * g->src_strides.n, &g->src_strides, in, job->kernels->copy);
    for (int i = 0; i < CVL_AXES; i++)
        unclip_map(tile, i, skipped[i]);
}

/* The taps of a phase that position q meets inside the source. */
static void taps_inside(const cvl_phase *p, ptrdiff_t q, ptrdiff_t in, ptrdiff_t *first,
                        ptrdiff_t *last) {
    const ptrdiff_t source = p->in_first + q * p->in_step;
    *first = source >= 0 ? 0 : (-source + p->tap_step - 1) / p->tap_step;
    *last = source >= in ? 0 : (in - 1 - source) / p->tap_step + 1;
    if (*last > p->taps)
        *last = p->taps;
    if (*first > *last)
        *first = *last;
}

/* Positions q, q+1, ... below `end` of an axis that meet the same taps as q does; returns the first
 * that does not. */
static ptrdiff_t same_taps(const cvl_phase *p, ptrdiff_t in, ptrdiff_t q, ptrdiff_t end,
                           ptrdiff_t *first, ptrdiff_t *last) {
    taps_inside(p, q, in, first, last);
    if (*first == 0 && *last == p->taps &&
        p->taps > 0) /* all of them, until the last leaves the source */
        return cvl_least(end,
                         (in - 1 - p->in_first - (p->taps - 1) * p->tap_step) / p->in_step + 1);
    for (q++; q < end; q++) {
        ptrdiff_t own_first, own_last;
        taps_inside(p, q, in, &own_first, &own_last);
        if (own_first != *first || own_last != *last)
            break;
    }
    return q;
}

/* Lists columns [q, end) of one row of one image as positions n and on; returns where they end. */
static ptrdiff_t list_row(const channel_job *job, const channel_task *task,
                          const channel_space *space, const cvl_phase *p, ptrdiff_t image,
                          ptrdiff_t row, ptrdiff_t q, ptrdiff_t end, ptrdiff_t n) {
    const cvl_data_strides *to = &job->g->dst_strides;
    const ptrdiff_t first = p->out_first + p->out_step * q, count = end - q;
    const ptrdiff_t a_step = task->tile.position[2];
    list_even(space->a_row + n, count,
              image * task->tile_image + row * task->tile.position[1] + q * a_step, a_step);
    if (job->some_in_place)
        list_even(space->dst_row + n, count,
                  image * to->n + row * task->dst_line + first * to->s[2], p->out_step * to->s[2]);
    if (job->some_moved) {
        const ptrdiff_t out = (image * task->slab->rows + row) * task->columns + first;
        list_even(space->out_row + n, count, out * job->pitch, p->out_step * job->pitch);
    }
    return n + count;
}

/* Lists a task's positions class by class, the classes of one width phase together; returns how
 * many classes there are. */
static ptrdiff_t list_classes(const channel_job *job, const channel_task *task,
                              const channel_space *space) {
    const cvl_gather *g = job->g;
    const cvl_slab *slab = task->slab;
    const cvl_gather_axis *width = &g->axis[2];
    const ptrdiff_t column_q = task->column_block * job->blocks.columns;
    ptrdiff_t n = 0, n_classes = 0;
    tap_box box;
    same_taps(slab->depth, g->axis[0].in, slab->depth_q, slab->depth_q + 1, &box.first[0],
              &box.last[0]);
    for (const cvl_phase *p = width->phases; p < width->phases + width->n_phases; p++) {
        const ptrdiff_t count = cvl_block_columns(&job->blocks, p, task->column_block);
        for (ptrdiff_t row = 0, next_row; row < slab->rows && count > 0; row = next_row) {
            next_row = same_taps(slab->height, g->axis[1].in, slab->height_q + row,
                                 slab->height_q + slab->rows, &box.first[1], &box.last[1]) -
                       slab->height_q;
            for (ptrdiff_t q = 0, next_q; q < count; q = next_q) {
                next_q = same_taps(p, g->axis[2].in, column_q + q, column_q + count, &box.first[2],
                                   &box.last[2]) -
                         column_q;
                const ptrdiff_t first = n;
                for (ptrdiff_t image = 0; image < task->images; image++)
                    for (ptrdiff_t r = row; r < next_row; r++)
                        n = list_row(job, task, space, p, image, r, q, next_q, n);
                space->classes[n_classes++] = (position_class){p, box, first, n - first};
            }
        }
    }
    return n_classes;
}

/* All taps that a task's positions of one width phase may meet: at its depth, and all of the other
 * axes, so that how a reduction is cut does not depend on how the rows and columns are. */
static tap_box all_taps(const channel_task *task, const position_class *of) {
    tap_box box = {{of->taps.first[0], 0, 0},
                   {of->taps.last[0], task->slab->height->taps, of->width->taps}};
    return box;
}

/* Where each tap of a box reads in the tile, and where its weights stand; returns how many there
 * are. */
static ptrdiff_t list_box(const cvl_gather *g, const channel_task *task, const cvl_phase *width,
                          const tap_box *box, const channel_space *space) {
    const cvl_phase *const phase[] = {task->slab->depth, task->slab->height, width};
    ptrdiff_t n = 0;
    if (empty_box(box))
        return 0;
    for (ptrdiff_t jd = box->first[0]; jd < box->last[0]; jd++)
        for (ptrdiff_t jh = box->first[1]; jh < box->last[1]; jh++)
            for (ptrdiff_t jw = box->first[2]; jw < box->last[2]; jw++, n++) {
                const ptrdiff_t j[] = {jd, jh, jw};
                space->tap_place[n] = space->tap_weight[n] = 0;
                for (int i = 0; i < CVL_AXES; i++) {
                    space->tap_place[n] += tap_offset(&task->tile, i, phase[i], j[i]);
                    space->tap_weight[n] +=
                        g->axis[i].tap_order[phase[i]->tap_first + j[i]] * g->w_k[i];
                }
            }
    return n;
}

/* A pass: the part of the reduction whose weights are packed at once, some input channels times
 * some taps of a box. Its weights are packed in the order in which they stand, channel by channel
 * where a channel's taps stand together; the steps run tap by tap, channel after channel, through
 * step_row. */
typedef struct channel_pass {
    ptrdiff_t channel, channels;
    ptrdiff_t tap, taps;
    ptrdiff_t at[CVL_AXES];  /* where in the box the first tap is */
    ptrdiff_t cut, cut_taps; /* channels of a tap, and taps, between two flushes */
} channel_pass;

/* Whether taps [tap, tap + taps) follow one another in the weights, up or, returning -1, down. */
static int taps_follow(const ptrdiff_t *weight, ptrdiff_t tap, ptrdiff_t taps) {
    const ptrdiff_t step = taps > 1 ? weight[tap + 1] - weight[tap] : 1;
    for (ptrdiff_t t = tap + 1; t < tap + taps; t++)
        if (weight[t] != weight[t - 1] + step)
            return 0;
    return step == 1 || step == -1 ? (int)step : 0;
}

/* The size of the passes over a box of `taps`: where weights are packed, and the taps of a channel
 * stand together, a few are taken with all their neighbours, else as many as have a cut of channels
 * each. Of the channels they take as many as the pass has room for, cut by cut: sums between two
 * passes are stored and loaded, those between two cuts are not. */
static channel_pass pass_size(const channel_job *job, const ptrdiff_t *weight, ptrdiff_t taps) {
    enum { strip_taps = 16 }; /* are transposed at once */
    const ptrdiff_t ic = job->g->ic;
    const bool strips = taps > 1 && !job->weights_stay && taps_follow(weight, 0, taps);
    channel_pass pass;
    pass.taps = cvl_even_size(taps, strips ? strip_taps : job->steps / cvl_least(ic, job->cut));
    const ptrdiff_t most = most_steps(taps, ic), room = job->steps / pass.taps;
    pass.channels = room < most
                        ? cvl_even_size(ic, room)
                        : cvl_least(ic, most * cvl_even_size(cvl_ceil_div(ic, most), room / most));
    pass.cut = cvl_even_size(pass.channels, most);
    pass.cut_taps = pass.cut < pass.channels ? 1 : most / pass.channels;
    return pass;
}

/* Rows from channel to channel of a pass whose weights are packed channel by channel: an odd
 * number, so that the rows of one tap do not all fall into the same few sets of the level-1
 * cache. */
static ptrdiff_t channel_rows(ptrdiff_t taps) {
    return taps | 1;
}

/* A block of output channels, and where its sums go: to dst itself, or to `out`. */
typedef struct channel_block {
    const real *w;
    ptrdiff_t first, width, lanes;
    bool in_place;
    bool begins; /* whether it is the first of its split */
    real *c;
    const ptrdiff_t *c_row;
} channel_block;

static channel_block nth_channel_block(const channel_job *job, const channel_task *task,
                                       const channel_space *space, ptrdiff_t number) {
    const cvl_gather *g = job->g;
    const ptrdiff_t first = block_lane(job, number);
    const ptrdiff_t width = block_lane(job, number + 1) - first;
    const bool in_place = block_in_place(job, number);
    return (channel_block){.w = (const real *)g->w + task->group * g->w_group + first * g->w_oc,
                           .first = first,
                           .width = width,
                           .lanes = cvl_least(g->oc - first, width),
                           .in_place = in_place,
                           .begins = number == split_block(job, task->split),
                           .c = in_place ? task->dst + first * g->dst_strides.c : space->out,
                           .c_row = in_place ? space->dst_row : space->out_row};
}

/* The bias of a block, or NULL where there is none. */
static const real *bring_bias(const channel_job *job, const channel_task *task,
                              const channel_block *block, real *room) {
    const cvl_gather *g = job->g;
    const ptrdiff_t channel = task->group * g->oc + block->first;
    if (!g->bias)
        return NULL;
    memset(room, 0, (size_t)block->width * sizeof(real));
    for (ptrdiff_t o = 0; o < block->lanes; o++)
        room[o] = ((const real *)g->bias)[(channel + o) * g->bias_stride];
    return room;
}

/* The weights of a pass: from where each step finds its row of output channels, and how far apart
 * those of one tap are; whether those of the next tap follow at the same step. */
typedef struct pass_weights {
    const real *at;
    ptrdiff_t step;
    bool taps_follow;
} pass_weights;

/* Packs the weights of a pass as rows of output channels, a block's pitch apart, or leaves them
 * where they stand; lists where each step finds its row. */
static pass_weights pack_pass(const channel_job *job, const channel_block *block,
                              const channel_space *space, const channel_pass *pass) {
    const cvl_gather *g = job->g;
    copy_kernel *const copy = job->kernels->copy;
    const ptrdiff_t *const weight = space->tap_weight + pass->tap;
    const ptrdiff_t taps = pass->taps, channels = pass->channels, lanes = block->lanes;
    const real *const from = block->w + pass->channel * g->w_ic;
    ptrdiff_t *step = space->step_row;
    if (job->weights_stay) {
        for (ptrdiff_t t = 0; t < taps; t++)
            for (ptrdiff_t i = 0; i < channels; i++)
                *step++ = weight[t] + i * g->w_ic;
        return (pass_weights){.at = from, .step = g->w_ic};
    }
    const ptrdiff_t pitch = job->pitch;
    const int direction = taps > 1 ? taps_follow(weight, 0, taps) : 0;
    const ptrdiff_t channel_row = direction ? channel_rows(taps) : 1;
    if (lanes < pitch)
        memset(space->weights, 0,
               (size_t)(channels * (direction ? channel_row : taps) * pitch) * sizeof(real));
    if (!direction)
        for (ptrdiff_t t = 0; t < taps; t++)
            copy(space->weights + t * channels * pitch, pitch, 1, from + weight[t], g->w_ic,
                 g->w_oc, channels, lanes);
    else if (g->w_ic == taps && channel_row == taps)
        copy(space->weights, pitch, 1, from + weight[direction < 0 ? taps - 1 : 0], 1, g->w_oc,
             channels * taps, lanes);
    else
        for (ptrdiff_t i = 0; i < channels; i++)
            copy(space->weights + i * channel_row * pitch, pitch, 1,
                 from + weight[direction < 0 ? taps - 1 : 0] + i * g->w_ic, 1, g->w_oc, taps,
                 lanes);
    for (ptrdiff_t t = 0; t < taps; t++)
        for (ptrdiff_t i = 0; i < channels; i++)
            *step++ = (direction > 0   ? i * channel_row + t
                       : direction < 0 ? i * channel_row + taps - 1 - t
                                       : t * channels + i) *
                      pitch;
    return (pass_weights){.at = space->weights,
                          .step = (direction ? channel_row : 1) * pitch,
                          .taps_follow = !direction};
}

/* The tap after `tap` in a box, row by row. */
static void next_tap(const tap_box *box, ptrdiff_t tap[CVL_AXES]) {
    for (int i = CVL_AXES - 1; i >= 0 && ++tap[i] == box->last[i]; i--)
        tap[i] = box->first[i];
}

static bool in_box(const tap_box *box, const ptrdiff_t tap[CVL_AXES]) {
    return tap[0] >= box->first[0] && tap[0] < box->last[0] && tap[1] >= box->first[1] &&
           tap[1] < box->last[1] && tap[2] >= box->first[2] && tap[2] < box->last[2];
}

/* The terms of one class in a pass over the box `all`. */
static ptrdiff_t list_terms(const cvl_gather *g, const tap_box *all, const tap_box *own,
                            const ptrdiff_t *tap_place, const channel_pass *pass,
                            const pass_weights *w, cvl_term *terms) {
    ptrdiff_t n = 0, cut = pass->cut_taps, b = 0;
    ptrdiff_t tap[] = {pass->at[0], pass->at[1], pass->at[2]};
    for (ptrdiff_t t = 0; t < pass->taps; t++, b += pass->channels, next_tap(all, tap)) {
        if (in_box(own, tap)) {
            const ptrdiff_t a = tap_place[pass->tap + t] + pass->channel;
            cvl_term *last = n ? &terms[n - 1] : NULL;
            if (last && !last->flush && pass->channels == g->ic && last->a + last->length == a &&
                last->b + last->length == b) {
                last->length += pass->channels;
                last->b_step = w->taps_follow ? w->step : 0;
            } else
                for (ptrdiff_t c = 0; c < pass->channels; c += pass->cut)
                    terms[n++] = (cvl_term){.a = a + c,
                                            .b = b + c,
                                            .length = cvl_least(pass->cut, pass->channels - c),
                                            .b_step = w->step,
                                            .flush = pass->cut < pass->channels};
        }
        if (--cut == 0) {
            cut = pass->cut_taps;
            if (n)
                terms[n - 1].flush = true;
        }
    }
    return n;
}

/* Moves a block of sums, out[image][row][column][pitch], to dst. */
static void store_block(const channel_job *job, const channel_task *task, const real *out,
                        real *dst, ptrdiff_t lanes) {
    copy_kernel *const copy = copy_results(job->kernels, job->stream);
    const cvl_data_strides *to = &job->g->dst_strides;
    const bool rows_follow = task->dst_line == task->columns * to->s[2];
    const ptrdiff_t lines = rows_follow ? 1 : task->slab->rows;
    const ptrdiff_t length = rows_follow ? task->slab->rows * task->columns : task->columns;
    for (ptrdiff_t image = 0; image < task->images; image++)
        for (ptrdiff_t line = 0; line < lines; line++, out += length * job->pitch)
            copy(dst + image * to->n + line * task->dst_line, to->s[2], to->c, out, job->pitch, 1,
                 length, lanes);
}

/* Sums positions that follow one another in dst, all of an image's, by way of `out`, so few at a
 * time that they are in the level-1 cache when they are moved. */
static void multiply_strips(const channel_job *job, const channel_task *task,
                            const channel_block *block, const product *sums, ptrdiff_t count) {
    enum { strip_bytes = 16 * 1024 };
    const ptrdiff_t size = (ptrdiff_t)sizeof(real), to = job->g->dst_strides.s[2];
    const ptrdiff_t tiles = cvl_most(strip_bytes / (CVL_MAX_ROWS * job->pitch * size), 1);
    const ptrdiff_t strip = tiles * CVL_MAX_ROWS;
    copy_kernel *const copy = copy_results(job->kernels, job->stream);
    product part = *sums;
    for (ptrdiff_t i = 0; i < count; i += strip, part.a_row += strip) {
        const ptrdiff_t rows = cvl_least(strip, count - i);
        multiply(job->kernels, &part, rows, block->width, &no_asks);
        copy(task->dst + i * to + block->first, to, 1, part.c, job->pitch, 1, rows, block->lanes);
    }
}

/* Whether the positions of a class are all of a task's, and follow one another in dst, where their
 * channels are neighbours. */
static bool class_follows(const channel_job *job, const channel_task *task,
                          const position_class *own) {
    const cvl_data_strides *to = &job->g->dst_strides;
    return to->c == 1 && task->images == 1 && own->count == task->slab->rows * task->columns &&
           (task->slab->rows == 1 || task->dst_line == task->columns * to->s[2]);
}

/* Adds a pass to one block's sums of every class; the first starts them from the bias. Returns
 * whether results are in dst that go by way of `out`. */
static bool add_pass(const channel_job *job, const channel_task *task, const channel_space *space,
                     const channel_block *block, const tap_box *all, const position_class *classes,
                     ptrdiff_t n_classes, const channel_pass *pass, bool first, bool last) {
    pass_weights w = {.at = space->weights};
    if (pass->taps > 0 && pass->channels > 0)
        w = pack_pass(job, block, space, pass);
    const real *const init = first ? bring_bias(job, task, block, space->bias) : block->c;
    for (const position_class *own = classes; own < classes + n_classes; own++) {
        const ptrdiff_t n_terms =
            list_terms(job->g, all, &own->taps, space->tap_place, pass, &w, space->terms);
        const ptrdiff_t *c_row = block->c_row + own->first;
        if (n_terms == 0 && !first)
            continue;
        const product sums = {.c = block->c,
                              .c_row = c_row,
                              .init = init,
                              .init_row = first ? NULL : c_row,
                              .a = task->tile.base,
                              .a_row = space->a_row + own->first,
                              .a_step = 1,
                              .b = w.at,
                              .b_row = space->step_row,
                              .terms = space->terms,
                              .n_terms = n_terms,
                              .stream = job->stream && first && last && block->in_place};
        if (first && last && !block->in_place && class_follows(job, task, own)) {
            multiply_strips(job, task, block, &sums, own->count);
            return true;
        }
        const bool tiles_share = block->width > job->kernels->vectors * job->kernels->lanes;
        const asks ask = {.a = job->asks && tiles_share && task->in_place && block->begins &&
                               pass->taps > 1 && task->tile.position[2] >= line_channels};
        multiply(job->kernels, &sums, own->count, block->width, &ask);
    }
    return false;
}

/* The same for blocks [begin, end), one after another. */
static bool run_pass(const channel_job *job, const channel_task *task, const channel_space *space,
                     ptrdiff_t begin, ptrdiff_t end, const tap_box *all,
                     const position_class *classes, ptrdiff_t n_classes, const channel_pass *pass,
                     bool first, bool last) {
    bool stored = false;
    for (ptrdiff_t number = begin; number < end; number++) {
        const channel_block block = nth_channel_block(job, task, space, number);
        stored = add_pass(job, task, space, &block, all, classes, n_classes, pass, first, last);
    }
    return stored;
}

/* The sums of blocks [begin, end) at the positions of one width phase, pass by pass. Returns what
 * add_pass does. */
static bool run_phase(const channel_job *job, const channel_task *task, const channel_space *space,
                      ptrdiff_t begin, ptrdiff_t end, const position_class *classes,
                      ptrdiff_t n_classes) {
    const ptrdiff_t ic = job->g->ic;
    const tap_box all = all_taps(task, classes);
    const ptrdiff_t taps = ic ? list_box(job->g, task, classes->width, &all, space) : 0;
    if (taps == 0) {
        const channel_pass none = {.cut_taps = 1};
        return run_pass(job, task, space, begin, end, &all, classes, n_classes, &none, true, true);
    }
    bool stored = false;
    const channel_pass most = pass_size(job, space->tap_weight, taps);
    const ptrdiff_t kh = all.last[1] - all.first[1], kw = all.last[2] - all.first[2];
    for (ptrdiff_t channel = 0; channel < ic; channel += most.channels)
        for (ptrdiff_t tap = 0; tap < taps; tap += most.taps) {
            const channel_pass pass = {.channel = channel,
                                       .channels = cvl_least(most.channels, ic - channel),
                                       .tap = tap,
                                       .taps = cvl_least(most.taps, taps - tap),
                                       .at = {all.first[0] + tap / (kh * kw),
                                              all.first[1] + tap / kw % kh,
                                              all.first[2] + tap % kw},
                                       .cut = most.cut,
                                       .cut_taps = most.cut_taps};
            stored = run_pass(job, task, space, begin, end, &all, classes, n_classes, &pass,
                              channel == 0 && tap == 0,
                              channel + most.channels >= ic && tap + most.taps >= taps);
        }
    return stored;
}

/* Blocks [begin, end) of output channels at all positions. Only one at a time goes by way of
 * `out`. */
static void run_blocks(const channel_job *job, const channel_task *task, const channel_space *space,
                       ptrdiff_t n_classes, ptrdiff_t begin, ptrdiff_t end) {
    bool stored = false;
    for (ptrdiff_t i = 0, next; i < n_classes; i = next) {
        for (next = i + 1; next < n_classes; next++)
            if (space->classes[next].width != space->classes[i].width)
                break;
        stored = run_phase(job, task, space, begin, end, space->classes + i, next - i);
    }
    const channel_block block = nth_channel_block(job, task, space, begin);
    if (!block.in_place && !stored)
        store_block(job, task, space->out, task->dst + block.first * job->g->dst_strides.c,
                    block.lanes);
}

/* The parts of a thread's workspace; without memory, only its size. */
static channel_space channel_layout(const channel_job *job, cvl_arena *memory) {
    const ptrdiff_t positions = cvl_scale_bytes(job->blocks.positions, job->images);
    const ptrdiff_t places =
        cvl_scale_bytes(cvl_scale_bytes(job->blocks.places, job->images), job->groups);
    channel_space space;
    space.tile = cvl_take(memory, cvl_scale_bytes(places, job->g->ic), sizeof(real));
    /* Half as much again is the most that channel_rows adds. */
    space.weights = cvl_take(memory, cvl_scale_bytes(job->steps + job->steps / 2 + 1, job->pitch),
                             sizeof(real));
    space.bias = cvl_take(memory, job->pitch, sizeof(real));
    space.out = cvl_take(memory, job->some_moved ? cvl_scale_bytes(positions, job->pitch) : 0,
                         sizeof(real));
    space.a_row = cvl_take(memory, positions, sizeof(ptrdiff_t));
    space.dst_row = cvl_take(memory, job->some_in_place ? positions : 0, sizeof(ptrdiff_t));
    space.out_row = cvl_take(memory, job->some_moved ? positions : 0, sizeof(ptrdiff_t));
    space.classes = cvl_take(memory, job->max_classes, sizeof(position_class));
    space.tap_place = cvl_take(memory, job->taps, sizeof(ptrdiff_t));
    space.tap_weight = cvl_take(memory, job->taps, sizeof(ptrdiff_t));
    space.step_row = cvl_take(memory, job->steps, sizeof(ptrdiff_t));
    space.terms = cvl_take(memory, job->steps, sizeof(cvl_term));
    return space;
}

static void channel_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const channel_job *job = context;
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    const channel_space space = channel_layout(job, &memory);
    for (ptrdiff_t k = 0; k < job->steps; k++)
        space.step_row[k] = k * job->pitch;
    for (ptrdiff_t i = begin; i < end; i++) {
        channel_task task = nth_channel_task(job, i);
        bring_inputs(job, &task, space.tile);
        const ptrdiff_t n_classes = list_classes(job, &task, &space);
        const ptrdiff_t last = split_block(job, task.split + 1);
        for (ptrdiff_t end = task.group + task.groups; task.group < end; task.group++) {
            for (ptrdiff_t b = split_block(job, task.split), next; b < last; b = next) {
                next = job->weights_stay ? last : b + 1;
                run_blocks(job, &task, &space, n_classes, b, next);
            }
            task.dst += job->g->oc * job->g->dst_strides.c;
            task.tile.base += task.tile_group;
        }
    }
    end_stream(job->stream);
}

/* Positions of a task that repay the packing of the weights which meet them, and the most that they
 * may read: inputs that are read where they stand take no room. */
typedef struct enough_inputs {
    ptrdiff_t positions, bytes;
} enough_inputs;

static enough_inputs enough_for_task(const cvl_gather *g) {
    const enough_inputs moved = {1024, 3 << 20}, standing = {1536, 8 << 20};
    return g->src_strides.c == 1 ? standing : moved;
}

/* Whether a few rows of positions read most of the source: cut into tasks of few rows, it would be
 * read again by each. */
static bool taps_reach_far(const cvl_gather *g) {
    const cvl_gather_axis *height = &g->axis[1];
    const cvl_phase *phase = height->phases;
    return phase->taps > 1 &&
           (double)(phase->taps - 1) * (double)phase->tap_step >= (double)height->in / 2;
}

/* How much of the source a task's tile may be: half the level-2 cache, or what enough positions
 * read. That comes from the level-3 cache then, which takes less time than packing all weights for
 * every few positions. */
static ptrdiff_t tile_budget(const cvl_gather *g, ptrdiff_t place_bytes) {
    const enough_inputs enough = enough_for_task(g);
    const ptrdiff_t least_bytes = cvl_l2_bytes() / 2;
    ptrdiff_t bytes = cvl_scale_bytes(place_bytes, enough.positions), whole = place_bytes;
    for (int i = 0; i < CVL_AXES; i++) {
        bytes = cvl_scale_bytes(bytes, cvl_least(g->axis[i].phases->in_step, g->axis[i].k));
        whole = cvl_scale_bytes(whole, g->axis[i].in);
    }
    if (taps_reach_far(g) && whole > bytes)
        bytes = whole;
    bytes = cvl_least(bytes, enough.bytes);
    return bytes > least_bytes ? bytes : least_bytes;
}

/* How many images a task takes, so that its weights meet positions enough, while its tile stays
 * within its budget and tasks remain to share out. */
static ptrdiff_t images_together(const cvl_gather *g, const cvl_blocks *blocks,
                                 ptrdiff_t image_bytes, ptrdiff_t budget, ptrdiff_t repeats,
                                 ptrdiff_t enough_tasks) {
    const ptrdiff_t enough = enough_for_task(g).positions;
    ptrdiff_t images = 1;
    while (images < g->n && images * blocks->positions < enough &&
           cvl_scale_bytes(image_bytes, images + 1) <= budget &&
           (g->n + images) / (images + 1) * repeats >= enough_tasks)
        images++;
    return cvl_even_size(g->n, images);
}

/* How many groups a task takes, which share the lists of its positions: as many as fit the cache
 * while tasks remain to share out. */
static ptrdiff_t groups_together(const cvl_gather *g, ptrdiff_t bytes, ptrdiff_t repeats,
                                 ptrdiff_t enough_tasks) {
    const ptrdiff_t lots = (enough_tasks + repeats - 1) / repeats;
    const ptrdiff_t fitting = cvl_l2_bytes() / 2 / (bytes + 1);
    const ptrdiff_t groups = cvl_least(fitting, (g->groups + lots - 1) / lots);
    return groups > 1 ? cvl_even_size(g->groups, groups) : 1;
}

/* Whether weights are read where they stand, as rows of output channels that fill their vectors:
 * each meets so few positions that to pack it would take longer than its sums. */
static bool weights_may_stay(const channel_job *job) {
    const double few_positions = 8;
    const cvl_gather *const g = job->g;
    double met = (double)g->n;
    for (int i = 0; i < CVL_AXES; i++)
        met *= (double)cvl_least(g->axis[i].in, g->axis[i].out);
    return g->w_oc == 1 && !job->some_moved && met <= few_positions;
}

/* Rows of weights that stay, in a pass. Of many weights few, as many as a line has elements, and
 * each is read to its end before the next: prefetchers follow so few, and sets of a cache keep
 * their lines, though they be a power of two apart. */
static ptrdiff_t rows_that_stay(const cvl_gather *g) {
    enum { many_mebibytes = 2 };
    const double count = (double)g->groups * cvl_weights(g);
    return exceed_mebibytes(count, many_mebibytes) ? line_channels : longest_cut;
}

static cvl_status gather_channels(const cvl_gather *g, const kernel_table *kernels, void *context) {
    (void)context;
    channel_job job = {.g = g,
                       .kernels = kernels,
                       .asks = leave_level2(source_count(g)),
                       .stream = stream_results(g)};
    const ptrdiff_t lanes = kernels->lanes;
    job.vectors = (g->oc + lanes - 1) / lanes;
    job.n_blocks = cvl_ceil_div(job.vectors, kernels->panel_vectors);
    job.pitch = panel_pitch(kernels, job.vectors, job.n_blocks);
    job.taps = kernel_taps(g);
    job.some_in_place = block_in_place(&job, 0);
    job.some_moved = !block_in_place(&job, job.n_blocks - 1);
    const ptrdiff_t place_bytes = g->ic * (ptrdiff_t)sizeof(real);
    const ptrdiff_t budget = tile_budget(g, place_bytes);
    const ptrdiff_t tasks_wanted = cvl_enough_tasks(g->work);
    cvl_status status = cvl_cut(g, cvl_channel_map, cvl_channel_map, place_bytes, budget,
                                g->n * g->groups * job.n_blocks, tasks_wanted, true, &job.blocks);
    if (status != CVL_OK)
        return status;
    const cvl_blocks *blocks = &job.blocks;
    const ptrdiff_t image_bytes = cvl_scale_bytes(blocks->places, place_bytes);
    const ptrdiff_t areas = blocks->n_slabs * blocks->n_columns;
    job.images = images_together(g, blocks, image_bytes, budget, g->groups * areas * job.n_blocks,
                                 tasks_wanted);
    job.n_images = (g->n + job.images - 1) / job.images;
    job.groups = groups_together(g, cvl_scale_bytes(image_bytes, job.images), areas * job.n_images,
                                 tasks_wanted);
    const ptrdiff_t lots = areas * job.n_images * ((g->groups + job.groups - 1) / job.groups);
    job.splits = cvl_least(job.n_blocks, (tasks_wanted + lots - 1) / lots);
    job.weights_stay = weights_may_stay(&job);
    job.cut = job.weights_stay ? rows_that_stay(g) : longest_cut;
    job.steps =
        cvl_least(cvl_scale_bytes(job.taps, g->ic),
                  job.weights_stay ? job.cut : pass_steps(job.cut, job.pitch, cvl_l2_bytes() / 4));
    job.max_classes = cvl_least(blocks->rows, 2 * g->axis[1].k + 1) *
                      cvl_least(blocks->columns, 2 * g->axis[2].k + 1) * g->axis[2].n_phases;

    cvl_arena size = {0};
    channel_layout(&job, &size);
    job.workspace_bytes = size.bytes;
    const ptrdiff_t tasks = lots * job.splits;
    int threads = cvl_threads_for(tasks, g->work);
    job.workspace = cvl_alloc_workspace(0, job.workspace_bytes, &threads);
    if (job.workspace)
        cvl_parallel_for(tasks, 1, threads, channel_tasks, &job);
    else
        status = CVL_NO_MEMORY;
    cvl_free(job.workspace);
    cvl_free_blocks(&job.blocks);
    return status;
}

cvl_status CVL_TYPED(cvl_gather_channels)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    return gather_lots(g, all_kernels->CVL_DTYPE, gather_channels, NULL);
}
