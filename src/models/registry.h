// What a family offers to the registry: one function that loads it. A new family is one file under encoder/
// or decoder/, its line here and its line in registry.cpp.
#pragma once

#include <filesystem>
#include <memory>

#include "formats/gguf.h"
#include "models/causal_lm.h"
#include "models/config.h"
#include "models/qa_model.h"

namespace kvasir::models {

// What a model is loaded from and for.
struct LoadContext {
  const std::filesystem::path& folder;
  const ConfigReader& config;  // of FOLDER/config.json, or what a GGUF file says in its words
  const kernels::Kernels& kernels;
  base::ThreadPool& pool;
  Precision precision;
  // Whether weights of 16 bits stay so under kAuto. Decoders read them for each token, and half is twice as
  // fast; encoders read them for many, and fp32 saves their widening.
  bool keeps_half;
  Inventory* inventory;                                     // filled after loading, or null
  std::shared_ptr<const formats::GgufFile> gguf = nullptr;  // in place of the folder, if not null
};

std::unique_ptr<const QaModel> load_bert(const LoadContext& context);
std::unique_ptr<const QaModel> load_distilbert(const LoadContext& context);
std::unique_ptr<const QaModel> load_roberta(const LoadContext& context);  // and XLM-RoBERTa
std::unique_ptr<const QaModel> load_electra(const LoadContext& context);
std::unique_ptr<const QaModel> load_albert(const LoadContext& context);
std::unique_ptr<const QaModel> load_mpnet(const LoadContext& context);
std::unique_ptr<const QaModel> load_mobilebert(const LoadContext& context);
std::unique_ptr<const QaModel> load_modernbert(const LoadContext& context);
std::unique_ptr<const QaModel> load_deberta_v2(const LoadContext& context);

std::unique_ptr<const CausalLm> load_llama(const LoadContext& context);
std::unique_ptr<const CausalLm> load_falcon(const LoadContext& context);
std::unique_ptr<const CausalLm> load_bloom(const LoadContext& context);
std::unique_ptr<const CausalLm> load_mpt(const LoadContext& context);

}  // namespace kvasir::models
