// Compiled as if it stood in src/kernels: what kernels may use is found, so breach.cpp fails for the right
// reason.
#include "tensor/view.h"
