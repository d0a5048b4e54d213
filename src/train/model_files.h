// What a training run keeps on disk: models in the layout of Hugging Face, and the state that it resumes
// from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "formats/model_folder.h"
#include "train/parameters.h"

namespace kvasir::train {

// Writes an ordinary model folder: model.safetensors with all parameters, the tokenizer's files of `source`,
// and its config.json with the class that answers questions. values: of each parameter in order, in place of
// its own (a moving average); empty: its own. config.json comes last: a folder without it is no model. Throws
// kIo.
void write_model(const std::filesystem::path& folder, const formats::ModelFolder& source,
                 const Parameters& parameters, std::span<const tensor::Buffer<float>> values = {});

// The numbers that a run needs besides the weights, for each parameter that learns: AdamW's moments under
// NAME.exp_avg and NAME.exp_avg_sq, and the moving average under NAME.ema if there is one.
void write_optimizer(const std::filesystem::path& path, const Parameters& parameters,
                     std::span<const tensor::Buffer<float>> averages);
// Fills weights from a checkpoint's model.safetensors (or the adapter's file), and the rest from its
// optimizer's file. Throws kFormat if a tensor is missing or has another shape: the checkpoint is of another
// model.
void read_weights(const std::filesystem::path& path, Parameters& parameters);
// Of the optimizer's file only the moving averages.
void read_averages(const std::filesystem::path& path, const Parameters& parameters,
                   std::span<tensor::Buffer<float>> averages);
void read_optimizer(const std::filesystem::path& path, Parameters& parameters,
                    std::span<tensor::Buffer<float>> averages);

}  // namespace kvasir::train
