/* A trial: one problem with its arrays, drawn from a source, its expected result, and its run. */
#ifndef CVL_TEST_TRIAL_H
#define CVL_TEST_TRIAL_H

#include "cvl.h"
#include "draw.h"
#include "guard.h"

typedef enum operation { FORWARD, GRAD_INPUT, GRAD_WEIGHT, GRAD_BIAS, UNFOLD, FOLD } operation;
enum { N_OPERATIONS = 6, MOST_AXES = 5 };

extern const char *const operation_names[N_OPERATIONS];

/* An array as the core sees it: a pointer and strides. Its memory is exactly what these can
 * reach. */
typedef struct view {
    int rank;
    ptrdiff_t size[MOST_AXES], stride[MOST_AXES];
    guarded memory;
    void *base; /* element (0, ..., 0) */
    bool in_use;
} view;

/* What the elements of the inputs are. WHOLE: small integers, so that every sum is exact whatever
 * its order; HOSTILE: the same with NaN and infinities in the operand that windows slide over;
 * REAL: any fractions. What lies between the elements of an input is NaN. */
typedef enum values { WHOLE, HOSTILE, REAL } values;

/* Problems for one way to compute them: Winograd's filtering, a gather by columns. */
typedef enum kind { ANY_KIND, FOR_FILTERING, FOR_COLUMNS, N_KINDS } kind;

typedef struct trial {
    operation op;
    kind kind;
    cvl_problem p;
    values values;
    view x, y, w, b, columns; /* b is the bias, or db */
    view *out;
    guarded expected; /* as out->memory, from the reference */
    int threads;
} trial;

/* Draws a trial. `most_work` bounds its multiplications, as the reference loops over them. */
void trial_draw(source *s, operation op, cvl_dtype dtype, values values, double most_work,
                trial *t);
void trial_free(trial *t);

/* Fills the output with canaries and computes it. */
cvl_status trial_run(trial *t);

/* Computes what is expected, by plain loops. */
void trial_expect(trial *t);

/* Whether the output's memory holds what is expected, gaps included; else says where it does
 * not. */
bool trial_matches(const trial *t);

/* Draws, computes, compares, frees, and reports what differs. */
void trial_check(source *s, operation op, cvl_dtype dtype, values values, double most_work);

/* The same of a problem of a kind: of a gather, that for columns. */
void trial_check_kind(source *s, kind kind, operation op, cvl_dtype dtype, values values);

/* How many runs of this thread took the way of a kind. */
int trials_taken(kind kind);

#endif
