/* Tiles of a source: packed into a workspace with their padding, or read where they stand.
 * Included by drivers_impl.h. */

enum { line_channels = 64 / sizeof(real) }; /* of a cache line */

/* Whether neighbouring positions do not stand so far apart that those which a product reads fall
 * into few sets of the level-1 cache. */
static bool positions_are_near(const cvl_data_strides *strides) {
    enum { near_bytes = 1024 };
    return strides->s[2] <= near_bytes / (ptrdiff_t)sizeof(real);
}

/* The places of a tile, axis by axis. The inputs of (position q, tap j) lie at
 * base + sum over axes of q*position[axis] + run*run_step[axis] + index*index_step[axis], where
 * cvl_tap_place gives j's run and index. */
typedef struct input_tile {
    const real *base;
    cvl_map map[CVL_AXES];
    ptrdiff_t shift[CVL_AXES]; /* how far along the source the tile starts */
    ptrdiff_t position[CVL_AXES], run_step[CVL_AXES], index_step[CVL_AXES];
} input_tile;

static ptrdiff_t tap_offset(const input_tile *tile, int axis, const cvl_phase *phase, ptrdiff_t j) {
    ptrdiff_t run, index;
    cvl_tap_place(&tile->map[axis], phase, j, &run, &index);
    return run * tile->run_step[axis] + index * tile->index_step[axis];
}

/* Whether two tiles have the same places. */
static bool same_places(const input_tile *a, const input_tile *b) {
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_map *m = &a->map[i], *n = &b->map[i];
        if (m->kind != n->kind || m->first + a->shift[i] != n->first + b->shift[i] ||
            m->run_step != n->run_step || m->step != n->step || m->runs != n->runs ||
            m->length != n->length || m->q_step != n->q_step)
            return false;
    }
    return true;
}

/* Whether no place of the tile lies outside the source. */
static bool tile_is_inside(const input_tile *tile, const ptrdiff_t in[CVL_AXES]) {
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_map *m = &tile->map[i];
        const ptrdiff_t first = m->first + tile->shift[i];
        const ptrdiff_t last = first + (m->runs - 1) * m->run_step + (m->length - 1) * m->step;
        if (first < 0 || last >= in[i])
            return false;
    }
    return true;
}

/* Whether the tile lies within a few times the source's size of it, so that no step that is never
 * taken, between padding and padding, is too long to be multiplied. */
static bool tile_is_near(const input_tile *tile, const ptrdiff_t in[CVL_AXES]) {
    enum { few = 8 };
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_map *m = &tile->map[i];
        const ptrdiff_t first = m->first + tile->shift[i];
        const ptrdiff_t last = first + (m->runs - 1) * m->run_step + (m->length - 1) * m->step;
        if (first < -few * in[i] || last > few * in[i])
            return false;
    }
    return true;
}

/* Reads the source where it stands. A step that is never taken may be too long to be multiplied:
 * only steps between two places are, and none along an axis of one element, whose stride may be
 * anything. */
static void tile_in_place(input_tile *tile, const real *src, const cvl_data_strides *strides,
                          const ptrdiff_t in[CVL_AXES]) {
    tile->base = src;
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_map *m = &tile->map[i];
        const ptrdiff_t stride = in[i] > 1 ? strides->s[i] : 0;
        tile->base += (m->first + tile->shift[i]) * stride;
        tile->index_step[i] = m->length > 1 ? m->step * stride : 0;
        tile->run_step[i] = m->runs > 1 ? m->run_step * stride : 0;
        tile->position[i] =
            m->kind == CVL_RUN_PER_POSITION ? tile->run_step[i] : m->q_step * tile->index_step[i];
    }
}

/* Leaves out the places of a shared run that lie outside the source; returns how many of them are
 * at its start. */
static ptrdiff_t clip_map(cvl_map *map, ptrdiff_t shift, ptrdiff_t in) {
    ptrdiff_t begin, end;
    if (map->kind != CVL_SHARED || map->runs != 1)
        return 0;
    cvl_inside(map, 0, shift, in, &begin, &end);
    map->first += begin * map->step;
    map->length = end - begin;
    return begin;
}

/* Counts places as before the map was clipped. */
static void unclip_map(input_tile *tile, int axis, ptrdiff_t skipped) {
    tile->base -= skipped * tile->index_step[axis];
    tile->map[axis].first -= skipped * tile->map[axis].step;
}

/* Channels in pieces of `pitch`, `piece` apart, of which each position holds its own together. */
typedef struct channel_pieces {
    ptrdiff_t pitch, piece, channels;
} channel_pieces;

/* Copies neighbouring positions. Where channels are contiguous they are read in the order in which
 * they stand, few positions at a time: pieces far apart are each a miss. */
static void copy_pieces(copy_kernel *copy, real *to, const channel_pieces *p, const real *from,
                        ptrdiff_t from_step, ptrdiff_t from_channel, ptrdiff_t positions) {
    enum { few_positions = 16 };
    const bool several = from_channel == 1 && p->channels > p->pitch;
    const ptrdiff_t most = several ? few_positions : positions;
    for (ptrdiff_t q = 0; q < positions; q += most)
        for (ptrdiff_t c = 0, piece = 0; c < p->channels; c += p->pitch, piece += p->piece)
            copy(to + piece + q * p->pitch, p->pitch, 1, from + q * from_step + c * from_channel,
                 from_step, from_channel, cvl_least(most, positions - q),
                 cvl_least(p->pitch, p->channels - c));
}

static void clear_pieces(real *to, const channel_pieces *p, ptrdiff_t positions) {
    for (ptrdiff_t c = 0; c < p->channels && positions > 0; c += p->pitch, to += p->piece)
        memset(to, 0, (size_t)(positions * p->pitch) * sizeof(real));
}

/* Packs with the channels together: tile[piece][depth][height][width][pitch]. */
static void pack_channels_together(input_tile *tile, real *to, const channel_pieces *pieces,
                                   const real *src, const cvl_data_strides *strides,
                                   const ptrdiff_t in[CVL_AXES], copy_kernel *copy) {
    const ptrdiff_t pitch = pieces->pitch;
    const cvl_map *map = tile->map;
    ptrdiff_t step = pitch;
    tile->base = to;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        tile->index_step[i] = step;
        tile->run_step[i] = map[i].length * step;
        tile->position[i] = map[i].q_step * step;
        step *= map[i].runs * map[i].length;
    }

    const ptrdiff_t row = map[2].runs * map[2].length;
    for (ptrdiff_t d = 0; d < map[0].runs * map[0].length; d++) {
        const ptrdiff_t id = cvl_map_source(&map[0], d) + tile->shift[0];
        for (ptrdiff_t h = 0; h < map[1].runs * map[1].length; h++, to += row * pitch) {
            const ptrdiff_t ih = cvl_map_source(&map[1], h) + tile->shift[1];
            if (id < 0 || id >= in[0] || ih < 0 || ih >= in[1]) {
                clear_pieces(to, pieces, row);
                continue;
            }
            const real *line = src + id * strides->s[0] + ih * strides->s[1];
            real *run_to = to;
            for (ptrdiff_t r = 0; r < map[2].runs; r++, run_to += map[2].length * pitch) {
                ptrdiff_t begin, end;
                cvl_inside(&map[2], r, tile->shift[2], in[2], &begin, &end);
                const ptrdiff_t iw =
                    map[2].first + r * map[2].run_step + begin * map[2].step + tile->shift[2];
                clear_pieces(run_to, pieces, begin);
                if (begin < end)
                    copy_pieces(copy, run_to + begin * pitch, pieces, line + iw * strides->s[2],
                                end - begin > 1 ? map[2].step * strides->s[2] : 0, strides->c,
                                end - begin);
                clear_pieces(run_to + end * pitch, pieces, map[2].length - end);
            }
        }
    }
}

/* Elements from channel to channel of a tile with the positions together: an odd number of cache
 * lines, so that the channels of one position do not all fall into the same few sets of the
 * cache. */
static ptrdiff_t channel_room(ptrdiff_t places) {
    const ptrdiff_t line = line_channels;
    return cvl_scale_bytes((places / line + (places % line != 0)) | 1, line);
}

/* Places [first, last) of all runs of a row, which lie inside the source in each: none, unless they
 * are packed as a transposition. It pays for many runs that read neighbours in turn. */
static void places_together(const input_tile *tile, ptrdiff_t in, ptrdiff_t src_step,
                            ptrdiff_t *first, ptrdiff_t *last) {
    enum { many_runs = 8 };
    const cvl_map *width = &tile->map[2];
    ptrdiff_t other;
    *first = *last = 0;
    if (src_step != 1 || width->run_step != 1 || width->runs < many_runs || width->step <= 4)
        return;
    cvl_inside(width, 0, tile->shift[2], in, first, &other);
    cvl_inside(width, width->runs - 1, tile->shift[2], in, &other, last);
}

/* One run of a row of a tile with the positions together, and what it is packed from: some
 * channels, `size` elements apart. */
typedef struct position_run {
    real *to;
    ptrdiff_t size, channels;
    const real *from;        /* the first place of the source's row, */
    ptrdiff_t place, step;   /* of which the run has every step-th from this one on */
    ptrdiff_t channel, next; /* strides of the source, from channel to channel and place to place */
    copy_kernel *copy;
} position_run;

static const real *place_of_run(const position_run *run, ptrdiff_t i) {
    return run->from + (run->place + i * run->step) * run->next;
}

static void clear_places(const position_run *run, ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t c = 0; c < run->channels && first < last; c++)
        for (ptrdiff_t i = first; i < last; i++)
            run->to[c * run->size + i] = 0;
}

static void pack_places(const position_run *run, ptrdiff_t first, ptrdiff_t last) {
    if (first < last)
        run->copy(run->to + first, run->size, 1, place_of_run(run, first), run->channel,
                  last - first > 1 ? run->step * run->next : 0, run->channels, last - first);
}

/* The same for this run and those behind it, `apart` from one to the next, which begin each a place
 * further. */
static void pack_runs(const position_run *run, ptrdiff_t first, ptrdiff_t last, ptrdiff_t runs,
                      ptrdiff_t apart) {
    for (ptrdiff_t c = 0; c < run->channels; c++)
        run->copy(run->to + c * run->size + first, apart, 1,
                  place_of_run(run, first) + c * run->channel, run->next, run->step * run->next,
                  runs, last - first);
}

/* Packs with the positions together: tile[channel][depth][width run][height][width], so that a step
 * along the width, or to the next row, is the same for all taps. Returns the step from channel to
 * channel. */
static ptrdiff_t pack_positions_together(input_tile *tile, real *to, const real *src,
                                         const cvl_data_strides *strides, ptrdiff_t channels,
                                         const ptrdiff_t in[CVL_AXES], copy_kernel *copy) {
    const cvl_map *map = tile->map;
    const ptrdiff_t line = map[2].length, lines = map[1].runs * map[1].length;
    const ptrdiff_t plane = map[2].runs * lines * line;
    const ptrdiff_t size = channel_room(map[0].runs * map[0].length * plane);
    tile->base = to;
    tile->index_step[2] = tile->position[2] = 1;
    tile->run_step[2] = lines * line;
    tile->index_step[1] = tile->position[1] = line;
    tile->run_step[1] = map[1].length * line;
    tile->index_step[0] = plane;
    tile->run_step[0] = map[0].length * plane;
    tile->position[0] = plane;

    position_run run = {.size = size,
                        .channels = channels,
                        .step = map[2].step,
                        .channel = strides->c,
                        .next = strides->s[2],
                        .copy = copy};
    ptrdiff_t first, last;
    places_together(tile, in[2], strides->s[2], &first, &last);
    for (ptrdiff_t d = 0; d < map[0].runs * map[0].length; d++) {
        const ptrdiff_t id = cvl_map_source(&map[0], d) + tile->shift[0];
        for (ptrdiff_t r = 0; r < map[2].runs; r++) {
            ptrdiff_t begin, end;
            cvl_inside(&map[2], r, tile->shift[2], in[2], &begin, &end);
            run.place = map[2].first + r * map[2].run_step + tile->shift[2];
            for (ptrdiff_t h = 0; h < lines; h++) {
                const ptrdiff_t ih = cvl_map_source(&map[1], h) + tile->shift[1];
                const bool outside = id < 0 || id >= in[0] || ih < 0 || ih >= in[1];
                run.to = to + d * plane + (r * lines + h) * line;
                clear_places(&run, 0, outside ? line : begin);
                clear_places(&run, outside ? line : end, line);
                if (outside)
                    continue;
                run.from = src + id * strides->s[0] + ih * strides->s[1];
                if (first >= last) {
                    pack_places(&run, begin, end);
                    continue;
                }
                if (r == 0)
                    pack_runs(&run, first, last, map[2].runs, lines * line);
                pack_places(&run, begin, first);
                pack_places(&run, last, end);
            }
        }
    }
    return size;
}
