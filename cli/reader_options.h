// Options that the commands which read answers out of texts have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "kvasir/reader.h"
#include "runtime/engine.h"

namespace kvasir::cli {

struct ModelArguments {
  std::string model;
  int threads = 0;
  std::string isa;
  std::string precision = "auto";
};
void add_model_options(CLI::App& command, ModelArguments& arguments);
// --threads, and --isa or the environment's KVASIR_ISA. Throws kvasir::Error for a set that this machine
// lacks.
ReaderOptions reader_options(const ModelArguments& arguments);
runtime::EngineOptions engine_options(const ModelArguments& arguments);

struct DecodeArguments {
  AskOptions options;
  std::string decode;
  bool no_align_to_words = false;
};
// Adds --decode (with this default) and the arguments of the decoders.
void add_decode_options(CLI::App& command, DecodeArguments& arguments, const std::string& default_decode);
AskOptions ask_options(const DecodeArguments& arguments);

}  // namespace kvasir::cli
