/* The drivers, once per dtype: the loop nests between an operation and the kernels. */
#include <stdbool.h>
#include <string.h>

#include "drivers/axes.h"
#include "drivers/blocks.h"
#include "drivers/gather.h"
#include "drivers/reduce.h"
#include "kernels/kernels.h"
#include "support/memory.h"
#include "support/threads.h"

#define real float
#define CVL_DTYPE f32
#define CVL_NAME(name) name##_f32
#include "drivers/drivers_impl.h"
#undef real
#undef CVL_DTYPE
#undef CVL_NAME

#define real double
#define CVL_DTYPE f64
#define CVL_NAME(name) name##_f64
#include "drivers/drivers_impl.h"
#undef real
#undef CVL_DTYPE
#undef CVL_NAME
