// Compiled as if it stood in src/kernels: that folder has no include path to qa, so this must fail.
#include "qa/squad.h"
