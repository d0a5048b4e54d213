// README.md of a trained model: a model card, whose first lines the hub of Hugging Face reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace kvasir::train {

struct CardFile {
  std::string use;   // "training", "evaluation", …
  std::string path;  // as it was given
  std::uint64_t questions = 0;
  std::uint64_t without_answer = 0;  // of them
};

struct CardScore {
  std::string name;  // as SQuAD's scripts call it: "exact_match", "f1", "HasAns_f1", …
  double value = 0;  // a percentage
};

// What is not known stays empty and is left out.
struct ModelCard {
  std::string name;
  std::string architecture = {};            // "BertForQuestionAnswering"
  std::vector<std::string> languages = {};  // "en"
  std::string license = {};                 // "apache-2.0"
  std::string base_model = {};              // as the hub calls it: "google-bert/bert-base-uncased"
  std::vector<std::string> datasets = {};   // as the hub calls them: "squad"
  std::vector<CardFile> files = {};
  std::string scored_on = {};  // the name of the data that the scores are of
  std::vector<CardScore> scores = {};
  std::vector<std::string> command = {};  // the program and its arguments
  std::vector<std::pair<std::string, std::string>> hyperparameters = {};
  std::vector<std::pair<std::string, std::string>> versions = {};
};

std::string model_card_text(const ModelCard& card);
// Atomically. Throws kIo.
void write_model_card(const std::filesystem::path& path, const ModelCard& card);

}  // namespace kvasir::train
