/* Makes a source file that is written for any `real` one for double. A file that includes this is
 * of one dtype, so its static names need no suffix; those that other files see get it from
 * CVL_TYPED. */
#include <stdint.h>

#define real double
#define real_bits uint64_t /* the unsigned integer of its size */
#define CVL_REAL_BYTES 8
#define CVL_LONGEST_CUT 64 /* terms of a sum that are summed in a register, at most */
#define CVL_DTYPE f64
#define CVL_TYPED(name) name##_f64
