/* Runs of product tiles, which the drivers with many channels share. Included by drivers_impl.h. */

enum {
    /* Steps of the reduction that are summed in registers before those before them are added: so
     * many that it costs little, so few that the rounding error of long sums stays low. */
    longest_cut = CVL_LONGEST_CUT,
    few_streams = 16, /* as many as prefetchers of the processor follow at a time */
};

/* Steps of a cut, at most, of a sum over so many taps and channels. Of several each, others sum tap
 * by tap and few channels at a time. */
static ptrdiff_t most_steps(ptrdiff_t taps, ptrdiff_t channels) {
    const ptrdiff_t of_several = 64;
    return taps > 1 && channels > 1 ? cvl_least(of_several, longest_cut) : longest_cut;
}

static ptrdiff_t panel_lanes(const kernel_table *kernels) {
    return (ptrdiff_t)kernels->panel_vectors * kernels->lanes;
}

/* Vectors that no two panels share: one, or a tile's where panels have several tiles. */
static ptrdiff_t panel_unit(const kernel_table *kernels) {
    return kernels->panel_vectors > kernels->vectors ? kernels->vectors : 1;
}

/* The first lane of one of the panels into which `vectors` are cut, as evenly as may be. */
static ptrdiff_t panel_lane(const kernel_table *kernels, ptrdiff_t vectors, ptrdiff_t panel,
                            ptrdiff_t panels) {
    const ptrdiff_t unit = panel_unit(kernels), units = cvl_ceil_div(vectors, unit);
    return cvl_least(units * panel / panels * unit, vectors) * kernels->lanes;
}

/* Lanes enough for any of them. */
static ptrdiff_t panel_pitch(const kernel_table *kernels, ptrdiff_t vectors, ptrdiff_t panels) {
    const ptrdiff_t unit = panel_unit(kernels), units = cvl_ceil_div(vectors, unit);
    return cvl_least(cvl_ceil_div(units, panels) * unit, vectors) * kernels->lanes;
}

/* Steps of one pass: whole cuts, whose panel, `width` to a step, takes no more than `bytes` if
 * there are two of them. */
static ptrdiff_t pass_steps(ptrdiff_t cut, ptrdiff_t width, ptrdiff_t bytes) {
    const ptrdiff_t cuts = bytes / (cut * width * (ptrdiff_t)sizeof(real));
    return cuts > 1 ? cuts * cut : cut;
}

/* Rows at even steps: at[i] = first + i*step. */
static void list_even(ptrdiff_t *at, ptrdiff_t count, ptrdiff_t first, ptrdiff_t step) {
    for (ptrdiff_t i = 0; i < count; i++, first += step)
        at[i] = first;
}

/* Lists a reduction of so many steps, whose rows of B are b_step apart, in terms of a cut each;
 * returns how many there are. */
static ptrdiff_t list_cuts(cvl_term *terms, ptrdiff_t steps, ptrdiff_t cut, ptrdiff_t b_step) {
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < steps; i += cut)
        terms[n++] = (cvl_term){
            .a = i, .b = i, .length = cvl_least(cut, steps - i), .b_step = b_step, .flush = true};
    return n;
}

typedef CVL_TYPED(cvl_product) product;

static bool same_step(const ptrdiff_t *at, ptrdiff_t first, ptrdiff_t row) {
    return at[row] - at[row - 1] == at[first + 1] - at[first];
}

/* The row after the last of those from `row` on that stand at even steps in A, in C and where they
 * start. */
static ptrdiff_t even_rows(const product *p, ptrdiff_t row, ptrdiff_t count) {
    ptrdiff_t next = cvl_least(row + 2, count);
    while (next < count && same_step(p->a_row, row, next) && same_step(p->c_row, row, next) &&
           (!p->init_row || same_step(p->init_row, row, next)))
        next++;
    return next;
}

/* A whole, dealt out to parts as evenly as may be: so many to each, one more to the first few. It
 * divides once; a division for each tile took a fiftieth of the time of short ones. */
typedef struct even_parts {
    ptrdiff_t size, longer;
} even_parts;

static even_parts deal_out(ptrdiff_t whole, ptrdiff_t parts) {
    const ptrdiff_t size = parts > 0 ? whole / parts : 0;
    return (even_parts){size, whole - size * parts};
}

static ptrdiff_t part_size(const even_parts *parts, ptrdiff_t part) {
    return parts->size + (part < parts->longer);
}

/* How many of `count` parts are of one size, from this one on. */
static ptrdiff_t equal_parts(const even_parts *parts, ptrdiff_t part, ptrdiff_t count) {
    return (part < parts->longer ? parts->longer : count) - part;
}

/* One vector wide, in product tiles. */
static void multiply_rows(const kernel_table *kernels, const product *p, ptrdiff_t count) {
    const ptrdiff_t rows = kernels->rows[0], rest = count % rows;
    if (count >= rows)
        kernels->product_tile[0][rows - 1](p, 0, count / rows, 0, 1);
    if (rest > 0)
        kernels->product_tile[0][rest - 1](p, count - rest, 1, 0, 1);
}

/* One vector wide: tall tiles of rows that stand at even steps, product tiles where few do. */
static void multiply_tall(const kernel_table *kernels, const product *p, ptrdiff_t count) {
    enum { few_rows = 6 };
    for (ptrdiff_t row = 0, end; row < count; row = end) {
        end = even_rows(p, row, count);
        if (end - row < few_rows) {
            end = cvl_least(row + kernels->rows[0], count);
            kernels->product_tile[0][end - row - 1](p, row, 1, 0, 1);
            continue;
        }
        const ptrdiff_t c_row = p->c_row[row + 1] - p->c_row[row];
        const ptrdiff_t a_row = p->a_row[row + 1] - p->a_row[row];
        const ptrdiff_t init_row = p->init_row ? p->init_row[row + 1] - p->init_row[row] : 0;
        const even_parts tile_rows =
            deal_out(end - row, cvl_ceil_div(end - row, kernels->tall_rows));
        for (ptrdiff_t tile = 0, m; row < end; tile++, row += m) {
            m = part_size(&tile_rows, tile);
            kernels->tall_tile[m - 1](p->c + p->c_row[row], c_row,
                                      p->init && p->init_row ? p->init + p->init_row[row] : p->init,
                                      init_row, p->init_splat, p->a + p->a_row[row], a_row,
                                      p->a_step, p->b, p->b_row, p->terms, p->n_terms, p->stream);
        }
    }
}

/* Asks for what terms [first, last) read of rows [begin, end) of A. */
static void ask_ahead(const product *p, ptrdiff_t first, ptrdiff_t last, ptrdiff_t begin,
                      ptrdiff_t end) {
    for (const cvl_term *term = p->terms + first; term < p->terms + last; term++)
        for (ptrdiff_t row = begin; row < end; row++)
            for (ptrdiff_t k = 0; k < term->length; k += line_channels)
                ask_for(p->a + term->a + p->a_row[row] + k);
}

/* The same operands, `lanes` further along the rows of B and C. */
static product further_along(const product *p, ptrdiff_t lanes) {
    product next = *p;
    next.c += lanes;
    next.b += lanes;
    if (p->init && !p->init_splat)
        next.init += lanes;
    return next;
}

/* What tiles ask for beside their own work. */
typedef struct asks {
    bool a;        /* the next rows of A, which come from memory in short pieces, */
    const real *b; /* and a part each of rows of another panel: b[row[i] + k], k < length */
    const ptrdiff_t *row;
    ptrdiff_t rows, length;
} asks;

static const asks no_asks;

/* Asks for one of some even parts of another panel. */
static void ask_part(const asks *ask, ptrdiff_t part, ptrdiff_t parts) {
    const ptrdiff_t end = ask->rows * (part + 1) / parts;
    for (ptrdiff_t i = ask->rows * part / parts; i < end; i++)
        for (ptrdiff_t k = 0; k < ask->length; k += line_channels)
            ask_for(ask->b + ask->row[i] + k);
}

/* Computes `count` rows of a panel `width` lanes wide, in even tiles: a few rows at all columns
 * before the next. */
static void multiply(const kernel_table *kernels, const product *p, ptrdiff_t count,
                     ptrdiff_t width, const asks *ask) {
    const ptrdiff_t lanes = kernels->lanes, vectors = width / lanes;
    const ptrdiff_t columns = cvl_ceil_div(vectors, kernels->vectors);
    if (vectors / columns == 1 && p->n_terms > 0) { /* without terms A has no rows */
        multiply_tall(kernels, p, count);
        if (vectors > 1) {
            const product rest = further_along(p, lanes);
            multiply(kernels, &rest, count, width - lanes, ask);
        }
        return;
    }
    const ptrdiff_t rows = kernels->rows[cvl_ceil_div(vectors, columns) - 1];
    const ptrdiff_t tiles = cvl_ceil_div(count, rows);
    const even_parts tile_rows = deal_out(count, tiles);
    const even_parts tile_vectors = deal_out(vectors, columns);
    const even_parts tile_terms = deal_out(p->n_terms, columns);
    const bool alone = ask->a || ask->rows > 0;
    const bool alike = tile_vectors.longer == 0 && !alone;
    for (ptrdiff_t tile = 0, row = 0, of_rows; tile < tiles; tile += of_rows) {
        const ptrdiff_t m = part_size(&tile_rows, tile), next = row + m;
        of_rows = alike ? equal_parts(&tile_rows, tile, tiles) : 1;
        for (ptrdiff_t column = 0, lane = 0, term = 0, of_lanes; column < columns;
             column += of_lanes) {
            const ptrdiff_t v = part_size(&tile_vectors, column);
            of_lanes = alone ? 1 : equal_parts(&tile_vectors, column, columns);
            if (ask->a) {
                const ptrdiff_t end = term + part_size(&tile_terms, column);
                ask_ahead(p, term, end, next, cvl_least(next + rows, count));
                term = end;
            }
            if (ask->rows > 0)
                ask_part(ask, tile * columns + column, tiles * columns);
            kernels->product_tile[v - 1][m - 1](p, row, of_rows, lane, of_lanes);
            lane += of_lanes * v * lanes;
        }
        row += of_rows * m;
    }
}

static bool exceed_mebibytes(double count, int mebibytes) {
    return count * (double)sizeof(real) > (double)mebibytes * (1 << 20);
}

/* Whether operands are more than a core's own caches keep: then it pays to ask for lines that no
 * prefetcher sees coming, from memory or from a cache that cores share. */
static bool leave_level2(double count) {
    return count * (double)sizeof(real) > 2 * (double)cvl_l2_bytes();
}

/* Whether operands are so many that they have left the caches when they are read again: more than a
 * core's share of the level-3 cache. */
static bool come_from_memory(double count) {
    const double least_bytes = 8 << 20, sharing_cores = 8;
    const double share = (double)cvl_l3_bytes() / sharing_cores;
    return count * (double)sizeof(real) > (share > least_bytes ? share : least_bytes);
}

static double source_count(const cvl_gather *g) {
    double count = (double)g->n * (double)g->groups * (double)g->ic;
    for (int i = 0; i < CVL_AXES; i++)
        count *= (double)g->axis[i].in;
    return count;
}

/* Whether an array begins at a cache line. */
static bool begins_line(const void *array) {
    enum { line = 64 };
    return (uintptr_t)array % line == 0;
}

/* Whether results are so many that they will have left the cache when they are read: then they are
 * written past it, for else every line is read from memory before it is written. */
static bool stream_past(const void *results, double count) {
    return exceed_mebibytes(count, 4) && begins_line(results);
}

static bool stream_results(const cvl_gather *g) {
    return stream_past(g->dst, cvl_results(g));
}

/* The same for results that tiles write in parts of lines, and that are brought together first:
 * that pays only for twice as many. */
static bool stream_copies(const cvl_gather *g) {
    return stream_past(g->dst, cvl_results(g) / 2);
}

/* The same for weight gradients. */
static bool stream_weights(const cvl_reduce *r) {
    double count = (double)r->groups * (double)r->ic * (double)r->oc;
    for (int i = 0; i < CVL_AXES; i++)
        count *= (double)r->axis[i].k;
    return stream_past(r->dw, count);
}

/* The end of a thread's part: what went past the caches is there before others are told. */
static void end_stream(bool stream) {
    if (stream)
        __sync_synchronize();
}

/* Moves results to where they go. */
static copy_kernel *copy_results(const kernel_table *kernels, bool stream) {
    return stream ? kernels->copy_past : kernels->copy;
}

/* The same of phases of the width of which a task has all: what lies between the positions of one,
 * if these stand side by side, is the task's own. */
static copy_kernel *copy_phases(const cvl_gather *g, const kernel_table *kernels, bool stream) {
    const bool between = g->axis[2].phases->out_step > 1 && g->dst_strides.s[2] == 1;
    return between ? kernels->copy_between : copy_results(kernels, stream);
}
