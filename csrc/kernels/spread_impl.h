/* Channels along the lanes, seen from the inputs: each is spread over a filter whose taps go to
 * neighbouring outputs, two of which there are to an input. Included by kernels_impl.h. */

/* Inputs that a strip spreads at once: their sums, of a whole filter, fit the registers. */
enum {
    SPREAD_TAPS = CVL_SPREAD_TAPS,
    SPREAD_STRIDE = CVL_SPREAD_STRIDE,
    SPREAD_PLACES = CVL_REGISTERS >= 32 ? 4 : 2,
    SPREAD_BEFORE = (SPREAD_TAPS - 1) / SPREAD_STRIDE, /* inputs that reach into a strip */
};

typedef vec spread_sums[SPREAD_TAPS][SPREAD_STRIDE * SPREAD_PLACES];

/* What all strips share: rows [first_row, end_row) of the whole result, which begins where the
 * first tap of the first input goes, and columns likewise. */
typedef struct lane_spread {
    ptrdiff_t first_row, end_row, first_column, end_column;
    ptrdiff_t x_rows, x_columns;
    ptrdiff_t c_row, c_step, x_row, x_step, ahead, w_step;
    bool stream;
} lane_spread;

/* Adds a row of inputs, the one at x the first that is spread whole, to the sums of the rows [from,
 * to) that its taps go to. */
static inline CVL_INLINE void spread_line(const int m, const bool inside, spread_sums sum,
                                          const lane_spread *d, const real *x, const real *w,
                                          ptrdiff_t place, ptrdiff_t from, ptrdiff_t to) {
    vec xv[SPREAD_BEFORE + SPREAD_PLACES] = {{0}};
    bool meets[SPREAD_BEFORE + SPREAD_PLACES];
    const bool asks = first_in_line(x);
    CVL_UNROLL for (int i = 0; i < SPREAD_BEFORE + m; i++) {
        const ptrdiff_t offset = i - SPREAD_BEFORE;
        if (asks && offset >= 0)
            __builtin_prefetch(x + offset * d->x_step + d->ahead, 0, 2);
        meets[i] = inside || (size_t)(place + offset) < (size_t)d->x_columns;
        if (meets[i])
            xv[i] = load_once(x + offset * d->x_step);
    }
    CVL_UNROLL for (int h = 0; h < SPREAD_TAPS; h++) {
        if (h < from || h >= to)
            continue;
        CVL_UNROLL for (int k = 0; k < SPREAD_TAPS; k++) {
            const vec wv = load(w + (h * SPREAD_TAPS + k) * d->w_step);
            CVL_UNROLL for (int i = 0; i < SPREAD_BEFORE + m; i++) {
                const int column = SPREAD_STRIDE * (i - SPREAD_BEFORE) + k;
                if (0 <= column && column < SPREAD_STRIDE * m && meets[i])
                    sum[h][column] += xv[i] * wv;
            }
        }
    }
}

/* All rows of a strip of m inputs, the first at x in its row 0 and at place `place`, one vector of
 * channels. c is where the result's first row has what that input's first tap goes to. */
static inline CVL_INLINE void spread_body(const int m, const bool inside, const lane_spread *shared,
                                          real *c, const real *init, const real *x, const real *w,
                                          ptrdiff_t place) {
    const lane_spread copy = *shared, *const d = &copy; /* which no store to c can change */
    const bool past = d->stream && whole_lines((uintptr_t)c | (uintptr_t)(c + d->c_step) |
                                                   (uintptr_t)(c + d->c_row), 1);
    spread_sums sum = {{{0}}};
    for (ptrdiff_t r = (d->first_row - 1) >> 1; r * SPREAD_STRIDE < d->end_row; r++) {
        const ptrdiff_t from = d->first_row - r * SPREAD_STRIDE;
        const ptrdiff_t to = d->end_row - r * SPREAD_STRIDE;
        if ((size_t)r < (size_t)d->x_rows)
            spread_line(m, inside, sum, d, x + r * d->x_row, w, place, from, to);
        CVL_UNROLL for (int h = 0; h < SPREAD_STRIDE; h++) {
            if (h < from || h >= to)
                continue;
            CVL_UNROLL for (int i = 0; i < SPREAD_STRIDE * m; i++) {
                const ptrdiff_t column = place * SPREAD_STRIDE + i;
                if (inside || (column >= d->first_column && column < d->end_column))
                    put(c + i * d->c_step, sum[h][i] + load(init), past);
            }
            c += d->c_row;
        }
        CVL_UNROLL for (int h = 0; h < SPREAD_TAPS; h++)
            CVL_UNROLL for (int i = 0; i < SPREAD_STRIDE * m; i++)
                sum[h][i] = h + SPREAD_STRIDE < SPREAD_TAPS ? sum[h + SPREAD_STRIDE][i] : (vec){0};
    }
}

/* A strip of m inputs, all channels. */
#define SPREAD_STRIP(m)                                                                            \
    static void spread_##m(const lane_spread *d, real *c, const real *init, const real *x,         \
                           const real *w, ptrdiff_t place, bool inside, ptrdiff_t channels) {      \
        for (ptrdiff_t j = 0; j < channels; j = next_vector(j, channels))                          \
            if (inside)                                                                            \
                spread_body(m, true, d, c + j, init + j, x + j, w + j, place);                     \
            else if (m == 1)                                                                       \
                spread_body(m, false, d, c + j, init + j, x + j, w + j, place);                    \
    }
SPREAD_STRIP(1)
SPREAD_STRIP(2)
#if CVL_REGISTERS >= 32
SPREAD_STRIP(3)
SPREAD_STRIP(4)
#endif
#undef SPREAD_STRIP

static void spread_tile(real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init, const real *x,
                        ptrdiff_t x_row, ptrdiff_t x_step, const real *w, ptrdiff_t w_step,
                        const cvl_places *at_rows, const cvl_places *at_columns, ptrdiff_t rows,
                        ptrdiff_t columns, ptrdiff_t channels, bool stream) {
    const lane_spread spread = {.first_row = at_rows->first,
                                .end_row = at_rows->first + rows,
                                .first_column = at_columns->first,
                                .end_column = at_columns->first + columns,
                                .x_rows = at_rows->count,
                                .x_columns = at_columns->count,
                                .c_row = c_row,
                                .c_step = c_step,
                                .x_row = x_row,
                                .x_step = x_step,
                                .ahead = rows / SPREAD_STRIDE * x_row,
                                .w_step = w_step,
                                .stream = stream};
    /* Inputs whose outputs are all in the range, and whose neighbours before exist. */
    ptrdiff_t begin = (spread.first_column + 1) >> 1, end = spread.end_column >> 1;
    begin = begin > SPREAD_BEFORE ? begin : SPREAD_BEFORE;
    end = end < spread.x_columns ? end : spread.x_columns;
    for (ptrdiff_t place = spread.first_column >> 1, m; place * SPREAD_STRIDE < spread.end_column;
         place += m) {
        const bool inside = begin <= place && place < end;
        m = 1;
        if (inside)
            m = (end - place) / ((end - place + SPREAD_PLACES - 1) / SPREAD_PLACES);
        real *const cp = c + (place * SPREAD_STRIDE - spread.first_column) * c_step;
        const real *const xp = x + place * x_step;
        switch (m) {
        case 1: spread_1(&spread, cp, init, xp, w, place, inside, channels); break;
        case 2: spread_2(&spread, cp, init, xp, w, place, inside, channels); break;
#if CVL_REGISTERS >= 32
        case 3: spread_3(&spread, cp, init, xp, w, place, inside, channels); break;
        case 4: spread_4(&spread, cp, init, xp, w, place, inside, channels); break;
#endif
        default: break;
        }
    }
}
