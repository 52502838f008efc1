#include "support/real_f64.h"

#include "drivers/drivers_impl.h"
