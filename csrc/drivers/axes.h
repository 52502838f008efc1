/* How one axis of a gather is walked: phases, and where their inputs lie in a tile.
 *
 * Forward and grad_input are the same thing, a gather: every destination position sums source
 * positions times weights. Along one axis the destinations fall into phases. Those of one phase are
 *
 *     destination  out_first + out_step*q          q = 0 .. count-1
 *     source       in_first + in_step*q + tap_step*j    j = 0 .. taps-1
 *     weight tap   tap_order[tap_first + j]
 *
 * forward has one phase with out_step 1 and in_step = stride. grad_input with stride s has a phase
 * for each residue of the destination modulo s, with out_step = s and in_step 1: s dense problems,
 * no zeros inserted anywhere (docs/math.md, section "Phases").
 */
#ifndef CVL_AXES_H
#define CVL_AXES_H

#include "cvl.h"

typedef struct cvl_phase {
    ptrdiff_t out_first, out_step, count;
    ptrdiff_t in_first, in_step;
    ptrdiff_t taps, tap_step, tap_first;
} cvl_phase;

typedef struct cvl_gather_axis {
    ptrdiff_t in, out, k; /* sizes of source, destination and kernel */
    ptrdiff_t n_phases;
    cvl_phase *phases;
    ptrdiff_t *tap_order; /* k entries: the weight index at each place of the packed order */
    /* Where phases and tap_order are kept while they are few: an allocation costs as much as a
     * small convolution. A copy of an axis reads what the first one keeps, and is not freed. */
    cvl_phase own_phases[4];
    ptrdiff_t own_taps[16];
} cvl_gather_axis;

/* Fill an axis for forward or grad_input. Free with cvl_free_axis, also after CVL_NO_MEMORY. */
cvl_status cvl_forward_axis(const cvl_axis *a, cvl_gather_axis *axis);
cvl_status cvl_grad_input_axis(const cvl_axis *a, cvl_gather_axis *axis);

/* Every n-th position of a phase, from position `part` on. */
cvl_phase cvl_dense_phase(const cvl_phase *p, ptrdiff_t n, ptrdiff_t part);

/* Splits phases whose taps are further apart than their positions until they are dense, so that
 * neighbouring positions share inputs. */
cvl_status cvl_split_axis(cvl_gather_axis *axis);
void cvl_free_axis(cvl_gather_axis *axis);

/* Where a tile keeps the inputs of some phases on one axis, for `count` positions: `runs` runs of
 * `length` places each, one after the other. Place i of run r holds source
 * first + r*run_step + i*step (plus in_step times the position the tile starts at). What position q
 * and tap j read stands q*q_step places after cvl_tap_place's.
 *
 * Where windows overlap, places are shared. Where they lie far apart, sharing would store what
 * nobody reads, without bound for a huge stride or dilation: then every (position, tap) has its
 * own. */
typedef struct cvl_map {
    enum { CVL_SHARED, CVL_RUN_PER_POSITION, CVL_RUN_PER_TAP } kind;
    ptrdiff_t first, run_step, step;
    ptrdiff_t runs, length;
    ptrdiff_t q_step;
} cvl_map;

typedef cvl_map cvl_map_fn(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count);

/* A map for channel tiles: places are walked with any q_step, all phases share it. */
cvl_map cvl_channel_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count);

/* The same where windows are known to be near: places are shared, however many there are. */
cvl_map cvl_dense_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count);

/* A map for pixel tiles: q_step is 1, so that neighbouring positions are neighbours in memory. */
cvl_map cvl_pixel_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count);

/* The same with a run of `count` places for each tap, so that rows of positions follow one another
 * without what lies between them; with several phases, as large as the largest of them needs. */
cvl_map cvl_joined_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count);

static inline ptrdiff_t cvl_least(ptrdiff_t a, ptrdiff_t b) {
    return a < b ? a : b;
}

static inline ptrdiff_t cvl_most(ptrdiff_t a, ptrdiff_t b) {
    return a > b ? a : b;
}

/* a / b. Most steps are 1, and a division costs as much as a dozen other instructions. */
static inline ptrdiff_t cvl_divide(ptrdiff_t a, ptrdiff_t b) {
    return b == 1 ? a : a / b;
}

static inline ptrdiff_t cvl_ceil_div(ptrdiff_t a, ptrdiff_t b) {
    return cvl_divide(a + b - 1, b);
}

/* The smallest size that cuts `whole` into no more parts than `size` does. */
static inline ptrdiff_t cvl_even_size(ptrdiff_t whole, ptrdiff_t size) {
    return cvl_ceil_div(whole, cvl_ceil_div(whole, size));
}

/* The positions, of `count` from q on, at which tap j of a phase lies inside the source. */
static inline void cvl_positions_inside(const cvl_phase *p, ptrdiff_t j, ptrdiff_t in, ptrdiff_t q,
                                        ptrdiff_t count, ptrdiff_t *first, ptrdiff_t *last) {
    const ptrdiff_t source = p->in_first + j * p->tap_step + q * p->in_step;
    *first = source >= 0 ? 0 : cvl_ceil_div(-source, p->in_step);
    *last = source >= in ? 0 : cvl_divide(in - 1 - source, p->in_step) + 1;
    *last = *last < count ? *last : count;
    *first = *first < *last ? *first : *last;
}

/* Whether every position of an axis meets one tap, inside the source. */
static inline bool cvl_one_tap_inside(const cvl_gather_axis *a) {
    const cvl_phase *p = a->phases;
    ptrdiff_t first, last;
    if (a->n_phases != 1 || p->taps != 1)
        return false;
    cvl_positions_inside(p, 0, a->in, 0, p->count, &first, &last);
    return last - first == p->count;
}

/* The same for all axes: one tap in all, and nothing beyond the source. */
static inline bool cvl_one_tap(const cvl_gather_axis axis[CVL_AXES]) {
    bool one = true;
    for (int i = 0; i < CVL_AXES; i++)
        one = one && cvl_one_tap_inside(&axis[i]);
    return one;
}

/* The place of tap j of a phase at position 0, given as its run and the index in it. */
void cvl_tap_place(const cvl_map *map, const cvl_phase *phase, ptrdiff_t j, ptrdiff_t *run,
                   ptrdiff_t *index);

/* The source that a place holds, places counted through all runs. */
static inline ptrdiff_t cvl_map_source(const cvl_map *map, ptrdiff_t place) {
    return map->first + place / map->length * map->run_step + place % map->length * map->step;
}

/* The places [begin, end) of a run that lie inside the source, when the tile starts `shift` further
 * along the source. */
void cvl_inside(const cvl_map *map, ptrdiff_t run, ptrdiff_t shift, ptrdiff_t in, ptrdiff_t *begin,
                ptrdiff_t *end);

#endif
