#include "drivers/reduce.h"
#include "support/memory.h"

enum {
    enough_tasks = 8,
    most_partial_bytes = 2 * 1024 * 1024, /* of all partial results but the first */
};

/* A few parts are cut into one more if they are odd in number: an even number is shared out
 * evenly. */
static ptrdiff_t shared_evenly(ptrdiff_t whole, ptrdiff_t size) {
    enum { few = 16 };
    const ptrdiff_t parts = cvl_ceil_div(whole, size);
    return parts > 1 && parts < few && parts % 2 ? cvl_ceil_div(whole, parts + 1) : size;
}

static ptrdiff_t places(const cvl_reduce *r, cvl_map_fn *map, cvl_map_fn *width_map, ptrdiff_t rows,
                        ptrdiff_t columns, bool inside) {
    const ptrdiff_t count[] = {1, rows, columns};
    ptrdiff_t n = 1;
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_map m = (i == CVL_AXES - 1 ? width_map : map)(r->axis[i].phases, 1, count[i]);
        const bool clipped = inside && i < CVL_AXES - 1 && m.kind == CVL_SHARED && m.runs == 1;
        const ptrdiff_t length = clipped && m.length > r->axis[i].in ? r->axis[i].in : m.length;
        n = cvl_scale_bytes(n, cvl_scale_bytes(m.runs, length));
    }
    return n;
}

cvl_chunks cvl_cut_reduce(const cvl_reduce *r, cvl_map_fn *map, cvl_map_fn *width_map,
                          ptrdiff_t x_bytes, ptrdiff_t dy_bytes, ptrdiff_t budget,
                          ptrdiff_t enough_positions, bool inside) {
    const ptrdiff_t all_rows = r->axis[1].out, all_columns = r->axis[2].out;
    ptrdiff_t rows = all_rows, columns = all_columns, images = 1;
#define CHUNK_BYTES                                                                                \
    cvl_add_bytes(cvl_scale_bytes(places(r, map, width_map, rows, columns, inside), x_bytes),      \
                  cvl_scale_bytes(rows *columns, dy_bytes))
    while (rows > 1 && (CHUNK_BYTES > budget || rows * columns > 2 * enough_positions))
        rows = cvl_even_size(all_rows, rows - (rows + 7) / 8);
    rows = shared_evenly(all_rows, rows);
    while (columns > enough_positions && CHUNK_BYTES > budget)
        columns = cvl_even_size(all_columns, columns - columns / 4);
    if (columns > 2 * enough_positions)
        columns = cvl_even_size(all_columns, enough_positions);
    const ptrdiff_t one = CHUNK_BYTES;
#undef CHUNK_BYTES
    if (rows == all_rows && columns == all_columns)
        while (images < r->n && images * rows * columns < enough_positions &&
               cvl_scale_bytes(one, images + 1) <= budget)
            images++;
    cvl_chunks c = {.images = cvl_even_size(r->n, images), .rows = rows, .columns = columns};
    c.n_images = cvl_ceil_div(r->n, c.images);
    c.n_rows = cvl_ceil_div(all_rows, rows);
    c.n_columns = cvl_ceil_div(all_columns, columns);
    c.depths = r->axis[0].out;
    c.count = c.n_images * c.n_rows * c.n_columns * c.depths;
    c.places = places(r, map, width_map, rows, columns, inside);
    return c;
}

cvl_chunk cvl_nth_chunk(const cvl_reduce *r, const cvl_chunks *c, ptrdiff_t index) {
    cvl_chunk chunk;
    chunk.column = index % c->n_columns * c->columns;
    index /= c->n_columns;
    chunk.row = index % c->n_rows * c->rows;
    index /= c->n_rows;
    chunk.depth = index % c->depths;
    chunk.image = index / c->depths * c->images;
    const ptrdiff_t images = r->n - chunk.image, rows = r->axis[1].out - chunk.row;
    const ptrdiff_t columns = r->axis[2].out - chunk.column;
    chunk.images = images < c->images ? images : c->images;
    chunk.rows = rows < c->rows ? rows : c->rows;
    chunk.columns = columns < c->columns ? columns : c->columns;
    return chunk;
}

ptrdiff_t cvl_reduce_splits(ptrdiff_t chunks, ptrdiff_t base, ptrdiff_t bytes) {
    ptrdiff_t splits = cvl_ceil_div(enough_tasks, base);
    const ptrdiff_t affordable = 1 + most_partial_bytes / (bytes + 1);
    if (splits > affordable)
        splits = affordable;
    return splits < chunks ? splits : chunks;
}

bool cvl_dots_stand(const cvl_reduce *r, ptrdiff_t lanes) {
    const cvl_gather_axis *width = &r->axis[2];
    return cvl_one_tap(r->axis) && r->axis[1].out == 1 && width->out >= lanes &&
           width->phases->in_step == 1 && r->x_strides.s[2] == 1 && r->dy_strides.s[2] == 1;
}
