/* Any CPU: SSE2 on x86-64, whatever the compiler makes of 16-byte vectors elsewhere. */
#define CVL_ISA generic
#define CVL_VECTOR_BYTES 16
#define CVL_REGISTERS 16
#include "kernels/isa_impl.h"
