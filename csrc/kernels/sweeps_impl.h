/* Channels along the lanes, one output row after another: for small filters, whose weights fit even
 * 16 registers. Included by kernels_impl.h.
 *
 * The inputs that a row of outputs is the first to read are one stream, whose next lines are asked
 * for while a strip of it is computed: what comes from memory comes as fast as a copy of it would.
 * A walk down columns is as fast with what is in a cache, but reads several streams a little at a
 * time, for which a core cannot ask in time. */

#if CVL_REGISTERS < 32
enum {
    sweep_taps = CVL_SWEEP_TAPS,
    sweep_pixels = 8,       /* of a strip: the level-1 cache keeps what they read */
    sweep_neighbours = 4,   /* that share loads */
    sweep_channels = 4 * L, /* between which more is asked for */
};

/* Lines that are asked for, of some rows, pixel after pixel. */
typedef struct sweep_asks {
    const real *at;
    ptrdiff_t rows, row;
    ptrdiff_t lines, done, skip; /* of a pixel; from its last one to the next pixel */
} sweep_asks;

static void ask_for_lines(sweep_asks *asks, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) {
        for (ptrdiff_t r = 0; r < asks->rows; r++)
            __builtin_prefetch(asks->at - r * asks->row, 0, 2);
        asks->at += line_reals;
        if (++asks->done == asks->lines) {
            asks->done = 0;
            asks->at += asks->skip;
        }
    }
}

/* Asks for the rows of inputs that a row of outputs is the first to read. Returns how many lines of
 * one there are to a pixel of outputs. */
static ptrdiff_t ask_rows(sweep_asks *asks, const cvl_sweep *sweep, ptrdiff_t x_row,
                          ptrdiff_t x_step, ptrdiff_t channels) {
    const ptrdiff_t fresh = sweep->rows > 1 && sweep->row > 0 ? x_row / sweep->row : 1;
    const ptrdiff_t pixel = x_step < sweep->column ? x_step : sweep->column;
    if (pixel <= 0)
        return 0;
    asks->rows = fresh < 1 ? 1 : fresh < sweep->rows ? fresh : sweep->rows;
    asks->row = sweep->row;
    asks->lines = (channels + line_reals - 1) / line_reals;
    asks->skip = pixel - asks->lines * line_reals;
    return x_step / pixel * asks->lines;
}

/* v pixels, one vector of channels, of h rows of n taps. Neighbours share loads: each reads with a
 * tap what the one before it reads with the next. */
static inline CVL_INLINE void sweep_body(const int h, const int n, const int v, real *c,
                                         ptrdiff_t c_step, vec bias, const real *const *row,
                                         ptrdiff_t column, ptrdiff_t x_step,
                                         vec wv[sweep_taps][sweep_taps]) {
    vec sum[sweep_neighbours];
    CVL_UNROLL for (int p = 0; p < v; p++) sum[p] = bias;
    CVL_UNROLL for (int i = 0; i < h; i++) {
        const real *x = row[i];
        CVL_UNROLL for (int t = 0; t < v + n - 1; t++, x += v > 1 ? x_step : column) {
            const vec xv = load_once(x);
            CVL_UNROLL for (int k = 0; k < n; k++)
                if (t >= k && t - k < v)
                    sum[t - k] += xv * wv[i][k];
        }
    }
    CVL_UNROLL for (int p = 0; p < v; p++, c += c_step) store(c, sum[p]);
}

/* A strip of pixels, one vector of channels, v pixels at a time; only the n taps of a row from
 * `first` on lie inside. */
static inline CVL_INLINE void sweep_strip(const int h, const int n, const int v,
                                          const cvl_sweep *sweep, ptrdiff_t first, real *c,
                                          ptrdiff_t c_step, const real *init, const real *x,
                                          ptrdiff_t x_step, const real *w, ptrdiff_t pixels) {
    const ptrdiff_t column = sweep->column;
    const vec bias = load_once(init);
    const real *row[sweep_taps];
    vec wv[sweep_taps][sweep_taps];
    CVL_UNROLL for (int i = 0; i < h; i++) {
        CVL_UNROLL for (int k = 0; k < n; k++)
            wv[i][k] = load_once(w + sweep->weight[i][first + k]);
        row[i] = x + i * sweep->row + first * column;
    }
    ptrdiff_t p = 0;
#define SWEEP_PIXELS(v)                                                                            \
    for (; p + (v) <= pixels; p += (v), c += (v) * c_step) {                                       \
        sweep_body(h, n, v, c, c_step, bias, row, column, x_step, wv);                             \
        CVL_UNROLL for (int i = 0; i < h; i++) row[i] += (v) * x_step;                             \
    }
    if (v > 1)
        SWEEP_PIXELS(v)
    SWEEP_PIXELS(1)
#undef SWEEP_PIXELS
}

/* Writes a line of every pixel past the caches, whole: where a core has no place to keep a part
 * until the rest comes, memory is written twice. */
static void put_lines(real *c, ptrdiff_t c_step, const real *lines, ptrdiff_t pixels) {
    for (ptrdiff_t p = 0; p < pixels; p++, c += c_step, lines += line_reals)
        CVL_UNROLL for (int i = 0; i < line_reals; i += L)
            store_past_caches(c + i, load(lines + i));
}

/* Channels [begin, end) of a strip: functions of their own, for a compiler gives registers out
 * worse in long ones. No tap inside is no row of them. */
#define SWEEP(h, n, v)                                                                             \
    static __attribute__((noinline)) void sweep_##h##_##n##_##v(                                   \
        const cvl_sweep *sweep, ptrdiff_t first, real *c, ptrdiff_t c_step, const real *init,      \
        const real *x, ptrdiff_t x_step, const real *w, ptrdiff_t pixels, ptrdiff_t begin,         \
        ptrdiff_t end, ptrdiff_t channels, bool past) {                                            \
        real lines[sweep_pixels * line_reals];                                                     \
        const ptrdiff_t step = past ? line_reals : c_step;                                         \
        for (ptrdiff_t j = begin; j < end; j = next_vector(j, channels)) {                         \
            const ptrdiff_t in_line = j % line_reals;                                              \
            real *const to = past ? lines + in_line : c + j;                                       \
            sweep_strip(h, n, v, sweep, first, to, step, init + j, x + j, x_step, w + j, pixels);  \
            if (past && in_line + L == line_reals)                                                 \
                put_lines(c + j - in_line, c_step, lines, pixels);                                 \
        }                                                                                          \
    }
#define SWEEP_ROWS(one, h) one(h, 1, 1) one(h, 2, 1) one(h, 3, 1) one(h, 3, 4)
#define SWEEPS(one) one(0, 0, 1) SWEEP_ROWS(one, 1) SWEEP_ROWS(one, 2) SWEEP_ROWS(one, 3)
SWEEPS(SWEEP)
#undef SWEEP

/* How many of these pixels, at most a strip, have the same taps inside: *n of them, from *first
 * on. */
static ptrdiff_t alike_pixels(const cvl_sweep *sweep, const cvl_places *places, ptrdiff_t pixel,
                              ptrdiff_t pixels, ptrdiff_t *first, ptrdiff_t *n) {
    ptrdiff_t alike = 0;
    for (; alike < sweep_pixels && pixel + alike < pixels; alike++) {
        const ptrdiff_t at = places->first + (pixel + alike) * places->step;
        ptrdiff_t begin = 0, end = sweep_taps;
        while (begin < end && at + begin * sweep->place < 0)
            begin++;
        while (end > begin && at + (end - 1) * sweep->place >= places->count)
            end--;
        if (alike > 0 && (begin != *first || end - begin != *n))
            break;
        *first = begin;
        *n = end - begin;
    }
    return alike;
}

static void sweep_tile(real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init, const real *x,
                       ptrdiff_t x_row, ptrdiff_t x_step, const real *w, const cvl_sweep *sweep,
                       const cvl_places *places, ptrdiff_t ahead, ptrdiff_t rows, ptrdiff_t pixels,
                       ptrdiff_t channels, bool stream) {
    const uintptr_t begins = (uintptr_t)c | (uintptr_t)(c + c_row) | (uintptr_t)(c + c_step);
    const bool past =
        stream && channels % line_reals == 0 && whole_lines(begins, line_reals / L);
    sweep_asks asks = {.rows = 0};
    const ptrdiff_t lines = ask_rows(&asks, sweep, x_row, x_step, channels);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t pixel = 0, now; pixel < pixels; pixel += now) {
            ptrdiff_t first = 0, n = 0, asked = 0;
            now = alike_pixels(sweep, places, pixel, pixels, &first, &n);
            real *const to = c + r * c_row + pixel * c_step;
            const real *const from = x + r * x_row + pixel * x_step;
            const bool shares = n == sweep_taps && sweep->column == x_step;
            asks.at = from + (sweep->rows - 1) * sweep->row + (sweep_taps - 1) * sweep->column;
            asks.at += ahead;
            asks.done = 0;
            for (ptrdiff_t j = 0, next; j < channels; j = next) {
                next = channels - j < sweep_channels + L ? channels : j + sweep_channels;
                const ptrdiff_t all = now * lines * next / channels;
                ask_for_lines(&asks, all - asked);
                asked = all;
#define SWEEP_KEY(h, n, v) (((h) * (sweep_taps + 1) + (n)) * 2 + ((v) > 1))
#define SWEEP_CASE(h, n, v)                                                                        \
    case SWEEP_KEY(h, n, v):                                                                       \
        sweep_##h##_##n##_##v(sweep, first, to, c_step, init, from, x_step, w, now, j, next,       \
                              channels, past);                                                     \
        break;
                switch (SWEEP_KEY(n > 0 ? sweep->rows : 0, n, shares ? sweep_neighbours : 1)) {
                    SWEEPS(SWEEP_CASE)
                default: break;
                }
#undef SWEEP_CASE
#undef SWEEP_KEY
            }
        }
}
#undef SWEEPS
#undef SWEEP_ROWS
#endif
