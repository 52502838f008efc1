#include "drivers/small.h"

/* Multiplications, those of padding included, up to which a small driver is faster than the others. */
static const double most_work = 16e3;

/* The most places that a tile needs on one axis, over all phases: from the first source to the last,
 * filled up to whole runs. As a double, which cannot overflow. */
static double most_places(const cvl_gather_axis *axis) {
    double most = 1;
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++) {
        const double span = (double)p->in_step * (double)p->count +
                            (p->taps > 1 ? (double)p->tap_step * (double)(p->taps - 1) : 0);
        if (span > most)
            most = span;
    }
    return most;
}

static double all_places(const cvl_gather_axis axis[CVL_AXES]) {
    return most_places(&axis[0]) * most_places(&axis[1]) * most_places(&axis[2]);
}

/* The parts of a workspace, each rounded up to a cache line, with elements of the wider dtype. */
static bool fits(double elements, int parts) {
    return elements * (double)sizeof(double) + parts * 64 <= CVL_SMALL_BYTES;
}

bool cvl_is_small_gather(const cvl_gather *g) {
    if (g->work > most_work)
        return false;
    const double places = all_places(g->axis), ic = (double)g->ic, oc = (double)g->oc;
    const double taps = (double)(g->axis[0].k * g->axis[1].k * g->axis[2].k);
    const double tile = ic * places + CVL_MAX_LANES;
    const double out = CVL_MAX_ROWS * (places + CVL_MAX_LANES);
    const double weights = (oc + 1) * ic * taps, lists = 2 * taps;
    return fits(tile + out + weights + lists + oc, 7);
}

bool cvl_is_small_reduce(const cvl_reduce *r) {
    if (r->work > most_work)
        return false;
    const double places = all_places(r->axis), ic = (double)r->ic;
    const double taps = (double)(r->axis[0].k * r->axis[1].k * r->axis[2].k);
    const double rows = (double)r->axis[0].out * (double)r->axis[1].out;
    const double positions = rows * (double)r->axis[2].out;
    const double tile = ic * places;
    const double vectors = CVL_MAX_LANES / 2 * (positions + ic * taps); /* 64 bytes each */
    const double terms = 3 * (rows + positions / 64), lists = (ic + 1) * taps;
    return fits(tile + vectors + terms + lists, 6);
}
