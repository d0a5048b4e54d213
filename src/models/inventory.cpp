#include "models/inventory.h"

#include <string_view>

#include "models/stored_names.h"

namespace kvasir::models {

bool can_be_int8(const Linear& linear) noexcept {
  return linear.out() >= kMinRoundedOutputs;
}

void InventoryTaker::embedding(const std::string& name, const Embedding&, const MatrixShape&) {
  add(Inventory::Kind::kTable, name + kWeight);
}

void InventoryTaker::layer_norm(const std::string& name, const LayerNorm&, const Dim&, Bias bias) {
  add(Inventory::Kind::kOther, name + kWeight);
  if (bias == Bias::kYes) add(Inventory::Kind::kOther, name + kBias);
}

void InventoryTaker::rms_norm(const std::string& name, const RmsNorm&, const Dim&) {
  add(Inventory::Kind::kOther, name + kWeight);
}

void InventoryTaker::linear(LinearParts parts, const Linear& linear, const Dim&, Bias bias) {
  for (const LinearPart& part : parts) {
    add(Inventory::Kind::kMatrix, part.name + kWeight, &linear);
    if (bias == Bias::kYes) add(Inventory::Kind::kOther, part.name + kBias);
  }
}

void InventoryTaker::convolution(const std::string& name, const Linear&, const ConvolutionShape&) {
  add(Inventory::Kind::kOther, name + kWeight);
  add(Inventory::Kind::kOther, name + kBias);
}

void InventoryTaker::add(Inventory::Kind kind, const std::string& name, const Linear* linear) {
  const StoredTensor& stored = *source_.find(name);
  Inventory::Entry entry{.kind = kind, .name = stored.name, .view = stored.view, .linear = linear};
  // Names of other times and programs become those of today.
  std::string_view plain = stored.name;
  while (!source_.prefix().empty() && plain.starts_with(source_.prefix())) {
    plain.remove_prefix(source_.prefix().size());
  }
  if (plain != name) entry.name = name;
  if (stored.view.dtype == tensor::DType::kI8) entry.scales = source_.find(name + kScaleSuffix)->view;
  inventory_.entries.push_back(std::move(entry));
}

}  // namespace kvasir::models
