/* The checks of check_kernels.c for one dtype. Included by it with `real`, CVL_DTYPE and CVL_NAME
 * defined. */

typedef CVL_NAME(cvl_kernels) CVL_NAME(table);

/* An array whose element 0 is `at`, and a copy of it on which the formula is computed. */
typedef struct CVL_NAME(array) {
    real *at, *copy_at;
    guarded memory, copy;
} CVL_NAME(array);

static CVL_NAME(array) CVL_NAME(make)(source *s, span used) {
    const size_t bytes = (size_t)(used.high - used.low) * sizeof(real);
    CVL_NAME(array) a;
    a.memory = guard_alloc(bytes, draw(s, 0, 3) > 0);
    a.copy = guard_alloc(bytes, true);
    a.at = (real *)a.memory.data - used.low;
    a.copy_at = (real *)a.copy.data - used.low;
    for (size_t i = 0; i < bytes / sizeof(real); i++)
        ((real *)a.memory.data)[i] = ((real *)a.copy.data)[i] = NAN;
    return a;
}

static void CVL_NAME(set)(source *s, CVL_NAME(array) *a, ptrdiff_t first, ptrdiff_t count) {
    for (ptrdiff_t i = first; i < first + count; i++)
        a->at[i] = a->copy_at[i] = (real)draw(s, -4, 4);
}

/* What the formula of a tile of rows of pixels starts from. */
static void CVL_NAME(begin_pixels)(
    CVL_NAME(array) *c, ptrdiff_t row, ptrdiff_t step, const CVL_NAME(array) *init, ptrdiff_t rows,
                         ptrdiff_t pixels, ptrdiff_t channels) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t p = 0; p < pixels; p++)
            for (ptrdiff_t j = 0; j < channels; j++)
                c->copy_at[i * row + p * step + j] = init->at[j];
}

/* Ends a check: the array must be as its copy, and is freed. */
static void CVL_NAME(compare)(CVL_NAME(array) *a) {
    const real *actual = a->memory.data, *expected = a->copy.data;
    for (size_t i = 0; i < a->memory.bytes / sizeof(real); i++)
        if (actual[i] != expected[i] && !(isnan(actual[i]) && isnan(expected[i]))) {
            guard_fail("element %td is %g, expected %g",
                       (ptrdiff_t)i + ((real *)a->memory.data - a->at), (double)actual[i],
                       (double)expected[i]);
            break;
        }
}

static void CVL_NAME(release)(CVL_NAME(array) *a) {
    guard_free(&a->memory);
    guard_free(&a->copy);
}

/* m rows at even steps. */
static void CVL_NAME(draw_even)(source *s, ptrdiff_t *row, ptrdiff_t m, ptrdiff_t step) {
    row[0] = draw(s, -9, 9);
    for (ptrdiff_t i = 1; i < m; i++)
        row[i] = row[i - 1] + step;
}

/* Places m rows of `width` elements each apart, in any order; returns them in row[]. */
static void CVL_NAME(draw_rows)(source *s, ptrdiff_t *row, ptrdiff_t m, ptrdiff_t width) {
    ptrdiff_t at = draw(s, -9, 9);
    for (ptrdiff_t i = 0; i < m; i++, at += width + draw(s, 0, 1) * draw(s, 0, 9))
        row[i] = at;
    for (ptrdiff_t i = m - 1; i > 0; i--) {
        const ptrdiff_t j = draw(s, 0, i), kept = row[i];
        row[i] = row[j];
        row[j] = kept;
    }
}

static void
CVL_NAME(check_product_tile)(const CVL_NAME(table) *table, const char *isa, source *s, ptrdiff_t v,
                               ptrdiff_t m, bool tall) {
    enum { most_terms = 5, most_length = 20, most_tiles = 3, most_rows = 2 + 3 * CVL_MAX_TALL };
    const ptrdiff_t n_terms = draw(s, 0, most_terms);
    /* A tall tile is one, and has its first row and lane where its operands begin. */
    const ptrdiff_t row_tiles = tall ? 1 : draw(s, 1, most_tiles), first = tall ? 0 : draw(s, 0, 2);
    const ptrdiff_t lane_tiles = tall ? 1 : draw(s, 1, most_tiles), lane = tall ? 0 : draw(s, 0, 9);
    const ptrdiff_t rows = first + row_tiles * m, width = lane_tiles * v * table->lanes;
    /* Where a term's rows of B are at even steps, steps of one and of more than a cache line have
     * loops of their own. */
    const int a_steps = draw(s, 0, 2);
    const ptrdiff_t a_step = a_steps == 0 ? 1 : a_steps == 1 ? draw(s, -3, 4) : draw(s, 16, 40);
    const ptrdiff_t b_step = draw(s, 1, 60) * (draw(s, 0, 1) ? 1 : -1);
    const enum { NOTHING, C_ITSELF, ROWS, SPLAT } start = draw(s, 0, 3);
    const bool one_row = !tall && (start == ROWS || start == SPLAT) && draw(s, 0, 1);
    ptrdiff_t a_row[most_rows], c_row[most_rows], init_row[most_rows];
    ptrdiff_t b_row[3 * most_length], *const even_rows = b_row + 2 * most_length;
    cvl_term terms[most_terms];
    span a_used = {0}, b_used = {0}, c_used = {0}, init_used = {0};
    if (tall) {
        CVL_NAME(draw_even)(s, c_row, m, draw(s, 0, 1) ? width : -width - draw(s, 0, 9));
        CVL_NAME(draw_even)(s, a_row, m, draw(s, -5, 9));
        CVL_NAME(draw_even)(s, init_row, m, draw(s, -2, 2) * draw(s, 0, 9));
    } else {
        CVL_NAME(draw_rows)(s, c_row, rows, width);
        for (ptrdiff_t i = 0; i < rows; i++) {
            a_row[i] = draw(s, -20, 20);
            init_row[i] = one_row ? 0 : draw(s, -20, 20);
        }
    }
    const ptrdiff_t init_lane = start == ROWS ? lane : 0;
    for (ptrdiff_t i = first; i < rows; i++) {
        reach(&c_used, c_row[i] + lane, width);
        if (start == ROWS || start == SPLAT)
            reach(&init_used, init_row[i] + init_lane, start == ROWS ? width : 1);
    }
    for (ptrdiff_t k = 0; k < 2 * most_length; k++)
        b_row[k] = draw(s, -60, 60);
    CVL_NAME(draw_even)(s, even_rows, most_length, b_step);
    for (ptrdiff_t t = 0; t < n_terms; t++) {
        terms[t] = (cvl_term){.a = draw(s, -30, 30),
                              .b = draw(s, 0, most_length),
                              .length = draw(s, 0, 1) * draw(s, 0, most_length),
                              .flush = draw(s, 0, 1)};
        if (draw(s, 0, 1)) {
            terms[t].b_step = b_step;
            const ptrdiff_t last = most_length - (terms[t].length ? terms[t].length : 1);
            terms[t].b = even_rows - b_row + draw(s, 0, last);
        }
        for (ptrdiff_t k = 0; k < terms[t].length; k++) {
            for (ptrdiff_t i = first; i < rows; i++)
                reach(&a_used, terms[t].a + a_row[i] + k * a_step, 1);
            reach(&b_used, b_row[terms[t].b + k] + lane, width);
        }
    }
    guard_case("%s f%d product_tile v %td m %td tall %d row_tiles %td from %td lane_tiles %td from "
               "%td terms %td a_step %td start %d one_row %d",
               isa, 8 * (int)sizeof(real), v, m, (int)tall, row_tiles, first, lane_tiles, lane,
               n_terms, a_step, (int)start, (int)one_row);
    CVL_NAME(array) a = CVL_NAME(make)(s, a_used), b = CVL_NAME(make)(s, b_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used);
    CVL_NAME(array) init = CVL_NAME(make)(s, init_used);
    for (ptrdiff_t t = 0; t < n_terms; t++)
        for (ptrdiff_t k = 0; k < terms[t].length; k++) {
            for (ptrdiff_t i = first; i < rows; i++)
                CVL_NAME(set)(s, &a, terms[t].a + a_row[i] + k * a_step, 1);
            CVL_NAME(set)(s, &b, b_row[terms[t].b + k] + lane, width);
        }
    for (ptrdiff_t i = first; i < rows; i++)
        if (start == C_ITSELF)
            CVL_NAME(set)(s, &c, c_row[i] + lane, width);
        else if (start != NOTHING)
            CVL_NAME(set)(s, &init, init_row[i] + init_lane, start == ROWS ? width : 1);

    for (ptrdiff_t i = first; i < rows; i++)
        for (ptrdiff_t j = lane; j < lane + width; j++) {
            real sum = start == NOTHING    ? 0
                       : start == C_ITSELF ? c.at[c_row[i] + j]
                       : start == ROWS     ? init.at[init_row[i] + j]
                                           : init.at[init_row[i]];
            for (ptrdiff_t t = 0; t < n_terms; t++)
                for (ptrdiff_t k = 0; k < terms[t].length; k++)
                    sum +=
                        a.at[terms[t].a + a_row[i] + k * a_step] * b.at[b_row[terms[t].b + k] + j];
            c.copy_at[c_row[i] + j] = sum;
        }
    const real *from = start == NOTHING ? NULL : start == C_ITSELF ? c.at : init.at;
    const ptrdiff_t *from_row = start == C_ITSELF ? c_row : init_row;
    const ptrdiff_t next = m > 1;
    const bool stream = draw(s, 0, 1);
    const CVL_NAME(cvl_product) product = {c.at,           c_row, from,  one_row ? NULL : from_row,
                                 start == SPLAT, a.at,  a_row, a_step,
                                 b.at,           b_row, terms, n_terms,
                                 stream};
    if (tall)
        table->tall_tile[m - 1](c.at + c_row[0], c_row[next] - c_row[0],
                                from ? from + from_row[0] : NULL, from_row[next] - from_row[0],
                                start == SPLAT, a.at + a_row[0], a_row[next] - a_row[0], a_step,
                                b.at, b_row, terms, n_terms, stream);
    else
        table->product_tile[v - 1][m - 1](&product, first, row_tiles, lane, lane_tiles);
    __sync_synchronize();
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&a), CVL_NAME(release)(&b), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

static void
CVL_NAME(check_pixel_tile)(const CVL_NAME(table) *table, const char *isa, source *s, ptrdiff_t m) {
    enum { most_length = 30 };
    const ptrdiff_t length = draw(s, 0, most_length), vectors = draw(s, 0, 20);
    const ptrdiff_t width = vectors * table->lanes, c_row = draw_stride(s, width);
    const ptrdiff_t a_row = draw(s, -40, 40);
    const bool with_init = draw(s, 0, 1);
    ptrdiff_t offset[most_length];
    span a_used = {0}, b_used = {0}, c_used = {0};
    for (ptrdiff_t k = 0; k < length; k++)
        reach(&b_used, offset[k] = draw(s, -60, 60), width);
    for (ptrdiff_t i = 0; i < m; i++) {
        reach(&a_used, i * a_row, length);
        reach(&c_used, i * c_row, width);
    }
    guard_case("%s f%d pixel_tile m %td vectors %td length %td c_row %td a_row %td init %d", isa,
               8 * (int)sizeof(real), m, vectors, length, c_row, a_row, with_init);
    CVL_NAME(array) a = CVL_NAME(make)(s, a_used), b = CVL_NAME(make)(s, b_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used);
    CVL_NAME(array) init = CVL_NAME(make)(s, (span){0, with_init ? m : 0});
    for (ptrdiff_t k = 0; k < length; k++)
        CVL_NAME(set)(s, &b, offset[k], width);
    for (ptrdiff_t i = 0; i < m; i++) {
        CVL_NAME(set)(s, &a, i * a_row, length);
        if (with_init)
            CVL_NAME(set)(s, &init, i, 1);
        else
            CVL_NAME(set)(s, &c, i * c_row, width);
    }

    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = 0; j < width; j++) {
            real sum = with_init ? init.at[i] : c.at[i * c_row + j];
            for (ptrdiff_t k = 0; k < length; k++)
                sum += a.at[i * a_row + k] * b.at[offset[k] + j];
            c.copy_at[i * c_row + j] = sum;
        }
    table->pixel_tile[m - 1](c.at, c_row, a.at, a_row, b.at, offset, length, vectors,
                             with_init ? init.at : NULL);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&a), CVL_NAME(release)(&b), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

static void CVL_NAME(check_row_tile)(const CVL_NAME(table) *table, const char *isa, source *s) {
    enum { most_columns = 6 };
    const ptrdiff_t a_rows = draw(s, 1, 7), a_columns = draw(s, 1, most_columns);
    const ptrdiff_t rows = draw(s, 1, 9), vectors = draw(s, 0, 9), width = vectors * table->lanes;
    const ptrdiff_t c_row = draw_stride(s, width), b_row = draw(s, -80, 80);
    const bool with_init = draw(s, 0, 1);
    ptrdiff_t column[most_columns];
    span b_used = {0}, c_used = {0};
    for (ptrdiff_t w = 0; w < a_columns; w++) {
        column[w] = draw(s, -20, 20);
        for (ptrdiff_t r = 0; r < rows + a_rows - 1; r++)
            reach(&b_used, r * b_row + column[w], width);
    }
    for (ptrdiff_t i = 0; i < rows; i++)
        reach(&c_used, i * c_row, width);
    guard_case("%s f%d row_tile a %td x %td rows %td vectors %td c_row %td b_row %td init %d", isa,
               8 * (int)sizeof(real), a_rows, a_columns, rows, vectors, c_row, b_row, with_init);
    CVL_NAME(array) a = CVL_NAME(make)(s, (span){0, a_rows * a_columns});
    CVL_NAME(array) b = CVL_NAME(make)(s, b_used), c = CVL_NAME(make)(s, c_used);
    CVL_NAME(array) init = CVL_NAME(make)(s, (span){0, with_init ? 1 : 0});
    CVL_NAME(set)(s, &a, 0, a_rows * a_columns);
    for (ptrdiff_t r = 0; r < rows + a_rows - 1; r++)
        for (ptrdiff_t w = 0; w < a_columns; w++)
            CVL_NAME(set)(s, &b, r * b_row + column[w], width);
    if (with_init)
        CVL_NAME(set)(s, &init, 0, 1);
    else
        for (ptrdiff_t i = 0; i < rows; i++)
            CVL_NAME(set)(s, &c, i * c_row, width);

    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < width; j++) {
            real sum = with_init ? init.at[0] : c.at[i * c_row + j];
            for (ptrdiff_t h = 0; h < a_rows; h++)
                for (ptrdiff_t w = 0; w < a_columns; w++)
                    sum += a.at[h * a_columns + w] * b.at[(i + h) * b_row + column[w] + j];
            c.copy_at[i * c_row + j] = sum;
        }
    table->row_tile(c.at, c_row, a.at, a_rows, a_columns, b.at, b_row, column, rows, vectors,
                    with_init ? init.at : NULL);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&a), CVL_NAME(release)(&b), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

static void CVL_NAME(check_plane_tile)(const CVL_NAME(table) *table, const char *isa, source *s) {
    const bool three = draw(s, 0, 1);
    const ptrdiff_t planes = draw(s, 0, 3), rows = draw(s, 1, 9), columns = draw(s, 1, 80);
    ptrdiff_t column[CVL_PLANE_COLUMNS];
    cvl_plane_taps taps = {.row = draw(s, -20, 20),
                           .step = draw(s, -3, 3),
                           .plane = draw(s, -99, 99),
                           .rows = three ? 3 : draw(s, 1, CVL_MAX_RUN),
                           .columns = three ? 3 : draw(s, 0, CVL_PLANE_COLUMNS),
                           .column = column};
    const cvl_places b_rows = {draw(s, -9, 3), draw(s, 1, 2), draw(s, 0, 12)};
    /* Rows of outputs that follow one another, or leave room; planes of them, too. */
    cvl_plane to = {
        .row = columns + draw(s, 0, 1) * draw(s, 0, 9), .rows = rows, .columns = columns};
    to.plane = rows * to.row + draw(s, 0, 1) * draw(s, 0, 9);
    const cvl_plane from = {draw(s, -300, 300), draw(s, -99, 99), 0, draw(s, 0, 90),
                            draw(s, -999, 999)};
    const ptrdiff_t init_plane = draw(s, -2, 2);
    const bool with_init = draw(s, 0, 2) > 0;
    span a_used = {0}, b_used = {0}, c_used = {0}, init_used = {0};
    for (ptrdiff_t w = 0; w < taps.columns; w++)
        column[w] = draw(s, -30, 30);
#define IS_ROW(r)                                                                                  \
    (b_rows.first + (r) * b_rows.step >= 0 && b_rows.first + (r) * b_rows.step < b_rows.count)
    for (ptrdiff_t p = 0; p < planes; p++) {
        reach(&init_used, p * init_plane, with_init ? 1 : 0);
        for (ptrdiff_t h = 0; h < taps.rows; h++)
            for (ptrdiff_t w = 0; w < taps.columns; w++)
                reach(&a_used, p * taps.plane + h * taps.row + w * taps.step, 1);
        for (ptrdiff_t r = 0; r < rows + taps.rows - 1; r++)
            if (IS_ROW(r))
                reach(&b_used, p * from.plane + r * from.row, from.columns);
        for (ptrdiff_t i = 0; i < rows; i++)
            reach(&c_used, p * to.plane + i * to.row, columns);
    }
    guard_case(
        "%s f%d plane_tile planes %td taps %td x %td rows %td columns %td of %td row %td init "
        "%d",
        isa, 8 * (int)sizeof(real), planes, taps.rows, taps.columns, rows, columns, from.columns,
        to.row, with_init);
    CVL_NAME(array) a = CVL_NAME(make)(s, a_used), b = CVL_NAME(make)(s, b_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used), init = CVL_NAME(make)(s, init_used);
    CVL_NAME(set)(s, &a, a_used.low, a_used.high - a_used.low);
    CVL_NAME(set)(s, &init, init_used.low, init_used.high - init_used.low);
    for (ptrdiff_t p = 0; p < planes; p++) {
        for (ptrdiff_t r = 0; r < rows + taps.rows - 1; r++)
            if (IS_ROW(r))
                CVL_NAME(set)(s, &b, p * from.plane + r * from.row, from.columns);
        for (ptrdiff_t i = 0; i < rows && !with_init; i++)
            CVL_NAME(set)(s, &c, p * to.plane + i * to.row, columns);
    }

    for (ptrdiff_t p = 0; p < planes; p++)
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < columns; j++) {
                const ptrdiff_t at = p * to.plane + i * to.row + j;
                real sum = with_init ? init.at[p * init_plane] : c.at[at];
                for (ptrdiff_t h = 0; h < taps.rows; h++)
                    for (ptrdiff_t w = 0; w < taps.columns; w++)
                        if (IS_ROW(i + h) && j + column[w] >= 0 && j + column[w] < from.columns)
                            sum += a.at[p * taps.plane + h * taps.row + w * taps.step] *
                                   b.at[p * from.plane + (i + h) * from.row + j + column[w]];
                c.copy_at[at] = sum;
            }
#undef IS_ROW
    table->plane_tile(c.at, &to, with_init ? init.at : NULL, init_plane, a.at, &taps, b.at, &from,
                      &b_rows, planes);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&a), CVL_NAME(release)(&b), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

static void CVL_NAME(check_plane_sums)(const CVL_NAME(table) *table, const char *isa, source *s) {
    const ptrdiff_t planes = draw(s, 0, 3), lanes = table->lanes;
    ptrdiff_t column[CVL_PLANE_SUMS];
    const cvl_plane_taps taps = {.rows = draw(s, 1, CVL_PLANE_SUMS),
                                 .columns = draw(s, 1, CVL_PLANE_SUMS),
                                 .step = lanes,
                                 .row = CVL_PLANE_SUMS * lanes,
                                 .plane = CVL_PLANE_SUMS * CVL_PLANE_SUMS * lanes,
                                 .column = column};
    const cvl_places x_rows = {draw(s, -9, 3), draw(s, 1, 2), draw(s, 0, 12)};
    const cvl_plane dy_at = {draw(s, -300, 300), draw(s, -99, 99), draw(s, 1, 9), draw(s, 1, 80),
                             draw(s, -999, 999)};
    const cvl_plane x_at = {draw(s, -300, 300), draw(s, -99, 99), 0, draw(s, 0, 90),
                            draw(s, -999, 999)};
    span dy_used = {0}, x_used = {0};
    for (ptrdiff_t w = 0; w < taps.columns; w++)
        column[w] = draw(s, -30, 30);
#define IS_ROW(r)                                                                                  \
    (x_rows.first + (r) * x_rows.step >= 0 && x_rows.first + (r) * x_rows.step < x_rows.count)
    for (ptrdiff_t p = 0; p < planes; p++) {
        for (ptrdiff_t r = 0; r < dy_at.rows + taps.rows - 1; r++)
            if (IS_ROW(r))
                reach(&x_used, p * x_at.plane + r * x_at.row, x_at.columns);
        for (ptrdiff_t i = 0; i < dy_at.rows; i++)
            reach(&dy_used, p * dy_at.plane + i * dy_at.row, dy_at.columns);
    }
    guard_case("%s f%d plane_sums planes %td taps %td x %td rows %td columns %td of %td", isa,
               8 * (int)sizeof(real), planes, taps.rows, taps.columns, dy_at.rows, dy_at.columns,
               x_at.columns);
    CVL_NAME(array) dy = CVL_NAME(make)(s, dy_used), x = CVL_NAME(make)(s, x_used);
    CVL_NAME(array) sums = CVL_NAME(make)(s, (span){0, planes * taps.plane});
    CVL_NAME(set)(s, &sums, 0, planes * taps.plane);
    for (ptrdiff_t p = 0; p < planes; p++) {
        for (ptrdiff_t r = 0; r < dy_at.rows + taps.rows - 1; r++)
            if (IS_ROW(r))
                CVL_NAME(set)(s, &x, p * x_at.plane + r * x_at.row, x_at.columns);
        for (ptrdiff_t i = 0; i < dy_at.rows; i++)
            CVL_NAME(set)(s, &dy, p * dy_at.plane + i * dy_at.row, dy_at.columns);
    }

    for (ptrdiff_t p = 0; p < planes; p++)
        for (ptrdiff_t h = 0; h < taps.rows; h++)
            for (ptrdiff_t w = 0; w < taps.columns; w++)
                for (ptrdiff_t i = 0; i < dy_at.rows; i++)
                    for (ptrdiff_t j = 0; j < dy_at.columns; j++)
                        if (IS_ROW(i + h) && j + column[w] >= 0 && j + column[w] < x_at.columns)
                            sums.copy_at[p * taps.plane + h * taps.row + w * taps.step] +=
                                dy.at[p * dy_at.plane + i * dy_at.row + j] *
                                x.at[p * x_at.plane + (i + h) * x_at.row + j + column[w]];
#undef IS_ROW
    table->plane_sums(sums.at, &taps, dy.at, &dy_at, x.at, &x_at, &x_rows, planes);
    /* Which part has which products is not told: each tap's are compared as one. */
    for (ptrdiff_t at = 0; at < planes * taps.plane; at += lanes)
        for (ptrdiff_t l = 1; l < lanes; l++) {
            sums.at[at] += sums.at[at + l], sums.copy_at[at] += sums.copy_at[at + l];
            sums.at[at + l] = sums.copy_at[at + l] = 0;
        }
    CVL_NAME(compare)(&sums);
    CVL_NAME(release)(&dy), CVL_NAME(release)(&x), CVL_NAME(release)(&sums);
}

static void CVL_NAME(check_add)(const CVL_NAME(table) *table, const char *isa, source *s) {
    const ptrdiff_t count = draw(s, 0, 70);
    guard_case("%s f%d add count %td", isa, 8 * (int)sizeof(real), count);
    CVL_NAME(array) x = CVL_NAME(make)(s, (span){0, count});
    CVL_NAME(array) c = CVL_NAME(make)(s, (span){0, count});
    CVL_NAME(set)(s, &x, 0, count);
    CVL_NAME(set)(s, &c, 0, count);
    for (ptrdiff_t i = 0; i < count; i++)
        c.copy_at[i] = c.at[i] + x.at[i];
    table->add(c.at, x.at, count);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&x), CVL_NAME(release)(&c);
}

static void CVL_NAME(check_add_parts)(const CVL_NAME(table) *table, const char *isa, source *s) {
    const ptrdiff_t count = draw(s, 0, 40), lanes = table->lanes;
    guard_case("%s f%d add_parts count %td", isa, 8 * (int)sizeof(real), count);
    CVL_NAME(array) parts = CVL_NAME(make)(s, (span){0, count * lanes});
    CVL_NAME(array) c = CVL_NAME(make)(s, (span){0, count});
    CVL_NAME(set)(s, &parts, 0, count * lanes);
    for (ptrdiff_t i = 0; i < count; i++) {
        c.copy_at[i] = 0;
        for (ptrdiff_t l = 0; l < lanes; l++)
            c.copy_at[i] += parts.at[i * lanes + l];
    }
    table->add_parts(c.at, parts.at, count);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&parts), CVL_NAME(release)(&c);
}

/* A group's width: one channel, or a power of two, at most the kernel's. */
static ptrdiff_t CVL_NAME(draw_width)(ptrdiff_t most, source *s) {
    ptrdiff_t width = 1;
    while (2 * width <= most && draw(s, 0, 2))
        width *= 2;
    return width;
}

static void CVL_NAME(check_lane_tile)(const CVL_NAME(table) *table, const char *isa, source *s) {
    enum { taps = CVL_DESCENT_TAPS, most_stride = 2, most_depths = 3 };
    enum { few_runs = 6, most_runs = taps * most_stride * most_depths };
    const ptrdiff_t stride = draw(s, 0, most_stride); /* of a filter of 3x3; 0 for any runs */
    const ptrdiff_t depths = draw(s, 1, most_depths), row_runs = depths * stride;
    const ptrdiff_t lanes = table->lanes, rows = draw(s, 0, 7), pixels = draw(s, 0, 20);
    const ptrdiff_t width = stride ? 1 : CVL_NAME(draw_width)(table->group_width, s);
    const ptrdiff_t channels = draw(s, lanes / width, 10 * lanes / width) * width;
    const ptrdiff_t n_runs = stride ? taps * row_runs : draw(s, 0, few_runs);
    const ptrdiff_t w_channel = draw_stride(s, channels);
    const bool stream = draw(s, 0, 1);
    const ptrdiff_t c_step = draw_stride(s, channels),
                    x_step = draw_stride(s, draw(s, 0, channels));
    const ptrdiff_t c_row = draw_stride(s, channels + pixels * (c_step < 0 ? -c_step : c_step));
    const ptrdiff_t w_step = draw_stride(s, draw(s, 0, channels)), line = draw(s, -60, 60);
    const ptrdiff_t x_row = stride ? stride * line : line;
    const ptrdiff_t ahead = draw(s, 0, 1) * draw(s, -60, 60);
    const cvl_places places = {draw(s, -9, 9), draw(s, 1, 3), draw(s, 0, 60)};
    cvl_lane_run runs[most_runs];
    span x_used = {0}, w_used = {0}, c_used = {0};
    for (ptrdiff_t r = 0; r < n_runs; r++) {
        runs[r] = (cvl_lane_run){draw(s, -60, 60), draw(s, -60, 60), draw(s, 1, CVL_MAX_RUN),
                                 draw(s, -9, 9), draw(s, 0, 1)};
        if (stride)
            runs[r].taps = (taps - 1 - r % stride) / stride + 1;
        if (stride)
            runs[r].place = runs[r % stride].place;
        if (stride && r >= row_runs)
            runs[r].x = runs[r % row_runs].x + r / row_runs * line;
        if (stride && r + 1 < n_runs)
            runs[r].flush = draw(s, 0, 19) == 0;
    }
#define EACH_PRODUCT                                                                               \
    for (ptrdiff_t i = 0; i < rows; i++)                                                           \
        for (ptrdiff_t p = 0; p < pixels; p++)                                                     \
            for (ptrdiff_t r = 0; r < n_runs; r++)                                                 \
                for (ptrdiff_t k = 0, place; k < runs[r].taps; k++)                                \
                    if (place = places.first + runs[r].place + (p + k) * places.step,              \
                        place >= 0 && place < places.count)
    EACH_PRODUCT reach(&x_used, i * x_row + runs[r].x + (p + k) * x_step, channels);
#define EACH_WEIGHT                                                                                \
    for (ptrdiff_t r = 0; r < n_runs; r++)                                                         \
        for (ptrdiff_t k = 0; k < runs[r].taps; k++)                                               \
            for (ptrdiff_t h = 0; h < width; h++)
    EACH_WEIGHT reach(&w_used, runs[r].w + k * w_step + h * w_channel, channels);
    reach_pixels(&c_used, c_row, c_step, rows, pixels, channels);
    guard_case("%s f%d lane_tile stride %td depths %td width %td runs %td rows %td pixels %td "
               "channels %td c %td %td x %td %td ahead %td w %td %td places %td %td %td stream %d",
               isa, 8 * (int)sizeof(real), stride, depths, width, n_runs, rows, pixels, channels,
               c_row, c_step, x_row, x_step, ahead, w_step, w_channel, places.first, places.step,
               places.count, stream);
    CVL_NAME(array) x = CVL_NAME(make)(s, x_used), w = CVL_NAME(make)(s, w_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used), init = CVL_NAME(make)(s, (span){0, channels});
    CVL_NAME(set)(s, &init, 0, channels);
    EACH_WEIGHT CVL_NAME(set)(s, &w, runs[r].w + k * w_step + h * w_channel, channels);
    EACH_PRODUCT CVL_NAME(set)(s, &x, i * x_row + runs[r].x + (p + k) * x_step, channels);

    CVL_NAME(begin_pixels)(&c, c_row, c_step, &init, rows, pixels, channels);
    EACH_PRODUCT for (ptrdiff_t j = 0; j < channels; j++) for (ptrdiff_t h = 0; h < width; h++)
        c.copy_at[i * c_row + p * c_step + j] +=
        x.at[i * x_row + runs[r].x + (p + k) * x_step + j - j % width + h] *
        w.at[runs[r].w + k * w_step + h * w_channel + j];
#undef EACH_PRODUCT
#undef EACH_WEIGHT
    table->lane_tile(c.at, c_row, c_step, init.at, x.at, x_row, x_step, w.at,
                     &(cvl_lane_weights){width, w_channel, w_step}, runs, n_runs, &places, ahead,
                     rows, pixels, channels, stream);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&x), CVL_NAME(release)(&w), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

static void CVL_NAME(check_spread_tile)(const CVL_NAME(table) *table, const char *isa, source *s) {
    enum { taps = CVL_SPREAD_TAPS };
    const ptrdiff_t lanes = table->lanes, rows = draw(s, 0, 9), columns = draw(s, 0, 30);
    const ptrdiff_t channels = draw(s, lanes, 4 * lanes);
    const cvl_places at_rows = {draw(s, 0, 9), 2, draw(s, 0, 7)};
    const cvl_places at_columns = {draw(s, 0, 9), 2, draw(s, 0, 18)};
    const bool stream = draw(s, 0, 1);
    const ptrdiff_t c_step = draw_stride(s, channels),
                    x_step = draw_stride(s, draw(s, 0, channels)), x_row = draw(s, -60, 60);
    const ptrdiff_t c_row = draw_stride(s, channels + columns * (c_step < 0 ? -c_step : c_step));
    const ptrdiff_t w_step = draw_stride(s, draw(s, 0, channels));
    span x_used = {0}, w_used = {0}, c_used = {0};
#define EACH_PRODUCT                                                                               \
    for (ptrdiff_t i = 0; i < rows; i++)                                                           \
        for (ptrdiff_t p = 0; p < columns; p++)                                                    \
            for (ptrdiff_t h = 0; h < taps; h++)                                                   \
                for (ptrdiff_t k = 0, x_at; k < taps; k++)                                         \
                    for (ptrdiff_t r = 0; r < at_rows.count; r++)                                  \
                        for (ptrdiff_t q = 0; q < at_columns.count; q++)                           \
                            if (x_at = r * x_row + q * x_step,                                     \
                                2 * r + h == at_rows.first + i &&                                  \
                                    2 * q + k == at_columns.first + p)
    reach_pixels(&x_used, x_row, x_step, at_rows.count, at_columns.count, channels);
    for (ptrdiff_t k = 0; k < taps * taps; k++)
        reach(&w_used, k * w_step, channels);
    reach_pixels(&c_used, c_row, c_step, rows, columns, channels);
    guard_case(
        "%s f%d spread_tile rows %td of %td from %td columns %td of %td from %td channels %td "
        "c %td %td x %td %td w %td stream %d",
        isa, 8 * (int)sizeof(real), rows, at_rows.count, at_rows.first, columns, at_columns.count,
        at_columns.first, channels, c_row, c_step, x_row, x_step, w_step, stream);
    CVL_NAME(array) x = CVL_NAME(make)(s, x_used), w = CVL_NAME(make)(s, w_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used), init = CVL_NAME(make)(s, (span){0, channels});
    CVL_NAME(set)(s, &init, 0, channels);
    for (ptrdiff_t k = 0; k < taps * taps; k++)
        CVL_NAME(set)(s, &w, k * w_step, channels);
    EACH_PRODUCT CVL_NAME(set)(s, &x, x_at, channels);

    CVL_NAME(begin_pixels)(&c, c_row, c_step, &init, rows, columns, channels);
    EACH_PRODUCT for (ptrdiff_t j = 0; j < channels; j++) c.copy_at[i * c_row + p * c_step + j] +=
        x.at[x_at + j] * w.at[(h * taps + k) * w_step + j];
#undef EACH_PRODUCT
    table->spread_tile(c.at, c_row, c_step, init.at, x.at, x_row, x_step, w.at, w_step, &at_rows,
                       &at_columns, rows, columns, channels, stream);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&x), CVL_NAME(release)(&w), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

static void CVL_NAME(check_sweep_tile)(const CVL_NAME(table) *table, const char *isa, source *s) {
    enum { taps = CVL_SWEEP_TAPS, line = 64 / sizeof(real) };
    const ptrdiff_t lanes = table->lanes, rows = draw(s, 0, 5), pixels = draw(s, 0, 30);
    const bool stream = draw(s, 0, 1), lines = draw(s, 0, 1); /* whether results are whole ones */
    const ptrdiff_t channels = lines ? draw(s, 1, 5) * line : draw(s, lanes, 10 * lanes);
    const ptrdiff_t c_step = lines ? channels : draw_stride(s, channels);
    const ptrdiff_t x_step = draw_stride(s, draw(s, 0, channels)), x_row = draw(s, -60, 60);
    const ptrdiff_t width = pixels * (c_step < 0 ? -c_step : c_step);
    const ptrdiff_t c_row = lines ? width : draw_stride(s, channels + width);
    const ptrdiff_t ahead = draw(s, -60, 60);
    const cvl_places places = {draw(s, -9, 9), draw(s, 1, 3), draw(s, 0, 60)};
    cvl_sweep sweep = {draw(s, 1, taps),
                       draw(s, -60, 60),
                       draw(s, 0, 1) ? x_step : draw(s, -60, 60),
                       draw(s, 1, 5),
                       {{0}}};
    for (ptrdiff_t k = 0; k < taps * taps; k++)
        sweep.weight[k / taps][k % taps] = draw(s, -60, 60);
    span x_used = {0}, w_used = {0}, c_used = {0};
#define EACH_PRODUCT                                                                               \
    for (ptrdiff_t i = 0; i < rows; i++)                                                           \
        for (ptrdiff_t p = 0; p < pixels; p++)                                                     \
            for (ptrdiff_t h = 0; h < sweep.rows; h++)                                             \
                for (ptrdiff_t k = 0, x_at, place; k < taps; k++)                                  \
                    if (x_at = i * x_row + h * sweep.row + p * x_step + k * sweep.column,          \
                        place = places.first + p * places.step + k * sweep.place,                  \
                        place >= 0 && place < places.count)
    EACH_PRODUCT reach(&x_used, x_at, channels);
    for (ptrdiff_t k = 0; k < sweep.rows * taps; k++)
        reach(&w_used, sweep.weight[k / taps][k % taps], channels);
    reach_pixels(&c_used, c_row, c_step, rows, pixels, channels);
    guard_case(
        "%s f%d sweep_tile taps %td rows %td %td pixels %td channels %td c %td %td x %td %td "
        "ahead %td column %td place %td places %td %td %td stream %d",
        isa, 8 * (int)sizeof(real), sweep.rows, rows, sweep.row, pixels, channels, c_row, c_step,
        x_row, x_step, ahead, sweep.column, sweep.place, places.first, places.step, places.count,
        stream);
    CVL_NAME(array) x = CVL_NAME(make)(s, x_used), w = CVL_NAME(make)(s, w_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used), init = CVL_NAME(make)(s, (span){0, channels});
    CVL_NAME(set)(s, &init, 0, channels);
    for (ptrdiff_t k = 0; k < sweep.rows * taps; k++)
        CVL_NAME(set)(s, &w, sweep.weight[k / taps][k % taps], channels);
    EACH_PRODUCT CVL_NAME(set)(s, &x, x_at, channels);

    CVL_NAME(begin_pixels)(&c, c_row, c_step, &init, rows, pixels, channels);
    EACH_PRODUCT for (ptrdiff_t j = 0; j < channels; j++) c.copy_at[i * c_row + p * c_step + j] +=
        x.at[x_at + j] * w.at[sweep.weight[h][k] + j];
#undef EACH_PRODUCT
    table->sweep_tile(c.at, c_row, c_step, init.at, x.at, x_row, x_step, w.at, &sweep, &places,
                      ahead, rows, pixels, channels, stream);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&x), CVL_NAME(release)(&w), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

static void CVL_NAME(check_tap_sums)(const CVL_NAME(table) *table, const char *isa, source *s) {
    enum { most_taps = 25 };
    const ptrdiff_t lanes = table->lanes, taps = draw(s, 0, most_taps), rows = draw(s, 0, 5);
    const ptrdiff_t columns = draw(s, 0, 3 * lanes);
    const ptrdiff_t readable = (columns + lanes - 1) / lanes * lanes;
    const ptrdiff_t dy_row = draw_stride(s, draw(s, 0, readable));
    const ptrdiff_t x_row = draw_stride(s, draw(s, 0, readable));
    ptrdiff_t offset[most_taps];
    span dy_used = {0}, x_used = {0};
    for (ptrdiff_t k = 0; k < taps; k++)
        offset[k] = draw(s, -60, 60);
    for (ptrdiff_t r = 0; r < rows; r++) {
        reach(&dy_used, r * dy_row, readable);
        for (ptrdiff_t k = 0; k < taps; k++)
            reach(&x_used, r * x_row + offset[k], readable);
    }
    guard_case("%s f%d tap_sums taps %td rows %td columns %td dy_row %td x_row %td", isa,
               8 * (int)sizeof(real), taps, rows, columns, dy_row, x_row);
    CVL_NAME(array) dy = CVL_NAME(make)(s, dy_used), x = CVL_NAME(make)(s, x_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, (span){0, taps});
    CVL_NAME(set)(s, &c, 0, taps);
    for (ptrdiff_t r = 0; r < rows; r++) {
        CVL_NAME(set)(s, &dy, r * dy_row, columns);
        for (ptrdiff_t k = 0; k < taps; k++)
            CVL_NAME(set)(s, &x, r * x_row + offset[k], columns);
    }

    for (ptrdiff_t k = 0; k < taps; k++)
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t j = 0; j < columns; j++)
                c.copy_at[k] += dy.at[r * dy_row + j] * x.at[r * x_row + offset[k] + j];
    table->tap_sums(c.at, dy.at, dy_row, x.at, x_row, offset, taps, rows, columns);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&dy), CVL_NAME(release)(&x), CVL_NAME(release)(&c);
}

static void CVL_NAME(check_lane_sums)(const CVL_NAME(table) *table, const char *isa, source *s) {
    enum { most_runs = 12 };
    const ptrdiff_t vectors = draw(s, 1, 3), lanes = vectors * table->lanes;
    const ptrdiff_t rows = draw(s, 0, 3), pixels = draw(s, 0, 20);
    const ptrdiff_t width = CVL_NAME(draw_width)(table->sums_width, s);
    const ptrdiff_t n_runs = draw(s, 0, most_runs), c_channel = draw_stride(s, lanes);
    const ptrdiff_t c_step = draw_stride(s, width * (c_channel < 0 ? -c_channel : c_channel));
    const ptrdiff_t dy_row = draw(s, -50, 50), dy_step = draw(s, -20, 20);
    const ptrdiff_t x_row = draw(s, -50, 50), x_step = draw(s, -20, 20);
    const ptrdiff_t apart = CVL_MAX_RUN * (c_step < 0 ? -c_step : c_step) + lanes +
                            width * (c_channel < 0 ? -c_channel : c_channel);
    const cvl_places places = {draw(s, -9, 9), draw(s, 1, 3), draw(s, 0, 60)};
    cvl_lane_run runs[most_runs];
    span dy_used = {0}, x_used = {0}, c_used = {0};
    for (ptrdiff_t r = 0; r < n_runs; r++) {
        const bool alike = r > 0 && draw(s, 0, 3);
        runs[r] = (cvl_lane_run){.x = draw(s, -60, 60),
                                 .w = r * apart,
                                 .taps = alike ? runs[r - 1].taps : draw(s, 1, CVL_MAX_RUN),
                                 .place = alike ? runs[r - 1].place : draw(s, -9, 9)};
        for (ptrdiff_t k = 0; k < runs[r].taps; k++)
            for (ptrdiff_t h = 0; h < width; h++)
                reach(&c_used, runs[r].w + k * c_step + h * c_channel, lanes);
    }
#define EACH_PRODUCT                                                                               \
    for (ptrdiff_t i = 0; i < rows; i++)                                                           \
        for (ptrdiff_t p = 0; p < pixels; p++)                                                     \
            for (ptrdiff_t r = 0; r < n_runs; r++)                                                 \
                for (ptrdiff_t k = 0, place; k < runs[r].taps; k++)                                \
                    if (place = places.first + runs[r].place + (p + k) * places.step,              \
                        place >= 0 && place < places.count)
    EACH_PRODUCT reach(&x_used, i * x_row + runs[r].x + (p + k) * x_step, lanes);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t p = 0; p < pixels; p++)
            reach(&dy_used, i * dy_row + p * dy_step, lanes);
    guard_case(
        "%s f%d lane_sums width %td runs %td rows %td pixels %td vectors %td c %td %td dy %td %td "
        "x %td %td places %td %td %td",
        isa, 8 * (int)sizeof(real), width, n_runs, rows, pixels, vectors, c_step, c_channel, dy_row,
        dy_step, x_row, x_step, places.first, places.step, places.count);
    CVL_NAME(array) dy = CVL_NAME(make)(s, dy_used), x = CVL_NAME(make)(s, x_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used);
    for (ptrdiff_t r = 0; r < n_runs; r++)
        for (ptrdiff_t k = 0; k < runs[r].taps; k++)
            for (ptrdiff_t h = 0; h < width; h++)
                CVL_NAME(set)(s, &c, runs[r].w + k * c_step + h * c_channel, lanes);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t p = 0; p < pixels; p++)
            CVL_NAME(set)(s, &dy, i * dy_row + p * dy_step, lanes);
    EACH_PRODUCT CVL_NAME(set)(s, &x, i * x_row + runs[r].x + (p + k) * x_step, lanes);

    EACH_PRODUCT for (ptrdiff_t j = 0; j < lanes; j++) for (ptrdiff_t h = 0; h < width; h++)
        c.copy_at[runs[r].w + k * c_step + h * c_channel + j] +=
        dy.at[i * dy_row + p * dy_step + j] *
        x.at[i * x_row + runs[r].x + (p + k) * x_step + j - j % width + h];
#undef EACH_PRODUCT
    (width > 1 ? table->group_sums : table->lane_sums)(
        c.at, &(cvl_lane_weights){width, c_channel, c_step}, dy.at, dy_row, dy_step, x.at, x_row,
        x_step, runs, n_runs, &places, rows, pixels, vectors, draw(s, 0, 1));
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&dy), CVL_NAME(release)(&x), CVL_NAME(release)(&c);
}

static void CVL_NAME(check_copy)(const CVL_NAME(table) *table, const char *isa, source *s) {
    static const char *const names[] = {"copy", "copy_past", "copy_between"};
    CVL_NAME(cvl_copy) *const copies[] = {table->copy, table->copy_past, table->copy_between};
    const ptrdiff_t which = draw(s, 0, 2);
    const ptrdiff_t most = draw(s, 0, 1) ? 3 * table->lanes + 2 : 6;
    const ptrdiff_t rows = draw(s, 0, most), columns = draw(s, 0, most);
    const bool dst_by_rows = draw(s, 0, 1), src_by_rows = draw(s, 0, 1);
    const ptrdiff_t dst_inner = draw(s, 0, 2) ? 1 : draw_stride(s, 2);
    const ptrdiff_t src_inner = draw(s, 0, 2) ? 1 : draw_stride(s, 0);
    const ptrdiff_t apart =
        (dst_by_rows ? rows : columns) * (dst_inner < 0 ? -dst_inner : dst_inner);
    const ptrdiff_t dst_outer = draw_stride(s, apart ? apart : 1);
    const ptrdiff_t src_outer = draw_stride(s, draw(s, 0, most));
    const ptrdiff_t dst_row = dst_by_rows ? dst_inner : dst_outer;
    const ptrdiff_t dst_column = dst_by_rows ? dst_outer : dst_inner;
    const ptrdiff_t src_row = src_by_rows ? src_inner : src_outer;
    const ptrdiff_t src_column = src_by_rows ? src_outer : src_inner;
    span dst_used = {0}, src_used = {0};
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t k = 0; k < columns; k++) {
            reach(&dst_used, r * dst_row + k * dst_column, 1);
            reach(&src_used, r * src_row + k * src_column, 1);
        }
    guard_case(
        "%s f%d %s rows %td columns %td dst_row %td dst_column %td src_row %td src_column %td", isa,
        8 * (int)sizeof(real), names[which], rows, columns, dst_row, dst_column, src_row,
        src_column);
    CVL_NAME(array) dst = CVL_NAME(make)(s, dst_used), src = CVL_NAME(make)(s, src_used);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t k = 0; k < columns; k++)
            CVL_NAME(set)(s, &src, r * src_row + k * src_column, 1);

    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t k = 0; k < columns; k++)
            dst.copy_at[r * dst_row + k * dst_column] = src.at[r * src_row + k * src_column];
    copies[which](dst.at, dst_row, dst_column, src.at, src_row, src_column, rows, columns);
    CVL_NAME(compare)(&dst);
    CVL_NAME(release)(&dst), CVL_NAME(release)(&src);
}

static void CVL_NAME(check_dots)(const CVL_NAME(table) *table, const char *isa, source *s) {
    /* More than one cut is longer than most lengths that are drawn. */
    const ptrdiff_t most = draw(s, 0, 9) ? 5 * table->lanes : 260 * table->lanes;
    const ptrdiff_t length = draw(s, table->lanes, most), rows = draw(s, 0, 9);
    const ptrdiff_t columns = draw(s, 0, 9);
    const ptrdiff_t a_row = draw_stride(s, draw(s, 0, length)), b_row = draw(s, -80, 80);
    const ptrdiff_t c_column = draw_stride(s, 1);
    const ptrdiff_t c_row = draw_stride(s, columns * (c_column < 0 ? -c_column : c_column) + 1);
    const bool with_init = draw(s, 0, 1);
    span a_used = {0}, b_used = {0}, c_used = {0};
    for (ptrdiff_t i = 0; i < rows; i++) {
        reach(&a_used, i * a_row, length);
        for (ptrdiff_t j = 0; j < columns; j++)
            reach(&c_used, i * c_row + j * c_column, 1);
    }
    for (ptrdiff_t j = 0; j < columns; j++)
        reach(&b_used, j * b_row, length);
    guard_case("%s f%d dots rows %td columns %td length %td c_row %td c_column %td init %d", isa,
               8 * (int)sizeof(real), rows, columns, length, c_row, c_column, with_init);
    CVL_NAME(array) a = CVL_NAME(make)(s, a_used), b = CVL_NAME(make)(s, b_used);
    CVL_NAME(array) c = CVL_NAME(make)(s, c_used);
    CVL_NAME(array) init = CVL_NAME(make)(s, (span){0, with_init ? rows : 0});
    for (ptrdiff_t i = 0; i < rows; i++) {
        CVL_NAME(set)(s, &a, i * a_row, length);
        if (with_init)
            CVL_NAME(set)(s, &init, i, 1);
    }
    for (ptrdiff_t j = 0; j < columns; j++)
        CVL_NAME(set)(s, &b, j * b_row, length);

    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++) {
            real sum = with_init ? init.at[i] : 0;
            for (ptrdiff_t k = 0; k < length; k++)
                sum += a.at[i * a_row + k] * b.at[j * b_row + k];
            c.copy_at[i * c_row + j * c_column] = sum;
        }
    table->dots(c.at, c_row, c_column, with_init ? init.at : NULL, a.at, a_row, rows, b.at, b_row,
                columns, length);
    CVL_NAME(compare)(&c);
    CVL_NAME(release)(&a), CVL_NAME(release)(&b), CVL_NAME(release)(&c), CVL_NAME(release)(&init);
}

/* Winograd's transforms as matrices, [taps - 1]: of inputs to points, of weights to points, and of
 * points to outputs. */
static const real CVL_NAME(input_matrix)[3][4][4] = {
    {{1}},
    {{1, -1}, {0, 1}, {0, -1, 1}},
    {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}}};
static const real CVL_NAME(weight_matrix)[3][4][4] = {
    {{1}},
    {{1}, {1, 1}, {0, 1}},
    {{1}, {(real)0.5, (real)0.5, (real)0.5}, {(real)0.5, (real)-0.5, (real)0.5}, {0, 0, 1}}};
static const real CVL_NAME(output_matrix)[3][4][4] = {
    {{1}}, {{1, 1}, {0, 1, 1}}, {{1, 1, 1}, {0, 1, -1, -1}}};

/* Element (i, j) of M x N', where x has `rows` x `columns` elements, those of lane c apart from
 * each other by row and column; or of M' x N. */
static real
CVL_NAME(transformed)(const real m[4][4], const real n[4][4], bool transposed, const real *x,
                        ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows, ptrdiff_t columns,
                        ptrdiff_t i, ptrdiff_t j) {
    real sum = 0;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t s = 0; s < columns; s++) {
            const real by = transposed ? m[r][i] * n[s][j] : m[i][r] * n[j][s];
            if (by != 0) /* else it takes no part, be it NaN */
                sum += by * x[r * row + s * column];
        }
    return sum;
}

/* What a transform reads, `from` by `from` elements of a tile, and what it writes. */
typedef struct CVL_NAME(grid) {
    ptrdiff_t rows, columns, row, column, tile;
} CVL_NAME(grid);

static span CVL_NAME(grid_span)(const CVL_NAME(grid) *g, ptrdiff_t tiles, ptrdiff_t channels) {
    span used = {0};
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t r = 0; r < g->rows; r++)
            for (ptrdiff_t s = 0; s < g->columns; s++)
                reach(&used, t * g->tile + r * g->row + s * g->column, channels);
    return used;
}

/* Points stand one after the other: row and column steps of theirs are multiples of one. */
static CVL_NAME(grid)
    CVL_NAME(draw_points)(source *s, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t tiles,
                        ptrdiff_t channels) {
    const ptrdiff_t tile = channels + draw(s, 0, 5), point = tile * tiles + draw(s, 0, 5);
    return (CVL_NAME(grid)){rows, columns, columns * point, point, tile};
}

/* Elements of a plane of `step` columns to a tile. */
static CVL_NAME(grid)
    CVL_NAME(draw_plane)(source *s, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t step,
                       ptrdiff_t tiles, ptrdiff_t channels) {
    const ptrdiff_t column = channels + draw(s, 0, 5);
    const ptrdiff_t row = column * (tiles * step + columns) + draw(s, 0, 5);
    return (CVL_NAME(grid)){rows, columns, row, column, step * column};
}

static void CVL_NAME(check_winograd)(const CVL_NAME(table) *table, const char *isa, source *s) {
    enum { INPUTS, GRADIENTS, WEIGHTS, OUTPUTS, TAPS, TRANSFORMS };
    static const char *const name[] = {"inputs", "gradients", "weights", "outputs", "taps"};
    const ptrdiff_t h = draw(s, 1, CVL_WINOGRAD_TAPS),
                    w = draw(s, h > 1 ? 1 : 2, CVL_WINOGRAD_TAPS);
    const CVL_NAME(cvl_winograd) *const k = &table->winograd[h - 1][w - 1];
    const ptrdiff_t L = table->lanes, channels = draw(s, L, 3 * L);
    const ptrdiff_t which = draw(s, 0, TRANSFORMS - 1);
    const ptrdiff_t high = cvl_winograd_points(h), wide = cvl_winograd_points(w);
    const ptrdiff_t n = cvl_winograd_outputs(h), m = cvl_winograd_outputs(w);
    const ptrdiff_t tiles = which == WEIGHTS || which == TAPS ? 1 : draw(s, 0, 3);
    const bool to_points = which <= WEIGHTS;
    const ptrdiff_t rows = to_points ? high : draw(s, 1, which == OUTPUTS ? n : h);
    const ptrdiff_t columns = to_points ? wide : draw(s, 1, which == OUTPUTS ? m : w);
    if (!k->inputs)
        return;
    const CVL_NAME(grid) points = CVL_NAME(draw_points)(s, high, wide, tiles, channels);
    const ptrdiff_t plane_rows = which == INPUTS      ? high
                                 : which == GRADIENTS ? n
                                 : which == WEIGHTS   ? h
                                                      : rows;
    const ptrdiff_t plane_columns = which == INPUTS      ? wide
                                    : which == GRADIENTS ? m
                                    : which == WEIGHTS   ? w
                                                         : columns;
    const CVL_NAME(grid) plane =
        CVL_NAME(draw_plane)(s, plane_rows, plane_columns, m, tiles, channels);
    const CVL_NAME(grid) *from = to_points ? &plane : &points, *to = to_points ? &points : &plane;
    guard_case("%s f%d winograd %s %tdx%td tiles %td channels %td rows %td columns %td", isa,
               8 * (int)sizeof(real), name[which], h, w, tiles, channels, rows, columns);
    const span used = CVL_NAME(grid_span)(from, tiles, channels);
    CVL_NAME(array) x = CVL_NAME(make)(s, used);
    CVL_NAME(array) y = CVL_NAME(make)(s, CVL_NAME(grid_span)(to, tiles, channels));
    CVL_NAME(array) init = CVL_NAME(make)(s, (span){0, channels});
    CVL_NAME(set)(s, &init, 0, channels);
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t r = 0; r < from->rows; r++)
            for (ptrdiff_t c = 0; c < from->columns; c++)
                CVL_NAME(set)(s, &x, t * from->tile + r * from->row + c * from->column, channels);
    /* One that is not finite must be told. */
    const bool finite = tiles == 0 || draw(s, 0, 3) > 0;
    if (!finite && which == OUTPUTS)
        init.at[draw(s, 0, channels - 1)] = INFINITY;
    if (!finite && which == TAPS)
        x.at[draw(s, 0, channels - 1)] = NAN;

    const real(*const matrix[])[4][4] = {CVL_NAME(input_matrix), CVL_NAME(output_matrix),
                                         CVL_NAME(weight_matrix), CVL_NAME(output_matrix),
                                         CVL_NAME(weight_matrix)};
    const bool transposed = which == GRADIENTS || which == TAPS;
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t i = 0; i < to->rows; i++)
            for (ptrdiff_t j = 0; j < to->columns; j++)
                for (ptrdiff_t c = 0; c < channels; c++)
                    y.copy_at[t * to->tile + i * to->row + j * to->column + c] =
                        CVL_NAME(
                            transformed)(matrix[which][h - 1], matrix[which][w - 1], transposed,
                                    x.at + t * from->tile + c, from->row, from->column, from->rows,
                                    from->columns, i, j) +
                        (which == OUTPUTS ? init.at[c] : 0);
    bool told = finite;
    if (which == INPUTS || which == GRADIENTS)
        (which == INPUTS ? k->inputs : k->gradients)(y.at, to->column, to->tile, x.at, from->row,
                                                     from->column, tiles, channels);
    else if (which == WEIGHTS)
        k->weights(y.at, to->column, x.at, from->row, from->column, channels);
    else if (which == OUTPUTS)
        told = k->outputs(y.at, to->row, to->column, rows, columns, x.at, from->column, from->tile,
                          init.at, tiles, channels, draw(s, 0, 1));
    else
        told = k->taps(y.at, to->row, to->column, rows, columns, x.at, from->column, channels);
    if (told != finite)
        guard_fail("said %d of whether all are finite", told);
    CVL_NAME(compare)(&y);
    CVL_NAME(release)(&x), CVL_NAME(release)(&y), CVL_NAME(release)(&init);
}

static void CVL_NAME(check_sum)(const CVL_NAME(table) *table, const char *isa, source *s) {
    const ptrdiff_t length = draw(s, 0, 1) ? draw(s, 0, 300) : draw(s, 0, 3 * table->lanes);
    guard_case("%s f%d sum length %td", isa, 8 * (int)sizeof(real), length);
    CVL_NAME(array) x = CVL_NAME(make)(s, (span){0, length});
    CVL_NAME(set)(s, &x, 0, length);
    real expected = 0;
    for (ptrdiff_t i = 0; i < length; i++)
        expected += x.at[i];
    const real actual = table->sum(x.at, length);
    if (actual != expected)
        guard_fail("the sum is %g, expected %g", (double)actual, (double)expected);
    CVL_NAME(release)(&x);
}

static void
CVL_NAME(check_all)(const CVL_NAME(table) *table, const char *isa, source *s, int cases) {
    guard_case("%s f%d geometry", isa, 8 * (int)sizeof(real));
    if (table->lanes > CVL_MAX_LANES || table->vectors > CVL_MAX_VECTORS ||
        table->pixel_rows > CVL_MAX_ROWS || table->tall_rows > CVL_MAX_TALL)
        guard_fail("lanes %d, vectors %d, pixel_rows %d", table->lanes, table->vectors,
                   table->pixel_rows);
    for (int i = 0; i < cases; i++) {
        for (int v = 1; v <= table->vectors; v++)
            for (int m = 1; m <= table->rows[v - 1]; m++)
                CVL_NAME(check_product_tile)(table, isa, s, v, m, false);
        for (int m = 1; m <= table->tall_rows; m++)
            CVL_NAME(check_product_tile)(table, isa, s, 1, m, true);
        for (int m = 1; m <= table->pixel_rows; m++)
            CVL_NAME(check_pixel_tile)(table, isa, s, m);
        for (int j = 0; j < 4; j++) {
            CVL_NAME(check_row_tile)(table, isa, s);
            CVL_NAME(check_plane_tile)(table, isa, s);
            CVL_NAME(check_plane_sums)(table, isa, s);
            CVL_NAME(check_add)(table, isa, s);
            CVL_NAME(check_add_parts)(table, isa, s);
            CVL_NAME(check_lane_tile)(table, isa, s);
            CVL_NAME(check_spread_tile)(table, isa, s);
            if (table->sweep_tile)
                CVL_NAME(check_sweep_tile)(table, isa, s);
            CVL_NAME(check_tap_sums)(table, isa, s);
            CVL_NAME(check_lane_sums)(table, isa, s);
            CVL_NAME(check_copy)(table, isa, s);
            CVL_NAME(check_dots)(table, isa, s);
            CVL_NAME(check_winograd)(table, isa, s);
            CVL_NAME(check_sum)(table, isa, s);
        }
    }
}
