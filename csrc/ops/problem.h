/* What the operations ask of a problem before they choose how to compute it. */
#ifndef CVL_PROBLEM_H
#define CVL_PROBLEM_H

#include "cvl.h"

/* Whether x, or y, has no elements, or the kernel no taps. */
bool cvl_no_x(const cvl_problem *p);
bool cvl_no_y(const cvl_problem *p);
bool cvl_no_taps(const cvl_problem *p);

/* The same problem with fewer, longer axes: neighbouring axes that are walked without kernel,
 * stride or padding become one, as do images where nothing else tells them apart. With `merge`,
 * inputs that one output meets with a tap each become channels; not if a bias is added to channels
 * of x. It is made in `room`, unless it is p itself. */
const cvl_problem *cvl_collapse(const cvl_problem *p, bool merge, cvl_problem *room);

#endif
