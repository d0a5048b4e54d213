// Whole runs: what they leave, how they go on, and what they refuse.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/safetensors.h"
#include "kvasir/error.h"
#include "kvasir/reader.h"
#include "kvasir/trainer.h"
#include "temporary_folder.h"
#include "test_isa.h"
#include "train/checkpoint_folder.h"
#include "train/trainer_state.h"
#include "train/training_log.h"

namespace kvasir::train {
namespace {

using tests::TemporaryFolder;

const std::filesystem::path kData = std::filesystem::path(KVASIR_TEST_DATA) / "training";

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

// The recipe of the fixtures, ten steps.
TrainOptions recipe(const std::string& name, const std::filesystem::path& output) {
  return {.model = (kData / name / "initial").string(),
          .train_batches = (kData / name / "batches.safetensors").string(),
          .output_dir = output.string(),
          .learning_rate = 3e-5,
          .num_train_epochs = 1,
          .warmup_ratio = 0.1,
          .weight_decay = 0.01,
          .log_json = (output / "log.jsonl").string(),
          .threads = 2,
          .isa = base::isa_name(tests::test_isa())};
}

std::string error_of(const TrainOptions& options) {
  try {
    train_qa(options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

base::json::array expected_steps(const std::string& name) {
  return base::parse_json_file(kData / name / "expected.json").at("runs").at("recipe").at("steps").as_array();
}

void expect_losses(const std::string& name, const std::filesystem::path& log) {
  const base::json::array steps = expected_steps(name);
  const std::vector<LogLine> lines = read_training_log(log);
  ASSERT_EQ(lines.size(), steps.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].step, i + 1);
    ASSERT_EQ(lines[i].values.front().first, "loss");
    const double loss = steps[i].at("loss").to_number<double>();
    EXPECT_NEAR(lines[i].values.front().second, loss, 1e-5 * loss);
  }
}

TEST(TrainingRun, LossesOfTheLogEqualTheReference) {
  for (const char* name : {"bert", "modernbert", "deberta-v2"}) {
    const TemporaryFolder folder;
    const TrainResult result = train_qa(recipe(name, folder.path()));
    EXPECT_EQ(result.steps, 10);
    expect_losses(name, folder.path() / "log.jsonl");
    EXPECT_EQ(list_checkpoints(folder.path()).size(), 1);
  }
}

TEST(TrainingRun, AdaptersAndTeachersFromFiles) {
  const TemporaryFolder lora, distilled;
  TrainOptions options = recipe("bert-lora", lora.path());
  options.adapter = (kData / "bert-lora" / "adapter").string();
  train_qa(options);
  expect_losses("bert-lora", lora.path() / "log.jsonl");
  EXPECT_TRUE(std::filesystem::exists(lora.path() / "adapter_model.safetensors"));

  options = recipe("bert-distil", distilled.path());
  options.teacher_logits = (kData / "bert-distil" / "teacher_logits.safetensors").string();
  options.distil_alpha = 0.7;
  options.distil_temperature = 2;
  train_qa(options);
  expect_losses("bert-distil", distilled.path() / "log.jsonl");
}

// The model in the output folder is the one with the adapter, and so is what merge makes of both.
TEST(TrainingRun, MergedEqualsModelWithAdapter) {
  const TemporaryFolder folder, merged;
  TrainOptions options = recipe("bert-lora", folder.path());
  options.adapter = (kData / "bert-lora" / "adapter").string();
  options.learning_rate = 1e-2;
  train_qa(options);
  const std::filesystem::path out = merged.path() / "merged";
  merge_adapter(options.model, folder.path().string(), out.string());
  EXPECT_EQ(bytes_of(out / "model.safetensors"), bytes_of(folder.path() / "model.safetensors"));
  EXPECT_NE(bytes_of(out / "model.safetensors"),
            bytes_of(std::filesystem::path(options.model) / "model.safetensors"));
  EXPECT_THROW(merge_adapter(options.model, folder.path().string(), out.string()), Error);  // it is there
}

// Stopped after some steps, resumed with another number of threads: the same bits as in one go.
TEST(TrainingRun, ResumesBitByBit) {
  for (const bool with_adapter : {false, true}) {
    const std::string name = with_adapter ? "bert-lora" : "bert";
    const TemporaryFolder whole, parts;
    const auto options_for = [&](const TemporaryFolder& folder) {
      TrainOptions options = recipe(name, folder.path());
      if (with_adapter) options.adapter = (kData / name / "adapter").string();
      options.num_train_epochs = 1.5;
      options.ema = with_adapter ? 0 : 0.9;
      options.logging_steps = 4;
      return options;
    };
    train_qa(options_for(whole));
    for (const std::uint64_t stop : {3U, 10U, 11U, 100U}) {
      std::atomic<bool> cancel{false};
      TrainOptions options = options_for(parts);
      options.threads = stop == 10U ? 3 : 1;
      if (!list_checkpoints(parts.path()).empty()) options.resume_from_checkpoint = "true";
      options.cancel = &cancel;
      options.on_step = [&](const TrainStep& step) { cancel = step.step >= stop; };
      EXPECT_EQ(train_qa(options).interrupted, stop < 15);
    }
    EXPECT_EQ(bytes_of(whole.path() / "model.safetensors"), bytes_of(parts.path() / "model.safetensors"));
    const TrainerState a = read_trainer_state(whole.path() / "trainer_state.json");
    const TrainerState b = read_trainer_state(parts.path() / "trainer_state.json");
    EXPECT_EQ(a.global_step, 15);
    ASSERT_EQ(a.log_history.size(), b.log_history.size());
    for (std::size_t i = 0; i < a.log_history.size(); ++i) {
      EXPECT_EQ(a.log_history[i].value("loss"), b.log_history[i].value("loss"));
      EXPECT_EQ(a.log_history[i].epoch, b.log_history[i].epoch);
    }
    EXPECT_EQ(read_training_log(parts.path() / "log.jsonl").size(), 15);
  }
}

TEST(TrainingRun, DropoutIsRepeatable) {
  const TemporaryFolder first, second, other;
  const auto run = [&](const TemporaryFolder& folder, std::uint64_t seed, int threads) {
    TrainOptions options = recipe("bert", folder.path());
    options.lora_r = 4;
    options.lora_dropout = 0.5;
    options.seed = seed;
    options.threads = threads;
    train_qa(options);
    return bytes_of(folder.path() / "adapter_model.safetensors");
  };
  const std::string weights = run(first, 1, 1);
  EXPECT_EQ(weights, run(second, 1, 3));
  EXPECT_NE(weights, run(other, 2, 1));
}

TEST(TrainingRun, FrozenTensorsStay) {
  const TemporaryFolder folder;
  TrainOptions options = recipe("bert", folder.path());
  options.freeze = {"layer\\.0\\.attention\\.self\\.query", "embeddings"};
  options.learning_rate = 1e-2;
  train_qa(options);
  const formats::SafetensorsFile before(std::filesystem::path(options.model) / "model.safetensors");
  const formats::SafetensorsFile after(folder.path() / "model.safetensors");
  for (const auto& [name, view] : before.tensors()) {
    std::vector<float> a(view.elements()), b(view.elements());
    view.read_floats(0, a);
    after.tensors().at(name).read_floats(0, b);
    const bool frozen = name.find("layer.0.attention.self.query") != std::string::npos ||
                        name.find("embeddings") != std::string::npos;
    EXPECT_EQ(a == b, frozen) << name;
  }
}

constexpr const char* kSquad = R"({"version": "v2.0", "data": [{"title": "t", "paragraphs": [
  {"context": "The treaty was signed in Lund in 1676, after a long winter.", "qas": [
    {"id": "a", "question": "Where was it signed?", "answers": [{"text": "Lund", "answer_start": 25}], "is_impossible": false},
    {"id": "b", "question": "When?", "answers": [{"text": "1676", "answer_start": 33}], "is_impossible": false},
    {"id": "c", "question": "Who signed?", "answers": [], "is_impossible": true},
    {"id": "d", "question": "After what?", "answers": [{"text": "a long winter", "answer_start": 7}], "is_impossible": false},
    {"id": "e", "question": "What?", "answers": [{"text": "nowhere", "answer_start": 7}], "is_impossible": false}]}]}]})";

TEST(TrainingRun, LearnsFromAFileAndEvaluates) {
  const TemporaryFolder folder, data;
  write(data.path() / "train.json", kSquad);
  TrainOptions options = recipe("bert", folder.path());
  options.train_batches.clear();
  options.train_files = {{.path = (data.path() / "train.json").string()}};
  options.validation_file = options.train_files.front().path;
  options.num_train_epochs = 30;
  options.learning_rate = 3e-3;
  options.per_device_train_batch_size = 2;
  options.gradient_accumulation_steps = 2;
  options.load_best_model_at_end = true;
  options.save_total_limit = 2;
  options.max_seq_length = 48;
  options.doc_stride = 16;
  std::vector<std::string> messages;
  options.on_message = [&](const std::string& line) { messages.push_back(line); };
  const TrainResult result = train_qa(options);
  ASSERT_FALSE(result.metrics.empty());
  double f1 = 0;
  for (const auto& [name, value] : result.metrics) f1 = name == "f1" ? value : f1;
  EXPECT_GT(f1, 60);  // it can learn four questions by heart
  const auto said = [&](const std::string& part) {
    return std::ranges::any_of(messages,
                               [&](const std::string& line) { return line.find(part) != std::string::npos; });
  };
  EXPECT_TRUE(said("4 questions, 1 of them without an answer")) << messages.front();
  EXPECT_TRUE(said("1 answer did not stand where answer_start says"));
  EXPECT_TRUE(said("1 row left out:"));
  for (const char* name : {"config.json", "vocab.txt", "tokenizer.json", "trainer_state.json",
                           "all_results.json", "eval_results.json", "learning-curves.svg"}) {
    EXPECT_TRUE(std::filesystem::exists(folder.path() / name)) << name;
  }
  EXPECT_LE(list_checkpoints(folder.path()).size(), 2);
  // What was saved answers as it was evaluated.
  const Reader reader = Reader::load(folder.path());
  EXPECT_EQ(reader.family(), "bert");
}

TEST(TrainingRun, ANewHeadIsSaidAndDrawn) {
  const TemporaryFolder folder, encoder;
  std::filesystem::copy(kData / "bert" / "initial", encoder.path() / "m");
  std::vector<formats::NamedTensor> tensors;
  const formats::SafetensorsFile file(kData / "bert" / "initial" / "model.safetensors");
  for (const auto& [name, view] : file.tensors()) {
    if (!name.starts_with("qa_outputs")) tensors.push_back({.name = name, .view = view});
  }
  formats::write_safetensors(encoder.path() / "m" / "model.safetensors", tensors);
  TrainOptions options = recipe("bert", folder.path());
  options.model = (encoder.path() / "m").string();
  std::string said;
  options.on_message = [&](const std::string& line) { said += line + "\n"; };
  train_qa(options);
  EXPECT_NE(said.find("a new one is drawn with seed 42"), std::string::npos) << said;
  EXPECT_EQ(formats::SafetensorsFile(folder.path() / "model.safetensors").tensors().size(),
            file.tensors().size());
}

TEST(TrainingRun, LearnsFromTeachers) {
  const TemporaryFolder folder;
  TrainOptions options = recipe("bert", folder.path());
  options.teachers = {options.model, options.model};
  options.distil_alpha = 1;
  options.learning_rate = 0;
  train_qa(options);
  // A student that is its own teacher has nothing to learn.
  for (const LogLine& line : read_training_log(folder.path() / "log.jsonl")) {
    EXPECT_NEAR(line.values.front().second, 0, 1e-6);
  }
  options.teachers = {(kData / "distilbert" / "initial").string()};
  EXPECT_NE(error_of(options).find("its tokenizer makes other tokens"), std::string::npos)
      << error_of(options);
}

// A teacher's logits of step 5 are no numbers.
TEST(TrainingRun, StopsWhenTheLossIsNoNumber) {
  const TemporaryFolder folder;
  const formats::SafetensorsFile good(kData / "bert-distil" / "teacher_logits.safetensors");
  std::vector<std::vector<float>> memory;
  std::vector<formats::NamedTensor> tensors;
  for (const auto& [name, view] : good.tensors()) {
    std::vector<float>& values = memory.emplace_back(view.elements());
    view.read_floats(0, values);
    values[values.size() / 10 * 4] = NAN;
    tensors.push_back({.name = name,
                       .view = {.dtype = tensor::DType::kF32,
                                .shape = view.shape,
                                .data = reinterpret_cast<const std::byte*>(values.data())}});
  }
  formats::write_safetensors(folder / "teacher.safetensors", tensors);
  TrainOptions options = recipe("bert-distil", folder / "out");
  options.log_json.clear();
  options.teacher_logits = (folder / "teacher.safetensors").string();
  options.save_strategy = IntervalStrategy::kSteps;
  options.save_steps = 2;
  const std::string error = error_of(options);
  EXPECT_NE(error.find("step 5: the loss is no number (batch 4 of "), std::string::npos) << error;
  EXPECT_NE(error.find("The last checkpoint is "), std::string::npos) << error;
  EXPECT_EQ(list_checkpoints(folder / "out").back().step, 4);
}

TEST(TrainingRun, RefusesToGoOnFromSomethingElse) {
  const TemporaryFolder folder, other;
  TrainOptions options = recipe("bert", folder.path());
  options.resume_from_checkpoint = "true";
  EXPECT_NE(error_of(options).find("has no checkpoint"), std::string::npos);
  options.resume_from_checkpoint = "";
  train_qa(options);

  TrainOptions changed = options;
  changed.resume_from_checkpoint = "true";
  changed.seed = 7;
  EXPECT_NE(error_of(changed).find("other data, batches or seeds"), std::string::npos) << error_of(changed);

  TrainOptions electra = recipe("electra", folder.path());
  electra.train_batches = options.train_batches;
  electra.model = (kData / "electra" / "initial").string();
  electra.resume_from_checkpoint = list_checkpoints(folder.path()).back().path.string();
  EXPECT_NE(error_of(electra), "no error");

  const std::filesystem::path half = other.path() / "checkpoint-5";
  std::filesystem::copy(list_checkpoints(folder.path()).back().path, half);
  std::filesystem::remove(half / "optimizer.safetensors");
  TrainOptions from_half = options;
  from_half.resume_from_checkpoint = half.string();
  EXPECT_NE(error_of(from_half).find("is no whole checkpoint"), std::string::npos) << error_of(from_half);

  // Half of a file.
  std::filesystem::remove_all(half);
  std::filesystem::copy(list_checkpoints(folder.path()).back().path, half);
  std::filesystem::resize_file(half / "optimizer.safetensors", 1000);
  EXPECT_NE(error_of(from_half).find("optimizer.safetensors"), std::string::npos) << error_of(from_half);
}

TEST(TrainingRun, BadOptionsAndFiles) {
  const TemporaryFolder folder;
  const auto with = [&](const auto& change) {
    TrainOptions options = recipe("bert", folder.path());
    change(options);
    return error_of(options);
  };
  EXPECT_NE(with([](TrainOptions& o) { o.train_batches = ""; }).find("give one of them"), std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) { o.learning_rate = -1; }).find("learning_rate: should be in"),
            std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) { o.lr_scheduler_type = "step"; }).find("use linear, cosine"),
            std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) { o.freeze = {"("}; }).find("not a valid regular expression"),
            std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) { o.freeze = {"xyz"}; }).find("is found in no tensor's name"),
            std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) { o.freeze = {"."}; }).find("all weights are frozen"),
            std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) { o.lora_r = 4, o.lora_target_modules = {"q_proj"}; }).find("it has"),
            std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) { o.load_best_model_at_end = true; }).find("need a validation_file"),
            std::string::npos);
  EXPECT_NE(
      with([](TrainOptions& o) { o.train_batches = "/nowhere.safetensors"; }).find("/nowhere.safetensors"),
      std::string::npos);
  EXPECT_NE(with([](TrainOptions& o) {
              o.model = (kData / "modernbert" / "initial").string();
            }).find("input_ids has"),
            std::string::npos);
  write(folder.path() / "empty.json", "");
  EXPECT_NE(with([&](TrainOptions& o) {
              o.train_batches = "";
              o.train_files = {{.path = (folder.path() / "empty.json").string()}};
            }).find("empty.json"),
            std::string::npos);
  // The output is below a file.
  EXPECT_NE(with([&](TrainOptions& o) {
              o.output_dir = (folder.path() / "empty.json" / "out").string();
            }).find("empty.json"),
            std::string::npos);
}

}  // namespace
}  // namespace kvasir::train
