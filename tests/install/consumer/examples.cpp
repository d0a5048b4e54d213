// The examples of the public headers, which tests/docs/header_examples_test.sh compares line by line.
#include "examples.h"

#include <kvasir/convert.h>
#include <kvasir/embedder.h>
#include <kvasir/error.h>
#include <kvasir/generative_reader.h>
#include <kvasir/generator.h>
#include <kvasir/hub.h>
#include <kvasir/log.h>
#include <kvasir/reader.h>
#include <kvasir/reranker.h>
#include <kvasir/trainer.h>

#include <iostream>
#include <string_view>
#include <vector>

int load_a_model() {
  try {
    auto reader = kvasir::Reader::load("models/my-reader");
  } catch (const kvasir::Error& error) {
    std::cerr << error.what() << '\n';
    return error.code() == kvasir::ErrorCode::kNotFound ? 2 : 1;
  }
  return 0;
}

int show_warnings() {
  kvasir::set_log_sink([](kvasir::LogLevel, std::string_view line) { std::cerr << line << '\n'; });
  return load_a_model();
}

int fetch_a_model() {
  try {
    auto pulled = kvasir::pull_model("deepset/minilm-uncased-squad2");
    std::cout << pulled.folder << '\n';
    auto named = kvasir::Reader::load("deepset/minilm-uncased-squad2");
  } catch (const kvasir::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}

int resolve_a_name() {
  try {
    auto reader = kvasir::Reader::load("no-such-organisation/no-such-model", {.hub_cache = "no-such-folder"});
  } catch (const kvasir::Error& error) {
    std::cout << error.what() << '\n';
    return error.code() == kvasir::ErrorCode::kNotFound ? 2 : 1;
  }
  return 0;
}

int write_on() {
  try {
    auto generator = kvasir::Generator::load("models/vicuna-7b");
    auto result = generator.generate("The capital of Sweden is", {.max_new_tokens = 16});
    std::cout << result.sequences.at(0).text << '\n';
  } catch (const kvasir::Error& error) {
    return error.code() == kvasir::ErrorCode::kNotFound ? 2 : 1;
  }
  return 0;
}

void compare_texts() {
  auto embedder = kvasir::Embedder::load("models/all-MiniLM-L6-v2");
  auto first = embedder.embed("A man is eating pasta.");
  auto second = embedder.embed("Someone has a meal.");
  std::cout << embedder.similarity(first.vector, second.vector) << '\n';
}

void rank_passages() {
  auto reranker = kvasir::Reranker::load("models/ms-marco-MiniLM-L6-v2");
  std::vector<std::string_view> passages = {"Lund is a town.", "It was signed in 1676."};
  auto ranked = reranker.rank("When was the treaty signed?", passages);
  std::cout << passages[ranked.at(0).index] << ' ' << ranked.at(0).score << '\n';
}

void write_from(const kvasir::Reader& reader, const kvasir::Generator& generator,
                const kvasir::Document& document) {
  kvasir::GenerativeReader writer(reader, generator);
  auto written = writer.answer("Where was the treaty signed?", {document});
  std::cout << written.text << '\n';
  std::cout << written.passages.at(0).text << '\n';
}

void ask_a_document(const kvasir::Reader& reader, std::string bytes) {
  auto document = kvasir::convert(bytes, {.name = "report.pdf"});
  auto prepared = reader.prepare(document.text, "report.pdf");
  auto answer = reader.ask("Who audited it?", prepared).answers.at(0);
  auto place = document.locate(answer.range.byte_start);
  std::cout << answer.text << ", " << place.describe() << '\n';
}

void ask_with_options(const kvasir::Reader& reader, const kvasir::Document& document) {
  kvasir::AskOptions options;
  options.top_k = 3;
  options.handle_impossible_answer = true;
  auto result = reader.ask("Who signed it?", document, options);
}

void ask_much(const kvasir::Reader& reader, const kvasir::Document& document) {
  std::vector<kvasir::Query> queries = {{"Where was it signed?", {document}}, {"When?", {document}}};
  auto results = reader.ask_batch(queries, {}, [](std::size_t query, const kvasir::AskResult& result) {
    std::cout << query << ": " << result.answers.at(0).text << '\n';
  });
}

void train_a_model() {
  kvasir::TrainOptions options{.model = "bert-base-uncased",
                               .train_files = {{.path = "train-v2.0.json"}},
                               .validation_file = "dev-v2.0.json",
                               .output_dir = "my-reader"};
  kvasir::TrainResult result = kvasir::train_qa(options);
  std::cout << result.steps << " steps\n";
  kvasir::Reader reader = kvasir::Reader::load("my-reader");
}
