#include "ops/choose.h"

#include <math.h>

#include "drivers/single_tap.h"
#include "drivers/small.h"
#include "ops/winograd_cost.h"
#include "support/denormals.h"
#include "support/memory.h"

typedef cvl_status gather_fn(const cvl_gather *g, const cvl_kernels *kernels);

/* Indexed by cvl_dtype. */
static gather_fn *const by_channels[] = {cvl_gather_channels_f32, cvl_gather_channels_f64};
static gather_fn *const by_columns[] = {cvl_gather_columns_f32, cvl_gather_columns_f64};
static gather_fn *const by_panels[] = {cvl_gather_panels_f32, cvl_gather_panels_f64};
static gather_fn *const by_pixels[] = {cvl_gather_pixels_f32, cvl_gather_pixels_f64};
static gather_fn *const by_planes[] = {cvl_gather_planes_f32, cvl_gather_planes_f64};
static gather_fn *const by_dots[] = {cvl_gather_dots_f32, cvl_gather_dots_f64};
static gather_fn *const by_lanes[] = {cvl_gather_lanes_f32, cvl_gather_lanes_f64};

static size_t size_of(cvl_dtype dtype) {
    return dtype == CVL_F32 ? sizeof(float) : sizeof(double);
}

/* Taps per destination of one axis: all, and those that lie inside the source. */
typedef struct tap_counts {
    double all, inside;
} tap_counts;

static tap_counts count_taps(const cvl_gather_axis *axis) {
    tap_counts n = {0, 0};
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++) {
        n.all += (double)p->count * (double)p->taps;
        for (ptrdiff_t j = 0; j < p->taps; j++) {
            ptrdiff_t first, last;
            cvl_positions_inside(p, j, axis->in, 0, p->count, &first, &last);
            n.inside += (double)(last - first);
        }
    }
    n.all /= (double)axis->out;
    n.inside /= (double)axis->out;
    return n;
}

/* Per destination of a gather: the taps of all axes together, and source elements of a channel. */
typedef struct gather_counts {
    double all, inside, sources;
} gather_counts;

static gather_counts count_gather(const cvl_gather *g) {
    gather_counts n = {1, 1, 1};
    for (int i = 0; i < CVL_AXES; i++) {
        const tap_counts taps = count_taps(&g->axis[i]);
        n.all *= taps.all;
        n.inside *= taps.inside;
        n.sources *= (double)g->axis[i].in / (double)g->axis[i].out;
    }
    return n;
}

/* The time of one row of a product's step, in that of one vector's multiply-add: each takes a load
 * besides where the panel is one vector wide. */
static double row_time(ptrdiff_t wide, ptrdiff_t lanes) {
    const double narrow = 1.1, vectors = (double)((wide + lanes - 1) / lanes);
    return vectors == 1 ? narrow : vectors;
}

/* Whether the weights of one output channel stand in the order of a reduction over input channels
 * and taps, as those of forward do. */
static bool weights_follow(const cvl_gather *g) {
    ptrdiff_t step = 1;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        if (g->axis[i].n_phases > 1 || (g->axis[i].k > 1 && g->w_k[i] != step))
            return false;
        step *= g->axis[i].k;
    }
    return g->ic == 1 || g->w_ic == step;
}

/* Vectors of a row of positions, for each that it would fill. */
static double filled_vectors(const cvl_gather_axis *width, ptrdiff_t lanes) {
    const double columns = (double)width->out;
    return ceil(columns / (double)lanes) * (double)lanes / columns;
}

/* Whether a result with contiguous rows is computed as it stands, with positions along the lanes,
 * or with channels along them and transposed. Both are estimated per destination, in
 * multiplications, of which a vector does many while one element is moved: channels transpose
 * inputs and results, pack the weights that panels read where they stand, and in long reductions
 * with a stride wait for inputs; panels compute taps that meet padding, copy inputs once for every
 * tap of a row, scatter the results of several phases, take longer where they are narrow, and pack
 * weights out of order for every task. */
static bool gather_panels(cvl_dtype dtype, const cvl_gather *g, const gather_counts *n,
                          ptrdiff_t lanes, ptrdiff_t width_of_panel) {
    const double transposed = 15, copied = 18, narrow = 1.1;
    const double by_vectors = 10, by_elements = 45;      /* scattered */
    const double from_memory = 60, many_bytes = 4 << 20; /* of weights, transposed; of results */
    const double many_steps = 2000, far_apart = 1.2; /* of a stride: read tap by tap, from afar */
    const double packed_again = fmin(transposed, 1.25 * (double)lanes), panels_of_task = 8;
    const double most_positions = 1024; /* that meet weights packed once */
    const double ic = (double)g->ic, oc = (double)g->oc;
    const double sources = ic * n->sources;
    if (g->dst_strides.s[2] != 1 || g->ic == 0)
        return false;
    const cvl_gather_axis *const width = &g->axis[2];
    const double plane = (double)g->n * (double)g->axis[1].out * (double)width->out;
    const double positions = cvl_positions(g);
    const double met = fmin(plane, most_positions); /* the tasks of a depth pack weights anew */
    const double weights = n->all * ic * oc;
    const bool follow = weights_follow(g);
    const bool near = cvl_weights(g) * (double)size_of(dtype) <= many_bytes;
    /* Two phases go by vectors, but never past the caches. */
    const double results = cvl_results(g) * (double)size_of(dtype);
    const double scattered =
        g->axis[2].phases->out_step == 2 && results <= many_bytes ? by_vectors : by_elements;
    const double packed = follow ? (near ? transposed : from_memory) * weights / met : 0;
    const bool strided = g->axis[1].phases->in_step > 1 || width->phases->in_step > 1;
    const double steps = n->inside * ic * (strided && n->inside * ic > many_steps ? far_apart : 1);
    const double by_channels_cost =
        steps * row_time(g->oc, lanes) * (double)lanes + transposed * (sources + oc) + packed;
    const double filled = ceil(plane / (double)lanes) * (double)lanes / plane;
    const double copies = n->all > 1 ? (double)width->k * (double)width->out / (double)width->in *
                                           filled_vectors(width, lanes)
                                     : 0;
    const double of_task = fmin(positions, panels_of_task * (double)width_of_panel);
    const double by_panels_cost = n->all * ic * oc * filled * (width_of_panel < 32 ? narrow : 1) +
                                  copied * copies * sources +
                                  (follow ? 0 : packed_again * weights / of_task) +
                                  (g->axis[2].n_phases > 1 ? scattered * oc : 0);
    return by_panels_cost < by_channels_cost;
}

/* Whether channels of several groups along the lanes are best: groups as many channels wide in as
 * out, of one channel (depthwise) or of a few, at most `most`. Channels that do not stand together
 * are moved so that they do: worth it for planes or rows so small that positions would leave lanes
 * empty, and in depthwise convolution for many taps. */
static bool by_lanes_best(ptrdiff_t ic, ptrdiff_t oc, ptrdiff_t groups, ptrdiff_t most,
                          const cvl_gather_axis *axis, bool together, ptrdiff_t lanes) {
    enum { many_taps = 8, few_vectors = 8 };
    if (ic != oc || ic < 1 || ic > most || lanes % ic || groups * ic < lanes / 2)
        return false;
    const ptrdiff_t taps = axis[0].k * axis[1].k * axis[2].k, few = few_vectors * lanes;
    return ic == 1 ? together || taps >= many_taps || axis[1].out * axis[2].out <= few
                   : taps > 1 && (together || axis[2].out <= few);
}

/* Whether rows of depthwise layers are summed where they stand, rather than with channels along the
 * lanes, which `transposed` them. Both are estimated per position, in the time of a vector's
 * multiply-add: planes fill their vectors as rows do, and meet taps in padding beside a row. A
 * single row is the other ways'. */
static bool planes_beat_lanes(const cvl_gather_axis *axis, double all, double inside,
                              ptrdiff_t lanes) {
    const double transposed = 22, added = 3;      /* to the sums, for every depth */
    const double of_three = 1.2, of_others = 1.5; /* weights in registers, and not */
    const double of_planes = axis[1].k == 3 && axis[2].k == 3 ? of_three : of_others;
    const double planes = of_planes * all + added * count_taps(&axis[0]).inside;
    return axis[1].out > 1 && planes * filled_vectors(&axis[2], lanes) < inside + transposed;
}

/* Whether the input channels of one or two sums are added plane by plane, each read where it
 * stands: planes of so many vectors that a visit costs little, filters whose rows share what they
 * read, and channels so few that their sums may be added one after another. */
static bool planes_beat_pixels(const cvl_gather *g, ptrdiff_t lanes) {
    const double most_visits = 128;
    const ptrdiff_t few_vectors = 8;
    const cvl_gather_axis *const axis = g->axis;
    return axis[1].k > 1 && axis[2].k > 1 && (double)g->ic * (double)axis[0].k <= most_visits &&
           axis[1].out > g->oc * few_vectors * lanes / axis[2].out;
}

/* Whether inputs are summed where they stand, with neighbouring positions along the lanes: of
 * depthwise layers, of single images with a filter of few taps, and of a few channels' images. */
static bool gather_planes(const cvl_gather *g, const gather_counts *n, ptrdiff_t lanes) {
    const double most_taps = 25, filled = 2;
    const cvl_gather_axis *const axis = g->axis;
    if (!cvl_planes_fit(g) || axis[1].in > 2 * axis[1].out)
        return false;
    if (g->ic == 1 && g->groups >= lanes / 2)
        return planes_beat_lanes(axis, n->all, n->inside, lanes);
    return axis[1].out > 1 && filled_vectors(&axis[2], lanes) < filled &&
           (g->ic == 1 ? n->all <= most_taps : planes_beat_pixels(g, lanes));
}

/* Whether neighbouring positions lie along the lanes rather than channels. Both are estimated per
 * destination, in the time of one vector's multiply-add. Channels leave out the taps that meet
 * padding; what does not stand together is transposed, and each visit costs, of every phase.
 * Pixels fill their vectors whatever the channels, bring all sources together, a stride's apart,
 * and the weights for every image. */
static bool gather_pixels(const cvl_gather *g, const gather_counts *n, ptrdiff_t lanes) {
    const double visit = 6, phase_visit = 8, stored = 0.6, stored_short = 0.5;
    const double of_pixels = 1.2, apart = 0.6, scattered = 2, brought = 4;
    const double moved = 0.1, turned = 0.2, transposed = 0.65; /* inputs alone, and results too */
    const double ic = (double)g->ic, oc = (double)g->oc;
    const bool rows = g->dst_strides.s[2] == 1, phases = g->axis[2].n_phases > 1;
    const double sources = ic * n->sources;
    double weights = ic * oc;
    for (int i = 0; i < CVL_AXES; i++)
        weights *= (double)g->axis[i].k / (double)g->axis[i].out;
    const double channels = n->inside * ic * row_time(g->oc, lanes) + visit +
                            (phases ? phase_visit : 0) +
                            (rows            ? turned * sources + stored * oc
                             : g->oc % lanes ? stored_short * oc
                                             : 0);
    const double pixels = of_pixels * n->all * ic * oc / (double)lanes +
                          (rows ? moved : transposed) * (sources + oc) +
                          (n->sources > 1 ? apart * sources : 0) + (phases ? scattered * oc : 0) +
                          brought * weights;
    return pixels < channels;
}

/* The time for a destination, in that of one vector's multiply-add, of products of all taps at
 * every source position, which are then added; infinite where that cannot be, or one of the two
 * ways above is faster. These are estimated anew, with figures of inputs read from afar, of images
 * too short to fill vectors, and of what is added, one number to a product. */
static double columns_cost(cvl_dtype dtype, const cvl_gather *g, const gather_counts *n,
                           const cvl_kernels *kernels, ptrdiff_t lanes) {
    const double product = 1.1, read = 0.25, added = 0.4, packed = 2; /* of bytes, these two */
    const double of_pixels = 1.05, of_phases = 1.4, brought = 0.75, of_channels = 1.15;
    const double phase = 2, packed_again = 4, most_channels = 32; /* weights are met from afar */
    const double size = (double)size_of(dtype), ic = (double)g->ic, oc = (double)g->oc;
    const double weights = cvl_weights(g), taps = weights / (ic * oc), sources = ic * n->sources;
    const double plane = (double)g->axis[1].in * (double)g->axis[2].in;
    const double filled = ceil(plane / (double)lanes) * (double)lanes / plane;
    const double positions = cvl_positions(g);
    const bool phases = g->axis[2].n_phases > 1;
    const double columns = n->sources * (product * filled * weights / (double)lanes +
                                         size * (read * ic + added * taps * oc)) +
                           packed * weights / positions;
    const double pixels = (phases ? of_phases : of_pixels) * n->all * ic * oc / (double)lanes +
                          size * brought * sources + (phases ? phase * oc : 0) +
                          packed_again * weights / positions * (double)g->n;
    const double turned = g->dst_strides.s[2] == 1 ? 2 : 1; /* from rows */
    const double channels = of_channels * n->inside * ic * ceil(oc / (double)lanes) +
                            size * turned * read * sources + packed * weights / positions;
    const bool best = taps > 1 && oc <= most_channels && columns < fmin(pixels, channels);
    return best && (dtype == CVL_F32 ? cvl_columns_fit_f32 : cvl_columns_fit_f64)(g, kernels)
               ? columns
               : INFINITY;
}

/* Whether the reduction lies along the lanes: over many channels of one tap, whose weights meet few
 * positions where they stand, or whose inputs meet few output channels. */
static bool gather_dots(const cvl_gather *g, ptrdiff_t lanes) {
    const double few_positions = 32;
    const ptrdiff_t few_channels = 4, most_channels = 8; /* of steps enough */
    const ptrdiff_t steps = g->ic / lanes, enough_steps = g->oc <= few_channels ? 2 : 16;
    const bool weights_meet_few = g->w_ic == 1 && steps >= 4 && cvl_positions(g) <= few_positions;
    const bool inputs_meet_few =
        g->src_strides.c == 1 && g->oc <= most_channels && steps >= enough_steps;
    return (weights_meet_few || inputs_meet_few) && cvl_pointwise(g);
}

static gather_fn *choose_gather(cvl_dtype dtype, const cvl_gather *g, const gather_counts *n,
                                const cvl_kernels *kernels, ptrdiff_t lanes, bool together) {
    const ptrdiff_t width =
        dtype == CVL_F32 ? kernels->f32->group_width : kernels->f64->group_width;
    if (gather_planes(g, n, lanes))
        return by_planes[dtype];
    if (by_lanes_best(g->ic, g->oc, g->groups, width, g->axis, together, lanes) &&
        (dtype == CVL_F32 ? cvl_lanes_fit_f32 : cvl_lanes_fit_f64)(g, kernels))
        return by_lanes[dtype];
    if (gather_dots(g, lanes))
        return by_dots[dtype];
    if (columns_cost(dtype, g, n, kernels, lanes) < INFINITY)
        return by_columns[dtype];
    const ptrdiff_t panel =
        lanes * (dtype == CVL_F32 ? kernels->f32->panel_vectors : kernels->f64->panel_vectors);
    if (g->oc > lanes / 2 && gather_panels(dtype, g, n, lanes, panel))
        return by_panels[dtype];
    return (gather_pixels(g, n, lanes) ? by_pixels : by_channels)[dtype];
}

/* The time for a destination, in that of one vector's multiply-add, of the ways that sum the
 * formula's products: output channels along the lanes or, where they leave lanes empty,
 * positions. */
static double formula_cost(const cvl_gather *g, const gather_counts *n, ptrdiff_t lanes) {
    const double weight = 10, moved = 8, of_pixels = 1.2;
    const double filled = (double)g->oc / (double)lanes, vectors = ceil(filled);
    const double elements = weight * cvl_weights(g) / cvl_positions(g) +
                            (g->dst_strides.s[2] == 1 ? moved * (double)g->oc : 0);
    return n->inside * (double)g->ic * fmin(vectors, of_pixels * filled) + elements / (double)lanes;
}

static cvl_status run_by_formula(cvl_dtype dtype, const cvl_gather *g, const gather_counts *counts,
                                 const cvl_kernels *kernels, ptrdiff_t lanes) {
    const bool together = g->src_strides.c == 1 && g->dst_strides.c == 1;
    gather_fn *const gather = choose_gather(dtype, g, counts, kernels, lanes, together);
    /* All but these bring the rows of a tile together, with what lies between them. */
    const bool apart = gather == by_channels[dtype] || gather == by_columns[dtype];
    const cvl_status status = apart ? CVL_OK : cvl_split_axis(&g->axis[1]);
    return status == CVL_OK ? gather(g, kernels) : status;
}

/* Where a position meets a single tap, the transforms bring in the products of its input with other
 * taps and take them out again: what their rounding leaves can be several times that of the one
 * product. Such positions are computed by the formula. */
typedef struct single_taps {
    cvl_dtype dtype;
    ptrdiff_t lanes;
    const cvl_kernels *kernels;
    double weights; /* that such positions meet */
} single_taps;

static cvl_status count_single_tap(const cvl_gather *part, void *context) {
    single_taps *all = context;
    all->weights += (double)part->axis[0].k * (double)part->ic * (double)part->oc;
    return CVL_OK;
}

/* The reduction lies along the lanes where it can: of sums of few positions that is the most exact
 * way. */
static cvl_status compute_single_tap(const cvl_gather *part, void *context) {
    const double most_bytes = 1 << 20; /* of inputs, which are brought together */
    const single_taps *all = context;
    const double inputs = cvl_positions(part) * (double)part->groups * (double)part->ic;
    if (cvl_pointwise(part) && inputs * (double)size_of(all->dtype) <= most_bytes)
        return by_dots[all->dtype](part, all->kernels);
    const gather_counts counts = count_gather(part);
    return run_by_formula(all->dtype, part, &counts, all->kernels, all->lanes);
}

/* Whether Winograd's filtering is faster than the formula's ways, the positions of single taps
 * included: these cost the weights that they bring together, one by one or side by side. */
static bool filtering_pays(const cvl_gather *g, const gather_counts *counts, single_taps *singles) {
    const double apart = 6, near = 1.5;
    /* Inputs are transformed that columns only read; long vectors are no help with that. */
    const double long_vector = 64, few_outputs = 1.3, of_long = 1.6;
    const double vector = (double)singles->lanes * (double)size_of(singles->dtype);
    const double depths = count_taps(&g->axis[0]).inside;
    const double formula = formula_cost(g, counts, singles->lanes);
    const double filtering =
        cvl_winograd_gather_cost(singles->dtype, g, depths, counts->sources, singles->kernels);
    if (filtering >= formula ||
        (vector < long_vector ? few_outputs : of_long) * filtering >=
            columns_cost(singles->dtype, g, counts, singles->kernels, singles->lanes))
        return false;
    cvl_for_single_taps(g, size_of(singles->dtype), count_single_tap, singles);
    const double weight = g->w_ic == 1 || g->w_oc == 1 ? near : apart;
    return filtering + weight * singles->weights / cvl_positions(g) < formula;
}

static void *alloc_reals(cvl_dtype dtype, ptrdiff_t count) {
    return cvl_alloc((size_t)cvl_part_bytes(count, size_of(dtype)));
}

/* Computes again, by the formula, those results of Winograd's filtering that are not finite: there
 * infinity may have met itself, or a sum have been too large midway. */
static cvl_status mend_gather(cvl_dtype dtype, const cvl_gather *g, const gather_counts *counts,
                              const cvl_kernels *kernels, ptrdiff_t lanes) {
    cvl_gather again = *g;
    ptrdiff_t step = g->groups * g->oc;
    again.dst_strides.c = 1;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        again.dst_strides.s[i] = step;
        step *= g->axis[i].out;
    }
    again.dst_strides.n = step;
    again.dst = alloc_reals(dtype, g->n * step);
    cvl_status status = CVL_NO_MEMORY;
    if (again.dst)
        status = run_by_formula(dtype, &again, counts, kernels, lanes);
    if (status == CVL_OK)
        (dtype == CVL_F32 ? cvl_take_unusual_f32 : cvl_take_unusual_f64)(g, &again);
    cvl_free(again.dst);
    return status;
}

static cvl_status run_gather(cvl_dtype dtype, cvl_gather *g) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool together = g->src_strides.c == 1 && g->dst_strides.c == 1;
    const bool depthwise = g->ic == 1 && g->oc == 1 && g->groups >= lanes / 2;
    cvl_small_axis small[CVL_AXES];
    if (!(depthwise && together) && cvl_is_small_gather(g, small))
        return (dtype == CVL_F32 ? cvl_gather_small_f32 : cvl_gather_small_f64)(g, small, kernels);
    const gather_counts counts = count_gather(g);
    if (counts.inside == 0) /* padding alone: every sum is of nothing */
        g->ic = 0;
    single_taps singles = {dtype, lanes, kernels, 0};
    if (!filtering_pays(g, &counts, &singles))
        return run_by_formula(dtype, g, &counts, kernels, lanes);
    bool finite = true;
    cvl_status status =
        (dtype == CVL_F32 ? cvl_gather_winograd_f32 : cvl_gather_winograd_f64)(g, kernels, &finite);
    if (status == CVL_OK)
        status = cvl_for_single_taps(g, size_of(dtype), compute_single_tap, &singles);
    return status != CVL_OK || finite ? status : mend_gather(dtype, g, &counts, kernels, lanes);
}

/* Ways of a weight gradient, in the order in which they are preferred where they cost the same. */
typedef enum reduce_way {
    BY_X = CVL_LANES_OF_X,
    BY_DY = CVL_LANES_OF_DY,
    BY_TAPS = CVL_LANES_OF_TAPS,
    BY_PIXELS,
    BY_DOTS,
    REDUCE_WAYS
} reduce_way;

/* The time of a step of so many rows: of few, every sum waits for itself. */
static double step_time(double rows, ptrdiff_t wide, ptrdiff_t lanes) {
    const double least = 8, time = rows * row_time(wide, lanes);
    return time > least ? time : least;
}

/* Whether an operand that is along the lanes is read where it stands: its channels stand together,
 * fill their vectors, and are few enough for one panel or meet few rows. */
static bool stands(const cvl_data_strides *strides, ptrdiff_t channels, double rows,
                   ptrdiff_t lanes) {
    const double few_rows = 48;
    return strides->c == 1 && channels % lanes == 0 &&
           (channels <= CVL_MAX_VECTORS * lanes || rows <= few_rows);
}

/* The time to move `channels` elements of each of some positions so that they lie along the lanes.
 * Channels are rows of positions: of many that do not fit the level-2 cache, no prefetcher follows
 * every one. */
static double move_channels(cvl_dtype dtype, double channels, double positions) {
    const double near = 0.2, from_afar = 0.125 * (double)size_of(dtype), many = 256;
    const double bytes = channels * positions * (double)size_of(dtype);
    return (channels < many || bytes < (double)cvl_l2_bytes() ? near : from_afar) * channels;
}

/* Estimates every way per position of dy, in the time of one vector's multiply-add: the steps of
 * its products; what is moved to lie along the lanes; copies of rows of positions, one for every
 * tap of a row; and the weights that are stored one by one, or transposed. */
static reduce_way choose_reduce(cvl_dtype dtype, const cvl_reduce *r, ptrdiff_t lanes,
                                double *least_cost) {
    const double moved = 0.2, copied = 0.5, scattered = 2;
    const double of_pixels = 1.6, of_filter = 1; /* of each tap: they are loaded; and besides */
    const double lanes_added = 25;               /* of each weight */
    const double of_dots = 1.6, read = 0.05;
    const double run = 24;   /* of a row, moved by itself: as many as the stride */
    const double turned = 9; /* of sums whose neighbours are stored in lines of their own */
    const double apart = fmin(1.1, 1 + 8 / (double)r->oc); /* a product to every tap */
    const cvl_phase *const width = r->axis[2].phases;
    const double ic = (double)r->ic, oc = (double)r->oc, columns = (double)width->taps;
    double taps = 1, sources = ic, positions = (double)r->n;
    for (int i = 0; i < CVL_AXES; i++) {
        taps *= (double)r->axis[i].phases->taps;
        sources *= (double)r->axis[i].in / (double)r->axis[i].out;
        positions *= (double)r->axis[i].out;
    }
    const bool x_rows = r->x_strides.s[2] == 1, dy_rows = r->dy_strides.s[2] == 1;
    const double weights = taps * ic * oc / positions;
    const double store = r->dw_strides.ic == 1 ? 0 : scattered * weights;
    const double to_lanes = r->dw_strides.oc == 1     ? 0
                            : r->dw_strides.k[2] == 1 ? moved * weights
                                                      : turned * weights;

    double cost[REDUCE_WAYS];
    cost[BY_X] = (taps > 1 ? apart : 1) * taps * step_time(oc, r->ic, lanes) +
                 (stands(&r->x_strides, r->ic, taps * oc, lanes)
                      ? 0
                      : move_channels(dtype, sources, positions)) +
                 store;
    cost[BY_DY] =
        step_time(taps * ic, r->oc, lanes) +
        (stands(&r->dy_strides, r->oc, taps * ic, lanes) ? 0
                                                         : move_channels(dtype, oc, positions)) +
        to_lanes + (x_rows && (columns > 1 || width->in_step > 1) ? copied * columns * ic : 0);
    cost[BY_TAPS] =
        taps / columns * step_time(oc, r->ic * width->taps, lanes) + moved * sources + store;
    cost[BY_PIXELS] = (of_pixels * taps + of_filter) * ic * oc / (double)lanes +
                      (x_rows && dy_rows ? moved : 2 * moved) * (sources + oc) +
                      run * (double)r->axis[1].in / (double)r->axis[1].out *
                          (double)width->in_step / (double)width->count +
                      lanes_added * weights;
    cost[BY_DOTS] = of_dots * ic * oc / (double)lanes + read * (ic + oc);

    /* Taps along the lanes are neighbours in a tile, and its places no wider than a panel. */
    const bool taps_fit = columns > 1 && width->tap_step == 1 && r->ic <= CVL_MAX_VECTORS * lanes;
    reduce_way best = BY_X;
    for (reduce_way way = BY_DY; way < REDUCE_WAYS; way++)
        if (cost[way] < cost[best] && (way != BY_TAPS || taps_fit) &&
            (way != BY_DOTS || cvl_dots_stand(r, lanes)))
            best = way;
    *least_cost = cost[best];
    return best;
}

/* As gather_planes. */
static bool reduce_planes(const cvl_reduce *r, ptrdiff_t lanes) {
    double all = 1, inside = 1;
    if (!cvl_reduce_planes_fit(r))
        return false;
    for (int i = 0; i < CVL_AXES; i++) {
        const tap_counts taps = count_taps(&r->axis[i]);
        all *= taps.all;
        inside *= taps.inside;
    }
    return planes_beat_lanes(r->axis, all, inside, lanes);
}

/* The share of all products that the formula's ways sum: they leave out padding, of the width if it
 * is much. */
static double summed_share(const cvl_reduce *r) {
    const double much = 0.125;
    double share = 1;
    for (int i = 0; i < CVL_AXES; i++) {
        const tap_counts taps = count_taps(&r->axis[i]);
        const double own = taps.inside / taps.all;
        share *= i < CVL_AXES - 1 || own < 1 - much ? own : 1;
    }
    return share;
}

static cvl_status reduce_by_formula(cvl_dtype dtype, const cvl_reduce *r, reduce_way way,
                                    const cvl_kernels *kernels) {
    if (way == BY_PIXELS)
        return (dtype == CVL_F32 ? cvl_reduce_pixels_f32 : cvl_reduce_pixels_f64)(r, kernels);
    if (way == BY_DOTS)
        return (dtype == CVL_F32 ? cvl_reduce_dots_f32 : cvl_reduce_dots_f64)(r, kernels);
    return (dtype == CVL_F32 ? cvl_reduce_channels_f32
                             : cvl_reduce_channels_f64)(r, kernels, (cvl_lanes_of)way);
}

/* As mend_gather. */
static cvl_status mend_reduce(cvl_dtype dtype, const cvl_reduce *r, reduce_way way,
                              const cvl_kernels *kernels) {
    cvl_reduce again = *r;
    ptrdiff_t step = 1;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        again.dw_strides.k[i] = step;
        step *= r->axis[i].k;
    }
    again.dw_strides.ic = step;
    again.dw_strides.oc = r->ic * step;
    again.dw = alloc_reals(dtype, r->groups * r->oc * again.dw_strides.oc);
    cvl_status status = CVL_NO_MEMORY;
    if (again.dw)
        status = reduce_by_formula(dtype, &again, way, kernels);
    if (status == CVL_OK)
        (dtype == CVL_F32 ? cvl_take_unusual_weights_f32 : cvl_take_unusual_weights_f64)(r, &again);
    cvl_free(again.dw);
    return status;
}

static cvl_status run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool together = r->x_strides.c == 1 && r->dy_strides.c == 1;
    const bool depthwise = r->ic == 1 && r->oc == 1 && r->groups >= lanes / 2;
    cvl_small_axis small[CVL_AXES];
    if (!(depthwise && together) && cvl_is_small_reduce(r, lanes, small))
        return (dtype == CVL_F32 ? cvl_reduce_small_f32 : cvl_reduce_small_f64)(r, small, kernels);
    if (depthwise && reduce_planes(r, lanes))
        return (dtype == CVL_F32 ? cvl_reduce_planes_f32 : cvl_reduce_planes_f64)(r, kernels);
    /* Other ways leave most of a vector empty for groups of a few: moving them together pays. */
    const bool lanes_pay = together || r->ic > 1;
    const ptrdiff_t width = dtype == CVL_F32 ? kernels->f32->sums_width : kernels->f64->sums_width;
    if (by_lanes_best(r->ic, r->oc, r->groups, width, r->axis, lanes_pay, lanes) &&
        (dtype == CVL_F32 ? cvl_reduce_lanes_fit_f32 : cvl_reduce_lanes_fit_f64)(r, kernels))
        return (dtype == CVL_F32 ? cvl_reduce_lanes_f32 : cvl_reduce_lanes_f64)(r, kernels);
    double cost, sources = 1;
    for (int i = 0; i < CVL_AXES; i++)
        sources *= (double)r->axis[i].in / (double)r->axis[i].out;
    const reduce_way way = choose_reduce(dtype, r, lanes, &cost);
    const double depths = count_taps(&r->axis[0]).inside;
    if (cvl_winograd_reduce_cost(dtype, r, depths, sources, kernels) >= cost * summed_share(r))
        return reduce_by_formula(dtype, r, way, kernels);
    bool finite = true;
    const cvl_status status =
        (dtype == CVL_F32 ? cvl_reduce_winograd_f32 : cvl_reduce_winograd_f64)(r, kernels, &finite);
    return status != CVL_OK || finite ? status : mend_reduce(dtype, r, way, kernels);
}

cvl_status cvl_run_gather(cvl_dtype dtype, cvl_gather *g) {
    const cvl_float_mode mode = cvl_flush_denormals();
    const cvl_status status = run_gather(dtype, g);
    cvl_restore_denormals(mode);
    return status;
}

cvl_status cvl_run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_float_mode mode = cvl_flush_denormals();
    const cvl_status status = run_reduce(dtype, r);
    cvl_restore_denormals(mode);
    return status;
}
