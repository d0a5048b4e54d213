// Options of loading a model.
#pragma once

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "models/precision.h"

namespace kvasir::models {

struct Inventory;

struct LoadOptions {
  const kernels::Kernels& kernels;  // weights are packed for these
  base::ThreadPool& pool;           // by these threads
  Precision precision = Precision::kAuto;
  Inventory* inventory = nullptr;  // filled with what was loaded (models/inventory.h)
};

}  // namespace kvasir::models
