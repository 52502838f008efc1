/* Weight gradient with channels along the lanes: the channels of dy, or of x. Included by
 * drivers_impl.h.
 *
 * For a chunk of positions both operands are brought together, and the product tile multiplies one
 * by the other:
 *
 *     lanes of dy:  C[i, tap][o] += sum over positions of x[i][position + tap] * dy[position][o]
 *     lanes of x:   C[tap][o][i] += sum over positions of dy[o][position] * x[position + tap][i]
 *
 * Where x has few channels, the taps of a row of the kernel lie along the lanes beside them: places
 * of a tile that hold no more than their channels follow one another as those taps do.
 *
 *     of its taps:  C[row][o][tap, i] += sum over positions of
 *                                        dy[o][position] * x[position + row][tap, i]
 *
 * The channels along the lanes are called wide: their operand is read as panels, [position][lanes].
 * The others are called narrow: they are the rows of the product, read one element at a time, so
 * that any arrangement does in which neighbouring positions share cache lines. Where rows of
 * positions are contiguous in memory, positions stay together, without a transposition, and often
 * without a copy. Where channels are, panels and pieces one cache line wide are read where they
 * stand or copied, as pays (pieces_in_place).
 */

enum {
    chunk_positions = 512, /* of a chunk, about: four or eight cuts */
    least_positions = 128, /* that repay a visit to all sums */
    enough_channels = 16,  /* for the rows of a product of one tap */
    sum_parts = 4,         /* of a block, in which partial results are added */
};

typedef struct reduce_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    cvl_chunks chunks;
    bool lanes_of_x;
    bool together;                    /* whether the narrow operand keeps its positions together */
    cvl_map_fn *width_map;            /* of the tile of x */
    ptrdiff_t lane_taps;              /* taps along the lanes: of a row of the kernel all, or one */
    ptrdiff_t taps;                   /* the others, each a product of its own */
    ptrdiff_t wide, narrow;           /* per group: channels times lane taps, channels */
    ptrdiff_t vectors;                /* of the wide */
    ptrdiff_t n_wide, n_narrow;       /* blocks of a group, */
    ptrdiff_t blocks, bundle, splits; /* of all groups, of a task, and partial results of each */
    ptrdiff_t strip;                  /* lanes of a panel: one product tile */
    ptrdiff_t most_wide, most_rows;   /* lanes, and narrow channels, of a block */
    ptrdiff_t positions;              /* the most of a chunk */
    bool direct;                      /* whether sums are made in dw itself, from nothing */
    bool stream;                      /* whether dw is written past the caches */
    real *partial;           /* [split][block], where a block's sums are split; else NULL */
    ptrdiff_t partial_count; /* elements of one split of one block */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} reduce_job;

/* A block of the result: which channels. */
typedef struct reduce_block {
    ptrdiff_t group;
    ptrdiff_t wide, width, lanes; /* the first, room for them, how many */
    ptrdiff_t narrow, rows;
} reduce_block;

/* How a group's channels are cut into blocks. */
typedef struct block_cut {
    ptrdiff_t wide, narrow;     /* channels along the lanes, and the others */
    ptrdiff_t vectors;          /* of the wide */
    ptrdiff_t n_wide, n_narrow; /* blocks */
    ptrdiff_t lanes;
} block_cut;

static reduce_block cut_block(const block_cut *cut, ptrdiff_t index) {
    reduce_block b;
    const ptrdiff_t narrow = index % cut->n_narrow;
    index /= cut->n_narrow;
    const ptrdiff_t wide = index % cut->n_wide;
    b.group = index / cut->n_wide;
    b.wide = cut->vectors * wide / cut->n_wide * cut->lanes;
    b.width = cut->vectors * (wide + 1) / cut->n_wide * cut->lanes - b.wide;
    b.lanes = cvl_least(cut->wide - b.wide, b.width);
    b.narrow = cut->narrow * narrow / cut->n_narrow;
    b.rows = cut->narrow * (narrow + 1) / cut->n_narrow - b.narrow;
    return b;
}

static reduce_block nth_block(const reduce_job *job, ptrdiff_t index) {
    const block_cut cut = {job->wide,   job->narrow,   job->vectors,
                           job->n_wide, job->n_narrow, job->kernels->lanes};
    return cut_block(&cut, index);
}

/* Whether the sums of a channel's taps stand side by side, as they do in the weights. */
static bool channel_major_sums(const reduce_job *job) {
    return job->r->dw_strides.k[2] == 1 && !job->lanes_of_x;
}

/* Steps of dw from lane to lane, and from narrow channel to narrow channel. */
static ptrdiff_t lane_step(const reduce_job *job) {
    return job->lanes_of_x ? job->r->dw_strides.ic : job->r->dw_strides.oc;
}

static ptrdiff_t narrow_step(const reduce_job *job) {
    return job->lanes_of_x ? job->r->dw_strides.oc : job->r->dw_strides.ic;
}

/* Where dw holds the first tap of a block's first narrow channel, and of the group's first lane. */
static real *block_weights(const reduce_job *job, const reduce_block *block) {
    const cvl_weight_strides *to = &job->r->dw_strides;
    real *w =
        (real *)job->r->dw + block->group * job->r->oc * to->oc + block->narrow * narrow_step(job);
    for (int i = 0; i < CVL_AXES; i++)
        w += job->r->axis[i].phases->tap_first * to->k[i];
    return w;
}

/* The parts of a thread's workspace. */
typedef struct reduce_space {
    real *sums, *wide, *narrow;
    ptrdiff_t *a_row, *c_row, *b_row, *tap_offset;
    cvl_term *terms;
} reduce_space;

/* An operand of a chunk as it is read: channel c of piece p at (image, row, column) stands at base
 * + p*piece + c*channel + image*image_step + row*row_step + column*column_step, plus, for x, a
 * tap's offset in the tile. The next group stands `group` further. */
typedef struct chunk_operand {
    const real *base;
    ptrdiff_t group, piece, channel, image, row, column;
    input_tile tile;
} chunk_operand;

static input_tile chunk_tile(const reduce_job *job, const cvl_chunk *chunk,
                             bool positions_together) {
    const cvl_phase *depth = job->r->axis[0].phases, *height = job->r->axis[1].phases;
    const cvl_phase *width = job->r->axis[2].phases;
    cvl_map_fn *const map = positions_together ? cvl_pixel_map : cvl_channel_map;
    return (input_tile){.map = {map(depth, 1, 1), map(height, 1, chunk->rows),
                                job->width_map(width, 1, chunk->columns)},
                        .shift = {chunk->depth * depth->in_step, chunk->row * height->in_step,
                                  chunk->column * width->in_step}};
}

static const real *chunk_x(const cvl_reduce *r, const cvl_chunk *chunk, ptrdiff_t group,
                           ptrdiff_t first) {
    return (const real *)r->x + chunk->image * r->x_strides.n +
           (group * r->ic + first) * r->x_strides.c;
}

static const real *chunk_dy(const cvl_reduce *r, const cvl_chunk *chunk, ptrdiff_t group,
                            ptrdiff_t first) {
    const cvl_data_strides *s = &r->dy_strides;
    return (const real *)r->dy + chunk->image * s->n + (group * r->oc + first) * s->c +
           chunk->depth * s->s[0] + chunk->row * s->s[1] + chunk->column * s->s[2];
}

/* Narrow channels of a piece: a cache line. Where all fit one, they stand close: so do the rows of
 * the product that are taps side by side. */
static ptrdiff_t piece_channels(const reduce_job *job) {
    return cvl_least(line_channels, job->most_rows);
}

/* Whether an operand whose channels are contiguous is read where it stands. A copy gathers what one
 * tile reads in few cache lines: it pays for many tiles, and where positions stand far apart. Wide
 * channels must fill their vectors, and for many tiles each vector lie in one cache line. */
static bool pieces_in_place(const reduce_job *job, bool of_x) {
    enum { few_tiles = 6 };
    const cvl_data_strides *s = of_x ? &job->r->x_strides : &job->r->dy_strides;
    const bool wide = of_x == job->lanes_of_x;
    if (s->c != 1 || (wide && job->lane_taps > 1))
        return false;
    if (!wide)
        return positions_are_near(s);
    const bool few = job->most_rows * job->taps <= few_tiles * CVL_MAX_ROWS;
    return job->wide % job->kernels->lanes == 0 &&
           (few || (s->s[2] == job->strip && begins_line(of_x ? job->r->x : job->r->dy)));
}

/* Brings channels of x, or of dy, as pieces of `pitch` channels,
 * [piece][image][position][channel]. Those of several groups are one piece to a group. */
static chunk_operand bring_pieces(const reduce_job *job, bool of_x, const cvl_chunk *chunk,
                                  ptrdiff_t group, ptrdiff_t first, ptrdiff_t channels,
                                  ptrdiff_t pitch, real *to) {
    const cvl_reduce *r = job->r;
    const cvl_data_strides *s = &r->dy_strides;
    const ptrdiff_t in[] = {r->axis[0].in, r->axis[1].in, r->axis[2].in};
    const ptrdiff_t places = of_x ? job->chunks.places : chunk->rows * chunk->columns;
    const bool rows_follow = s->s[1] == chunk->columns * s->s[2];
    const ptrdiff_t lines = rows_follow ? 1 : chunk->rows;
    const ptrdiff_t length = rows_follow ? chunk->rows * chunk->columns : chunk->columns;
    chunk_operand o = {.base = to,
                       .group = chunk->images * places * pitch,
                       .piece = chunk->images * places * pitch,
                       .channel = 1,
                       .image = places * pitch,
                       .row = chunk->columns * pitch,
                       .column = pitch};
    if (of_x)
        o.tile = chunk_tile(job, chunk, false);
    if (pieces_in_place(job, of_x) && (!of_x || tile_is_inside(&o.tile, in))) {
        o.base = of_x ? chunk_x(r, chunk, group, first) : chunk_dy(r, chunk, group, first);
        o.group = o.piece = pitch;
        o.image = of_x ? r->x_strides.n : s->n;
        o.row = s->s[1];
        o.column = s->s[2];
        if (of_x) {
            tile_in_place(&o.tile, o.base, &r->x_strides, in);
            o.base = o.tile.base;
            o.row = o.tile.position[1];
            o.column = o.tile.position[2];
        }
        return o;
    }
    const channel_pieces pieces = {.pitch = pitch, .piece = o.piece, .channels = channels};
    for (ptrdiff_t i = 0; i < chunk->images; i++, to += o.image) {
        if (of_x) {
            pack_channels_together(&o.tile, to, &pieces,
                                   chunk_x(r, chunk, group, first) + i * r->x_strides.n,
                                   &r->x_strides, in, job->kernels->copy);
            continue;
        }
        const real *dy = chunk_dy(r, chunk, group, first) + i * s->n;
        for (ptrdiff_t line = 0; line < lines; line++)
            copy_pieces(job->kernels->copy, to + line * o.row, &pieces, dy + line * s->s[1],
                        s->s[2], s->c, length);
    }
    if (of_x) {
        o.row = o.tile.position[1];
        o.column = o.tile.position[2];
    }
    return o;
}

/* Narrow channels of x with their positions together: where they stand, or in a tile of their
 * own. */
static chunk_operand bring_x_rows(const reduce_job *job, const cvl_chunk *chunk, ptrdiff_t group,
                                  ptrdiff_t first, ptrdiff_t channels, real *room) {
    const cvl_reduce *r = job->r;
    const ptrdiff_t in[] = {r->axis[0].in, r->axis[1].in, r->axis[2].in};
    const real *x = chunk_x(r, chunk, group, first);
    chunk_operand o = {.channel = r->x_strides.c,
                       .image = r->x_strides.n,
                       .column = 1,
                       .tile = chunk_tile(job, chunk, true)};
    bool packed = true;
    if (tile_is_inside(&o.tile, in)) {
        tile_in_place(&o.tile, x, &r->x_strides, in);
        packed = chunk->columns > 1 && o.tile.position[2] != 1;
    }
    if (packed) {
        /* Rows outside the source are not packed: no term reaches them. */
        const ptrdiff_t skipped[] = {clip_map(&o.tile.map[0], o.tile.shift[0], in[0]),
                                     clip_map(&o.tile.map[1], o.tile.shift[1], in[1])};
        o.image = channel_room(job->chunks.places) * channels;
        for (ptrdiff_t i = chunk->images - 1; i >= 0; i--)
            o.channel = pack_positions_together(&o.tile, room + i * o.image, x + i * r->x_strides.n,
                                                &r->x_strides, channels, in, job->kernels->copy);
        for (int i = 0; i < 2; i++)
            unclip_map(&o.tile, i, skipped[i]);
    }
    o.base = o.tile.base;
    o.row = o.tile.position[1];
    return o;
}

/* The same for dy, whose positions stand together as they are. */
static chunk_operand bring_dy_rows(const reduce_job *job, const cvl_chunk *chunk, ptrdiff_t group,
                                   ptrdiff_t first) {
    const cvl_data_strides *s = &job->r->dy_strides;
    return (chunk_operand){.base = chunk_dy(job->r, chunk, group, first),
                           .channel = s->c,
                           .image = s->n,
                           .row = s->s[1],
                           .column = 1};
}

/* Rows and columns of a chunk, [first, last). */
typedef struct chunk_part {
    ptrdiff_t first_row, last_row, first_column, last_column;
} chunk_part;

static bool same_part(const chunk_part *a, const chunk_part *b) {
    return a->first_row == b->first_row && a->last_row == b->last_row &&
           a->first_column == b->first_column && a->last_column == b->last_column;
}

/* Positions of a chunk as terms, cut for accuracy; rows that follow one another become one. */
static ptrdiff_t list_chunk_terms(const cvl_chunk *chunk, const chunk_part *part,
                                  const chunk_operand *a, const chunk_operand *b, cvl_term *terms) {
    const ptrdiff_t positions = chunk->images * (part->last_row - part->first_row) *
                                (part->last_column - part->first_column);
    const ptrdiff_t cut = cvl_even_size(cvl_most(1, positions), longest_cut);
    ptrdiff_t n = 0, room = cut, b_end = 0;
    for (ptrdiff_t image = 0; image < chunk->images; image++)
        for (ptrdiff_t row = part->first_row; row < part->last_row; row++)
            for (ptrdiff_t q = part->first_column, length; q < part->last_column; q += length) {
                const ptrdiff_t at = image * a->image + row * a->row + q * a->column;
                const ptrdiff_t b_at = image * b->image + row * b->row + q * b->column;
                const ptrdiff_t listed = (image * chunk->rows + row) * chunk->columns + q;
                length = cvl_least(part->last_column - q, room);
                cvl_term *last = n ? &terms[n - 1] : NULL;
                if (last && !last->flush && last->a + last->length * a->column == at &&
                    last->b + last->length == listed) {
                    last->length += length;
                    if (b_end != b_at)
                        last->b_step = 0;
                } else
                    terms[n++] =
                        (cvl_term){.a = at, .b = listed, .length = length, .b_step = b->column};
                b_end = b_at + length * b->column;
                room -= length;
                if (room == 0) {
                    terms[n - 1].flush = true;
                    room = cut;
                }
            }
    return n;
}

/* How sums stand in a workspace: panel by panel, [panel][row][strip], so that tiles walk through
 * them line by line; rows as the weights want them, channel by channel if a channel's taps stand
 * together, else tap by tap. */
typedef struct sums_places {
    ptrdiff_t channel, tap, panel; /* how far it is from one to the next */
} sums_places;

static sums_places find_sums(const reduce_job *job, const reduce_block *block) {
    const bool channel_major = channel_major_sums(job);
    return (sums_places){.channel = (channel_major ? job->taps : 1) * job->strip,
                         .tap = (channel_major ? 1 : block->rows) * job->strip,
                         .panel = job->taps * block->rows * job->strip};
}

/* The lanes of whole panels. */
static ptrdiff_t panels_width(const reduce_job *job, ptrdiff_t lanes) {
    return cvl_ceil_div(lanes, job->strip) * job->strip;
}

/* Elements of a block's sums. */
static ptrdiff_t sums_count(const reduce_job *job, ptrdiff_t rows, ptrdiff_t width) {
    return cvl_scale_bytes(cvl_scale_bytes(job->taps, rows), panels_width(job, width));
}

/* Where dw holds a tap, from the first one that has sums. */
static ptrdiff_t tap_in_weights(const reduce_job *job, ptrdiff_t tap) {
    ptrdiff_t at = 0;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        const ptrdiff_t taps = job->r->axis[i].phases->taps;
        at += tap % taps * job->r->dw_strides.k[i];
        tap /= taps;
    }
    return at;
}

/* Where each row of the product, a narrow channel and one of taps [tap, end), reads and stores. */
static ptrdiff_t list_rows(const reduce_job *job, const reduce_block *block, const chunk_operand *a,
                           ptrdiff_t tap, ptrdiff_t end, const reduce_space *space) {
    const ptrdiff_t line = job->together ? block->rows : piece_channels(job);
    const sums_places sums = find_sums(job, block);
    const ptrdiff_t channel = job->direct ? narrow_step(job) : sums.channel;
    ptrdiff_t n = 0;
    for (ptrdiff_t first = 0; first < block->rows; first += line)
        for (ptrdiff_t t = tap; t < end; t++) {
            const ptrdiff_t offset = job->lanes_of_x ? 0 : space->tap_offset[t];
            const ptrdiff_t to = job->direct ? tap_in_weights(job, t) : t * sums.tap;
            for (ptrdiff_t c = first; c < cvl_least(first + line, block->rows); c++, n++) {
                space->a_row[n] = first / line * a->piece + (c - first) * a->channel + offset;
                space->c_row[n] = c * channel + to;
            }
        }
    return n;
}

/* The operands of a chunk. */
typedef struct chunk_operands {
    chunk_operand a, b;
} chunk_operands;

/* Those of a block, and of the same one of the next groups. */
static chunk_operands bring_operands(const reduce_job *job, const reduce_block *block,
                                     ptrdiff_t groups, const cvl_chunk *chunk,
                                     const reduce_space *space) {
    const bool of_x = job->lanes_of_x;
    const ptrdiff_t ic = job->r->ic;
    const cvl_phase *const phase[] = {job->r->axis[0].phases, job->r->axis[1].phases,
                                      job->r->axis[2].phases};
    chunk_operands o;
    if (!job->together)
        o.a = bring_pieces(job, !of_x, chunk, block->group, block->narrow, groups * block->rows,
                           piece_channels(job), space->narrow);
    else if (of_x)
        o.a = bring_dy_rows(job, chunk, block->group, block->narrow);
    else
        o.a = bring_x_rows(job, chunk, block->group, block->narrow, block->rows, space->narrow);
    if (job->lane_taps > 1) {
        o.b = bring_pieces(job, true, chunk, block->group, 0, groups * ic, ic, space->wide);
        o.b.base += block->wide;
        o.b.piece = job->strip;
    } else
        o.b = bring_pieces(job, of_x, chunk, block->group, block->wide, groups * block->lanes,
                           job->strip, space->wide);
    list_tap_offsets(phase, of_x ? &o.b.tile : &o.a.tile, space->tap_offset);
    ptrdiff_t *b_row = space->b_row;
    for (ptrdiff_t image = 0; image < chunk->images; image++)
        for (ptrdiff_t row = 0; row < chunk->rows; row++, b_row += chunk->columns)
            list_even(b_row, chunk->columns, image * o.b.image + row * o.b.row, o.b.column);
    return o;
}

/* Of some terms, those up to the end of a cut. */
static ptrdiff_t first_cut(const cvl_term *terms, ptrdiff_t count) {
    ptrdiff_t n = 0;
    while (n < count && !terms[n++].flush)
        continue;
    return n;
}

/* Adds the products of taps [tap, end), summed over the part of the chunk whose terms are listed:
 * few rows at a time, so that they stay in the cache while all panels meet them. Where each step
 * reads a cache line of its own, only those of one cut stay in the level-1 cache, but sums in dw
 * are written once. */
static void add_part(const reduce_job *job, const reduce_block *block, ptrdiff_t n_terms,
                     ptrdiff_t tap, ptrdiff_t end, const chunk_operands *o,
                     const reduce_space *space, real *sums) {
    enum { few_rows = 48 }; /* a multiple of every tile's */
    if (n_terms == 0 && !job->direct)
        return;
    const ptrdiff_t n_rows = list_rows(job, block, &o->a, tap, end, space);
    const ptrdiff_t panel = job->direct ? job->strip : find_sums(job, block).panel;
    const bool cut_by_cut = o->a.column > line_channels && !job->direct;
    const real *const b =
        o->b.base + (job->lanes_of_x ? space->tap_offset[tap * job->lane_taps] : 0);
    product p = {.a = o->a.base,
                 .a_step = o->a.column,
                 .b_row = space->b_row,
                 .terms = space->terms,
                 .stream = job->direct && job->stream};
    const cvl_term *const last = p.terms + n_terms;
    do {
        p.n_terms = cut_by_cut ? first_cut(p.terms, last - p.terms) : n_terms;
        for (ptrdiff_t row = 0; row < n_rows; row += few_rows) {
            p.a_row = space->a_row + row;
            p.c_row = p.init_row = space->c_row + row;
            p.b = b;
            p.c = sums;
            for (ptrdiff_t lane = 0; lane < block->width; lane += job->strip) {
                p.init = job->direct ? NULL : p.c;
                multiply(job->kernels, &p, cvl_least(few_rows, n_rows - row),
                         cvl_least(job->strip, block->width - lane), &no_asks);
                p.b += o->b.piece;
                p.c += panel;
            }
        }
        p.terms += p.n_terms;
    } while (p.terms < last);
}

/* Whether more than an eighth of a chunk's columns, over all taps of a row, meet padding, and terms
 * of one row are long enough to leave them out. */
static bool wide_padding(const reduce_job *job, const cvl_chunk *chunk) {
    enum { long_term = 16 };
    const cvl_gather_axis *axis = &job->r->axis[2];
    const cvl_phase *p = axis->phases;
    ptrdiff_t inside = 0, first, last;
    for (ptrdiff_t j = 0; j < p->taps; j++) {
        cvl_positions_inside(p, j, axis->in, chunk->column, chunk->columns, &first, &last);
        inside += last - first;
    }
    return chunk->columns >= long_term && 8 * inside < 7 * p->taps * chunk->columns;
}

/* How many taps share their terms, as the rows of one product: one, if it has channels enough, or
 * one row of the kernel, where a term is several rows of positions long or one tap has too few
 * channels. */
static ptrdiff_t reduce_taps_together(const reduce_job *job, const reduce_block *block,
                                      const cvl_chunk *chunk, bool rows_follow) {
    const bool apart = block->rows >= enough_channels && (!rows_follow || wide_padding(job, chunk));
    return job->lanes_of_x || apart ? 1 : job->r->axis[2].phases->taps;
}

/* Adds one chunk, or makes the sums if they are dw's own. Each tap is summed over the rows at which
 * it lies inside x and, if it shares its terms with no other, over such columns. */
static void add_chunk(const reduce_job *job, const reduce_block *block, const cvl_chunk *chunk,
                      const chunk_operands *o, const reduce_space *space, real *sums) {
    const cvl_gather_axis *const axis = job->r->axis;
    const cvl_phase *const depth = axis[0].phases, *const height = axis[1].phases;
    const cvl_phase *const width = axis[2].phases;
    const bool rows_follow = chunk->rows == 1 || o->a.row == chunk->columns * o->a.column;
    const ptrdiff_t taps_together = reduce_taps_together(job, block, chunk, rows_follow);
    const bool alone = taps_together * job->lane_taps == 1;
    ptrdiff_t tap = 0, n_terms = 0;
    chunk_part listed = {0};
    for (ptrdiff_t jd = 0; jd < depth->taps; jd++)
        for (ptrdiff_t jh = 0; jh < height->taps; jh++)
            for (ptrdiff_t jw = 0; jw < width->taps / job->lane_taps;
                 jw += taps_together, tap += taps_together) {
                ptrdiff_t first_depth, last_depth;
                chunk_part part = {.first_column = 0, .last_column = chunk->columns};
                cvl_positions_inside(depth, jd, axis[0].in, chunk->depth, 1, &first_depth,
                                     &last_depth);
                cvl_positions_inside(height, jh, axis[1].in, chunk->row, chunk->rows,
                                     &part.first_row, &part.last_row);
                if (alone && (!rows_follow || wide_padding(job, chunk)))
                    cvl_positions_inside(width, jw, axis[2].in, chunk->column, chunk->columns,
                                         &part.first_column, &part.last_column);
                if (tap == 0 || !same_part(&part, &listed))
                    n_terms = list_chunk_terms(chunk, &part, &o->a, &o->b, space->terms);
                listed = part;
                add_part(job, block, first_depth < last_depth ? n_terms : 0, tap,
                         tap + taps_together, o, space, sums);
            }
}

/* Rows of sums, and where dw has them: `from` and `to` are those of the first one's first lane. */
typedef struct stored_rows {
    const real *from;
    real *to;
    ptrdiff_t from_row, to_row, count;
} stored_rows;

/* Stores lanes [first, last) of a block's, panel by panel. */
static void store_lanes(const reduce_job *job, const reduce_block *block, const stored_rows *rows,
                        ptrdiff_t first, ptrdiff_t last) {
    const ptrdiff_t panel = find_sums(job, block).panel, lane = lane_step(job);
    copy_kernel *const copy = copy_results(job->kernels, job->stream);
    for (ptrdiff_t next, at = first; at < last; at = next) {
        const ptrdiff_t in_panel = at % job->strip;
        next = cvl_least(last, at - in_panel + job->strip);
        copy(rows->to + (at - first) * lane, rows->to_row, lane,
             rows->from + at / job->strip * panel + in_panel, rows->from_row, 1, rows->count,
             next - at);
    }
}

/* Stores the sums of narrow channels [begin, end) of a block, tap by tap; w is where dw holds the
 * first channels of both. */
static void store_channels(const reduce_job *job, const reduce_block *block, const real *sums,
                           real *w, ptrdiff_t begin, ptrdiff_t end) {
    const sums_places layout = find_sums(job, block);
    const ptrdiff_t row = narrow_step(job), channels = job->wide / job->lane_taps;
    for (ptrdiff_t tap = 0; tap < job->taps * job->lane_taps; tap++) {
        const ptrdiff_t start = tap % job->lane_taps * channels; /* of the tap's lanes */
        const ptrdiff_t first = cvl_most(start, block->wide);
        const ptrdiff_t last = cvl_least(start + channels, block->wide + block->lanes);
        if (first >= last) /* the block has none of them */
            continue;
        const stored_rows rows = {
            .from = sums + begin * layout.channel + tap / job->lane_taps * layout.tap,
            .from_row = layout.channel,
            .to = w + tap_in_weights(job, tap) + begin * row + (first - start) * lane_step(job),
            .to_row = row,
            .count = end - begin};
        store_lanes(job, block, &rows, first - block->wide, last - block->wide);
    }
}

/* Whether dw holds the taps of a channel side by side, and all of them have sums. */
static bool taps_together(const cvl_reduce *r) {
    ptrdiff_t step = 1;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        if (r->axis[i].phases->taps != r->axis[i].k ||
            (r->axis[i].k > 1 && r->dw_strides.k[i] != step))
            return false;
        step *= r->axis[i].k;
    }
    return true;
}

/* Stores a block's sums in dw: as one transposition, one to each narrow channel, or tap by tap. */
static void store_sums(const reduce_job *job, const reduce_block *block, const real *sums) {
    enum { few_rows = 16 }; /* whose cache lines stay near until all their taps are stored */
    const sums_places layout = find_sums(job, block);
    const ptrdiff_t taps = job->taps, lane = lane_step(job), row = narrow_step(job);
    real *const w = block_weights(job, block);
    const bool together = job->lane_taps == 1 && taps_together(job->r);
    stored_rows rows = {sums, w + block->wide * lane, layout.tap, 1, taps};
    if (together && row == taps && channel_major_sums(job)) {
        rows.count *= block->rows;
        store_lanes(job, block, &rows, 0, block->lanes);
    } else if (together && lane == taps && !channel_major_sums(job)) {
        for (ptrdiff_t n = 0; n < block->rows; n++, rows.from += layout.channel, rows.to += row)
            store_lanes(job, block, &rows, 0, block->lanes);
    } else
        for (ptrdiff_t begin = 0; begin < block->rows; begin += few_rows)
            store_channels(job, block, sums, w, begin, cvl_least(begin + few_rows, block->rows));
}

/* How many of the wide operand's lanes are moved: a tile holds them once for all lane taps. */
static ptrdiff_t lanes_moved(const reduce_job *job, ptrdiff_t wide) {
    return job->lane_taps > 1 ? job->r->ic : wide;
}

/* The parts of a thread's workspace; without memory, only its size. */
static reduce_space reduce_layout(const reduce_job *job, cvl_arena *memory) {
    const cvl_chunks *chunks = &job->chunks;
    const ptrdiff_t line = piece_channels(job);
    const ptrdiff_t x_places = cvl_scale_bytes(chunks->images, channel_room(chunks->places));
    const ptrdiff_t narrow = (job->most_rows + line - 1) / line * line;
    const ptrdiff_t wide = panels_width(job, job->most_wide);
    const bool dy_in_place = job->together && job->lanes_of_x;
    reduce_space space;
    space.sums = cvl_take(
        memory, job->partial || job->direct ? 0 : job->bundle * job->partial_count, sizeof(real));
    /* Lanes beyond the last tap's are read as well. */
    space.wide = cvl_take(memory,
                          cvl_add_bytes(cvl_scale_bytes(job->lanes_of_x ? x_places : job->positions,
                                                        job->bundle * lanes_moved(job, wide)),
                                        job->lane_taps > 1 ? CVL_MAX_LANES : 0),
                          sizeof(real));
    space.narrow =
        cvl_take(memory,
                 dy_in_place ? 0
                             : cvl_scale_bytes(job->lanes_of_x ? job->positions : x_places,
                                               job->bundle * narrow),
                 sizeof(real));
    space.a_row = cvl_take(memory, job->taps * job->most_rows, sizeof(ptrdiff_t));
    space.c_row = cvl_take(memory, job->taps * job->most_rows, sizeof(ptrdiff_t));
    space.b_row = cvl_take(memory, job->positions, sizeof(ptrdiff_t));
    space.tap_offset = cvl_take(memory, job->taps * job->lane_taps, sizeof(ptrdiff_t));
    space.terms = cvl_take(memory, chunks->images * chunks->rows + job->positions / longest_cut + 1,
                           sizeof(cvl_term));
    return space;
}

static void reduce_task(const reduce_job *job, ptrdiff_t index, const reduce_space *space) {
    const cvl_chunks *chunks = &job->chunks;
    const ptrdiff_t split = index % job->splits, first = index / job->splits * job->bundle;
    const ptrdiff_t count = cvl_least(job->bundle, job->blocks - first);
    const reduce_block block = nth_block(job, first); /* more of them differ in the group alone */
    const ptrdiff_t apart = (job->partial ? job->splits : 1) * job->partial_count;
    real *const sums = job->direct ? block_weights(job, &block) + block.wide
                       : job->partial
                           ? job->partial + (first * job->splits + split) * job->partial_count
                           : space->sums;
    for (ptrdiff_t i = 0; i < count && !job->direct; i++)
        memset(sums + i * apart, 0,
               (size_t)sums_count(job, block.rows, block.width) * sizeof(real));
    const ptrdiff_t last = chunks->count * (split + 1) / job->splits;
    for (ptrdiff_t c = chunks->count * split / job->splits; c < last; c++) {
        const cvl_chunk chunk = cvl_nth_chunk(job->r, chunks, c);
        chunk_operands o = bring_operands(job, &block, count, &chunk, space);
        for (ptrdiff_t i = 0; i < count; i++, o.a.base += o.a.group, o.b.base += o.b.group)
            add_chunk(job, &block, &chunk, &o, space, sums + i * apart);
    }
    for (ptrdiff_t i = 0; i < count && !job->partial && !job->direct; i++) {
        const reduce_block stored = nth_block(job, first + i);
        store_sums(job, &stored, sums + i * apart);
    }
}

static void reduce_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const reduce_job *job = context;
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    const reduce_space space = reduce_layout(job, &memory);
    for (ptrdiff_t i = begin; i < end; i++)
        reduce_task(job, i, &space);
    end_stream(job->stream);
}

/* Adds the partial results of a block, one of several parts of its elements. */
static void add_parts(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const reduce_job *job = context;
    (void)thread;
    for (ptrdiff_t index = begin; index < end; index++) {
        const ptrdiff_t part = index % sum_parts, number = index / sum_parts;
        const reduce_block block = nth_block(job, number);
        const ptrdiff_t count = sums_count(job, block.rows, block.width);
        add_partials(job->partial + number * job->splits * job->partial_count, job->splits,
                     job->partial_count, count * part / sum_parts, count * (part + 1) / sum_parts);
    }
}

static void store_blocks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const reduce_job *job = context;
    (void)thread;
    for (ptrdiff_t index = begin; index < end; index++) {
        const reduce_block block = nth_block(job, index);
        store_sums(job, &block, job->partial + index * job->splits * job->partial_count);
    }
    end_stream(job->stream);
}

/* Elements of x that a position of dy reads, of each channel and row of taps. */
static double places_of_position(const cvl_reduce *r) {
    double places = 1;
    for (int i = 0; i < CVL_AXES; i++)
        places *= (double)cvl_least(r->axis[i].phases->in_step, r->axis[i].phases->taps);
    return places;
}

/* What the sums of a block may take, and the operands of a chunk: half of the level-2 cache, or
 * more of the level-3 cache, which is asked for each sum but once a chunk. */
static ptrdiff_t block_bytes(void) {
    const ptrdiff_t half = cvl_l2_bytes() / 2, enough = 1 << 20;
    return half > enough ? half : enough;
}

/* Cuts the result into n_wide times n_narrow blocks so that the operands, each brought again for
 * every block of the other, are moved as little as can be. An even number of blocks is shared out
 * evenly. */
static void cut_blocks(reduce_job *job) {
    const ptrdiff_t lanes = job->kernels->lanes, least_rows = 4 * line_channels;
    const ptrdiff_t most_sums = block_bytes() / (ptrdiff_t)sizeof(real) / job->taps;
    const double places = places_of_position(job->r);
    /* A tile of x with its positions together holds them once for each tap of a row. */
    const ptrdiff_t copies = job->together && !job->lanes_of_x ? job->r->axis[2].phases->taps : 1;
    const double wide_moves = (double)job->wide * (job->lanes_of_x ? places : 1);
    const double narrow_moves = (double)(job->narrow * copies) * (job->lanes_of_x ? 1 : places);
    double least_moves = 0;
    for (ptrdiff_t n_wide = 1; n_wide * job->strip < job->wide + job->strip; n_wide++) {
        const ptrdiff_t most_wide = (job->vectors + n_wide - 1) / n_wide * lanes;
        ptrdiff_t rows = most_sums / most_wide;
        rows = cvl_least(job->narrow, rows < least_rows ? least_rows : rows);
        ptrdiff_t n_narrow = (job->narrow + rows - 1) / rows;
        if (n_narrow > 1 && job->r->groups * n_wide * n_narrow % 2)
            n_narrow++;
        const double moves = (double)n_wide * narrow_moves + (double)n_narrow * wide_moves;
        if (n_wide > 1 && moves >= least_moves)
            continue;
        least_moves = moves;
        job->n_wide = n_wide;
        job->most_wide = most_wide;
        job->n_narrow = n_narrow;
        job->most_rows = (job->narrow + n_narrow - 1) / n_narrow;
    }
}

/* Chunks whose operands fit the budget. */
static cvl_chunks chunks_within(const reduce_job *job, ptrdiff_t budget) {
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    const bool x_rows = job->together && !job->lanes_of_x;
    const ptrdiff_t wide = job->bundle * lanes_moved(job, job->most_wide);
    const ptrdiff_t narrow = job->bundle * job->most_rows;
    return cvl_cut_reduce(job->r, x_rows ? cvl_pixel_map : cvl_channel_map, job->width_map,
                          (job->lanes_of_x ? wide : narrow) * size,
                          (job->lanes_of_x ? narrow : wide) * size, budget, chunk_positions,
                          x_rows);
}

static ptrdiff_t chunk_size(const cvl_chunks *chunks) {
    return chunks->images * chunks->rows * chunks->columns;
}

/* Whether the positions of a chunk are too few to repay a visit to all sums. */
static bool too_few_positions(const cvl_chunks *chunks) {
    return chunk_size(chunks) < least_positions && chunks->count > 1;
}

/* Cuts the positions into chunks. Where the operands of not even the least fit, the blocks are cut
 * again; in the end chunks are larger than they should be. */
static void fit_chunks(reduce_job *job) {
    enum { most_bytes = 4 << 20 };
    const ptrdiff_t least_rows = 4 * line_channels;
    for (ptrdiff_t budget = block_bytes();;) {
        job->chunks = chunks_within(job, budget);
        if (job->bundle > 1 || !too_few_positions(&job->chunks) || budget >= most_bytes)
            return;
        if (job->most_rows <= least_rows) {
            budget *= 2;
            continue;
        }
        if (job->chunks.count == job->chunks.n_images)
            return;
        job->n_narrow *= 2;
        job->most_rows = cvl_ceil_div(job->narrow, job->n_narrow);
    }
}

/* Cuts the result into one more block of whole strips. Returns whether it can be. */
static bool cut_wide(reduce_job *job) {
    const ptrdiff_t strip = job->strip / job->kernels->lanes;
    for (ptrdiff_t n = job->n_wide + 1; n * job->strip <= job->wide; n++)
        if (cvl_ceil_div(job->vectors, n) % strip == 0) {
            job->n_wide = n;
            job->most_wide = cvl_ceil_div(job->vectors, n) * job->kernels->lanes;
            return true;
        }
    return false;
}

/* Cuts the positions into chunks: smaller ones where tasks would be few or, if those are too small,
 * smaller blocks, whose sums are nearer. */
static void cut_chunks(reduce_job *job) {
    enum { few_tasks = 8 };
    fit_chunks(job);
    const ptrdiff_t blocks = job->r->groups * job->n_narrow;
    if (blocks * job->n_wide * job->chunks.count < few_tasks) {
        const cvl_chunks smaller = chunks_within(job, cvl_l2_bytes() / 2);
        if (!too_few_positions(&smaller))
            job->chunks = smaller;
        else
            while (blocks * job->n_wide * job->chunks.count < few_tasks && cut_wide(job))
                continue;
    }
    job->positions = chunk_size(&job->chunks);
}

static ptrdiff_t block_count(const reduce_job *job) {
    return sums_count(job, job->most_rows, job->most_wide);
}

/* Makes smaller blocks, of whole strips or of rows enough, until threads share them well. Unlike
 * the chunks and splits, that changes no sum. */
static void share_blocks(reduce_job *job) {
    enum { enough_rows = 64 };
    const double work = job->r->work;
    const ptrdiff_t lots = job->r->groups * job->splits;
    while (!cvl_shared_well(lots * job->n_narrow * job->n_wide, work) && cut_wide(job))
        continue;
    while (!cvl_shared_well(lots * job->n_narrow * job->n_wide, work) &&
           job->narrow / (job->n_narrow + 1) >= enough_channels &&
           job->narrow / (job->n_narrow + 1) * job->taps >= enough_rows)
        job->n_narrow++;
    job->most_rows = cvl_ceil_div(job->narrow, job->n_narrow);
}

/* How many groups share a task, so that the cache lines that they share are moved but once. Each
 * must be one piece of either operand. */
static ptrdiff_t groups_of_task(const reduce_job *job) {
    enum { few_lines = 4, least_tasks = 8 };
    const bool shared = job->r->x_strides.c == 1 && job->r->dy_strides.c == 1 && !job->together;
    const bool whole = job->narrow == piece_channels(job) && job->n_wide == 1 &&
                       (job->lane_taps > 1 || job->wide == job->strip);
    const ptrdiff_t groups =
        cvl_least(few_lines * line_channels / job->r->ic, job->r->groups / least_tasks);
    return shared && whole && groups > 1 ? groups : 1;
}

/* Whether one product makes each sum, all positions at once, and dw has it where whole vectors
 * may be stored. */
static bool sums_in_dw(const reduce_job *job) {
    return job->chunks.count == 1 && job->bundle == 1 && job->lane_taps == 1 &&
           job->wide % job->kernels->lanes == 0 && lane_step(job) == 1;
}

cvl_status CVL_TYPED(cvl_reduce_channels)(const cvl_reduce *r, const cvl_kernels *all_kernels,
                               cvl_lanes_of of) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    const bool lanes_of_x = of != CVL_LANES_OF_DY;
    reduce_job job = {.r = r, .kernels = kernels, .lanes_of_x = lanes_of_x};
    const ptrdiff_t lanes = kernels->lanes, size = (ptrdiff_t)sizeof(real);
    job.lane_taps = of == CVL_LANES_OF_TAPS ? r->axis[2].phases->taps : 1;
    job.taps =
        r->axis[0].phases->taps * r->axis[1].phases->taps * r->axis[2].phases->taps / job.lane_taps;
    job.wide = lanes_of_x ? r->ic * job.lane_taps : r->oc;
    job.narrow = lanes_of_x ? r->oc : r->ic;
    job.together = lanes_of_x ? r->dy_strides.s[2] == 1 : cvl_copies_rows(r);
    job.width_map = lanes_of_x || !job.together ? cvl_channel_map
                    : r->axis[1].out > 1        ? cvl_joined_map
                                                : cvl_pixel_map;
    job.vectors = (job.wide + lanes - 1) / lanes;
    job.strip = cvl_least(job.vectors, kernels->vectors) * lanes;
    cut_blocks(&job);
    job.bundle = groups_of_task(&job);
    cut_chunks(&job);
    job.direct = sums_in_dw(&job);
    job.stream = stream_weights(r);
    const ptrdiff_t blocks = r->groups * job.n_wide * job.n_narrow;
    job.splits =
        cvl_reduce_splits(job.chunks.count, cvl_ceil_div(blocks, job.bundle),
                          cvl_scale_bytes(cvl_scale_bytes(block_count(&job), blocks), size));
    if (job.bundle == 1)
        share_blocks(&job);
    job.blocks = r->groups * job.n_wide * job.n_narrow;
    job.partial_count = block_count(&job);
    const ptrdiff_t sums = cvl_scale_bytes(job.partial_count, job.blocks);
    const ptrdiff_t lots = cvl_ceil_div(job.blocks, job.bundle);

    const ptrdiff_t tasks = lots * job.splits;
    int threads = cvl_threads_for(tasks, r->work);
    const ptrdiff_t partial_bytes =
        job.splits > 1 ? cvl_part_bytes(cvl_scale_bytes(sums, job.splits), sizeof(real)) : 0;
    real nowhere;
    job.partial = job.splits > 1 ? &nowhere : NULL; /* known once there is memory */
    cvl_arena arena = {0};
    reduce_layout(&job, &arena);
    job.workspace_bytes = arena.bytes;
    char *memory = cvl_alloc_workspace(partial_bytes, job.workspace_bytes, &threads);
    if (!memory)
        return CVL_NO_MEMORY;
    if (job.partial)
        job.partial = (real *)memory;
    job.workspace = memory + partial_bytes;
    cvl_parallel_for(tasks, 1, threads, reduce_tasks, &job);
    if (job.partial) {
        cvl_parallel_for(job.blocks * sum_parts, 1, threads, add_parts, &job);
        cvl_parallel_for(job.blocks, 1, threads, store_blocks, &job);
    }
    cvl_free(memory);
    return CVL_OK;
}
