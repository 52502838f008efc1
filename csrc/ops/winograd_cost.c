#include "ops/winograd_cost.h"

#include <math.h>

#include "drivers/winograd.h"

/* Height and width together: of a tile its points and parts, and the places from it to the next;
 * for a position, on average, the tiles, their parts, their products and those of them that are
 * needed. */
typedef struct filtering {
    double points, parts, filters, places;
    double tiles, tile_parts, products, needed;
    bool apart; /* whether the columns of a tile stand further apart than every other one */
} filtering;

/* What the kernels in use offer for a dtype. */
typedef struct vectors_of {
    double lanes, size, strip; /* strip: lanes of a product's panel */
    bool filter;
} vectors_of;

static vectors_of vectors_in_use(cvl_dtype dtype, const cvl_kernels *kernels) {
    vectors_of v;
    if (dtype == CVL_F32)
        v = (vectors_of){kernels->f32->lanes, sizeof(float), kernels->f32->vectors,
                         kernels->f32->winograd[0][1].inputs != NULL};
    else
        v = (vectors_of){kernels->f64->lanes, sizeof(double), kernels->f64->vectors,
                         kernels->f64->winograd[0][1].inputs != NULL};
    v.strip *= v.lanes;
    return v;
}

/* Whether there are vectors of both channels, and a tile of more than one point. */
static bool count_filtering(const vectors_of *v, double ic, double oc, const cvl_gather_axis *axis,
                            filtering *f) {
    if (!v->filter || ic < v->lanes || oc < v->lanes)
        return false;
    *f = (filtering){1, 1, 1, 1, 1, 1, 1, 1, false};
    for (int i = 1; i < CVL_AXES; i++) {
        cvl_winograd_axis found;
        if (!cvl_find_winograd(&axis[i], &found))
            return false;
        const cvl_winograd_counts n = cvl_count_winograd(&axis[i], &found);
        f->apart = i == CVL_AXES - 1 && found.dense > 2;
        f->points *= (double)found.points;
        f->parts *= (double)found.n_parts;
        f->filters *= (double)found.n_filters;
        f->places *= (double)found.outputs * (double)found.step;
        f->tiles *= (double)n.tiles / (double)axis[i].out;
        f->tile_parts *= (double)n.parts / (double)axis[i].out;
        f->products *= (double)n.products / (double)axis[i].out;
        f->needed *= (double)n.needed / (double)axis[i].out;
    }
    return f->points > 1;
}

/* More is not to be taken by what a task needs at least. */
static const double most_bytes = 3 << 20;

/* Lots of the transformed weights, for each of which inputs are transformed again. */
static double weight_lots(const cvl_gather *g, const filtering *f, double steps, double size) {
    const double budget = cvl_winograd_budget((double)g->groups * cvl_weights(g) * size);
    return fmax(1, ceil(f->points * steps * (double)g->oc * size / budget));
}

/* How much longer products of several parts take where they wait for memory: for the transformed
 * inputs of all tiles, where a task has them all and every block of output channels meets them
 * anew; else for weights, where only a few tiles at a time do. A line of either feeds the
 * multiply-adds of its elements with the vectors of a panel. */
static double waiting(const cvl_gather *g, const filtering *f, const vectors_of *v, double steps) {
    const double cached_bytes = 16 << 20, enough_tiles = 32;
    const double line_bytes = 64, line_time = 80;
    const double inputs = f->points * steps * f->tiles * cvl_positions(g) * v->size;
    const double weights = (double)g->groups * cvl_weights(g) * v->size;
    /* As if of one thread: the choice, which decides how sums are rounded, must not know more. */
    const bool all_tiles = g->axis[0].out == 1 && inputs <= cvl_winograd_own_bytes(weights, 1);
    const bool waits =
        all_tiles ? inputs + weights > cached_bytes
                  : f->points * enough_tiles * (steps + (double)g->oc) * v->size > most_bytes;
    return f->parts > 1 && waits ? fmax(1, line_time / (line_bytes / v->size * v->strip / v->lanes))
                                 : 1;
}

double cvl_winograd_gather_cost(cvl_dtype dtype, const cvl_gather *g, double depths, double sources,
                                const cvl_kernels *kernels) {
    const double input = 10, output = 15;                 /* of a point */
    const double source = 14, moved = 24, scattered = 48; /* to and from rows */
    const double few_tiles = 16;
    const vectors_of v = vectors_in_use(dtype, kernels);
    const double ic = (double)g->ic, oc = (double)g->oc;
    filtering f;
    if (!count_filtering(&v, ic, oc, g->axis, &f))
        return INFINITY;
    /* Of a point. The steps of several parts make longer products; but weights of parts or phases
     * are moved, or met by few tiles. */
    const bool phases = g->axis[1].n_phases > 1 || g->axis[2].n_phases > 1;
    const double product = f.parts > 1 ? 1.05 : 1.12, weight = f.parts > 1 || phases ? 36 : 9;
    const double steps = ic * (double)g->axis[0].k * f.parts;
    if (few_tiles * (f.points * (steps + oc) + f.places * ic) * v.size > most_bytes)
        return INFINITY;
    const bool rows = g->dst_strides.s[2] == 1;
    const double lots = weight_lots(g, &f, steps, v.size);
    const double brought = source + (rows && f.apart ? scattered : 0);
    const double taken = rows ? moved + (f.apart || g->axis[2].n_phases > 1 ? scattered : 0) : 0;
    const double elements =
        lots * ic * depths * (f.points * input * f.tile_parts + brought * sources) +
        oc * (f.points * output * f.tiles + taken) +
        weight * f.points * f.filters * steps * oc / cvl_positions(g);
    return waiting(g, &f, &v, steps) * product * f.needed * depths * ic * ceil(oc / v.lanes) +
           elements / v.lanes;
}

double cvl_winograd_reduce_cost(cvl_dtype dtype, const cvl_reduce *r, double depths, double sources,
                                const cvl_kernels *kernels) {
    const double product = 1.22, input = 12, gradient = 9, weight = 22; /* of a point */
    const double source = 14, moved = 11;                               /* from rows */
    const double few_tiles = 32;
    const vectors_of v = vectors_in_use(dtype, kernels);
    const double ic = (double)r->ic, oc = (double)r->oc;
    filtering f;
    if (!count_filtering(&v, ic, oc, r->axis, &f))
        return INFINITY;
    double positions = (double)r->n;
    for (int i = 0; i < CVL_AXES; i++) {
        positions *= (double)r->axis[i].out;
        if (r->axis[i].phases->taps != r->axis[i].k)
            return INFINITY;
    }
    const double parts = f.parts * (double)r->axis[0].k;
    const double channels = 2 * v.lanes; /* that a task takes, at least */
    if (few_tiles * (f.points * (parts * channels + v.strip) + f.places * channels) * v.size >
        most_bytes)
        return INFINITY;
    const double elements =
        f.points * (input * ic * depths * f.tile_parts + gradient * oc * f.tiles) +
        weight * f.points * parts * ic * oc / positions +
        (r->x_strides.c == 1 ? 0 : source * sources * ic * depths) +
        (r->dy_strides.c == 1 ? 0 : moved * oc);
    return product * f.products * depths * ic * ceil(oc / v.lanes) + elements / v.lanes;
}
