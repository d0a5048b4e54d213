// Ten steps of training against PyTorch, for every family.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/safetensors.h"
#include "temporary_folder.h"
#include "test_isa.h"
#include "train/ready_batches.h"
#include "train/span_trainer.h"

namespace kvasir::train {
namespace {

std::filesystem::path folder(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "training" / name;
}

base::json::value read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return base::json::parse(text.str());
}

std::vector<float> floats(const formats::SafetensorsFile& file, const std::string& name) {
  const tensor::TensorView& view = file.tensors().at(name);
  std::vector<float> values(view.elements());
  view.read_floats(0, values);
  return values;
}

struct Fixture {
  std::filesystem::path at;
  base::json::object expected;
  std::unique_ptr<ReadyBatches> batches;

  explicit Fixture(const std::string& name)
      : at(folder(name)), expected(read_json(at / "expected.json").as_object()) {
    const std::filesystem::path teacher = at / "teacher_logits.safetensors";
    const bool feeds_types =
        !expected.contains("model_input_names") || names("model_input_names").contains("token_type_ids");
    batches = std::make_unique<ReadyBatches>(
        ReadyBatches::Options{.batches = at / "batches.safetensors",
                              .teacher_logits = std::filesystem::exists(teacher) ? teacher : "",
                              .feeds_types = feeds_types},
        models::EncoderFacts{
            .family = "", .max_positions = 1000, .vocab_size = 10'000, .type_vocab_size = 2});
  }

  std::set<std::string> names(const char* key) const {
    std::set<std::string> result;
    if (const base::json::value* list = expected.if_contains(key)) {
      for (const base::json::value& name : list->as_array()) result.insert(std::string(name.as_string()));
    }
    return result;
  }
  const base::json::object& run(const std::string& name) const {
    return expected.at("runs").as_object().at(name).as_object();
  }
  // Tensors whose gradient is rounding and nothing else, in any of the runs.
  std::set<std::string> uncertain() const {
    std::set<std::string> result = names("zero_gradient_parameters");
    for (const auto& run : expected.at("runs").as_object()) {
      const base::json::value* list = run.value().as_object().if_contains("tensors_not_to_compare_closely");
      if (list == nullptr) continue;
      for (const base::json::value& name : list->as_array()) result.insert(std::string(name.as_string()));
    }
    return result;
  }
};

// Under PEFT's names if there are adapters.
std::string name_in_file(const NamedTensor& tensor, bool has_adapters) {
  const std::string prefix = "base_model.model.";
  return has_adapters && !tensor.name.starts_with(prefix) ? prefix + tensor.name : tensor.name;
}

SpanTrainerOptions options_of(const Fixture& fixture, const base::json::object& settings, int threads = 2) {
  const auto number = [&](const char* key, double fallback) {
    const base::json::value* value = settings.if_contains(key);
    return value == nullptr ? fallback : value->to_number<double>();
  };
  return {.threads = threads,
          .isa = tests::test_isa(),
          .adamw = {.weight_decay = number("weight_decay", 0), .max_grad_norm = number("max_grad_norm", 0)},
          .adapter = std::filesystem::exists(fixture.at / "adapter") ? fixture.at / "adapter" : "",
          .distil_alpha = static_cast<float>(number("distil_alpha", 0.5)),
          .distil_temperature = static_cast<float>(number("distil_temperature", 2))};
}

std::string test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

class Family : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Family,
                         testing::Values("bert", "distilbert", "roberta", "xlm-roberta", "electra", "mpnet",
                                         "albert", "deberta-v2", "deberta-v2-conv", "modernbert",
                                         "mobilebert", "bert-distil", "bert-lora"),
                         test_name);

TEST_P(Family, GradientsOfTheFirstStep) {
  const Fixture fixture(GetParam());
  SpanTrainer trainer(fixture.at / "initial",
                      options_of(fixture, fixture.run("recipe").at("settings").as_object()));
  trainer.add_batch(fixture.batches->at(0), {});
  const formats::SafetensorsFile file(fixture.at / "gradients_step1.safetensors");
  const std::set<std::string> uncertain = fixture.uncertain();
  std::size_t compared = 0;
  for (const Parameter& parameter : trainer.parameters().all()) {
    if (!parameter.trains) continue;
    for (const NamedTensor& tensor : parameter.tensors) {
      const std::string name = name_in_file(tensor, trainer.lora() != nullptr);
      ASSERT_TRUE(file.tensors().contains(name)) << name;
      const std::vector<float> expected = floats(file, name);
      std::vector<float> actual(expected.size());
      ASSERT_TRUE(parameter.has_gradient) << tensor.name;
      parameter.read(tensor, parameter.gradient.span(), actual.data());
      ++compared;
      const double absolute = uncertain.contains(name) ? 1e-5 : 1e-6;
      for (std::size_t i = 0; i < actual.size(); ++i) {
        const auto wanted = static_cast<double>(expected[i]);
        ASSERT_NEAR(static_cast<double>(actual[i]), wanted, 1e-4 * std::abs(wanted) + absolute)
            << tensor.name << " at " << i;
      }
    }
  }
  EXPECT_EQ(compared, file.tensors().size());
}

TEST_P(Family, TenSteps) {
  const Fixture fixture(GetParam());
  for (const auto& [name, value] : fixture.expected.at("runs").as_object()) {
    SCOPED_TRACE(std::string(name));
    const base::json::object& run = value.as_object();
    if (!run.contains("settings")) continue;  // how the gradients were checked
    const base::json::object& settings = run.at("settings").as_object();
    SpanTrainer trainer(fixture.at / "initial", options_of(fixture, settings));
    const Schedule schedule{.scheduler = parse_scheduler(settings.at("scheduler").as_string()),
                            .learning_rate = settings.at("lr").to_number<double>(),
                            .warmup_steps = settings.at("warmup_steps").to_number<std::uint64_t>(),
                            .total_steps = settings.at("steps").to_number<std::uint64_t>()};
    for (std::size_t i = 0; i < fixture.batches->count(); ++i) {
      const base::json::object& step = run.at("steps").as_array()[i].as_object();
      const double loss = trainer.add_batch(fixture.batches->at(i), {}).loss;
      const double rate = learning_rate(schedule, i);
      const double wanted = step.at("loss").to_number<double>();
      EXPECT_NEAR(loss, wanted, 1e-5 * wanted) << "step " << i + 1;
      const double norm = trainer.step(rate).gradient_norm;
      const double wanted_norm = step.at("grad_norm").to_number<double>();
      EXPECT_NEAR(norm, wanted_norm, 1e-4 * wanted_norm) << "step " << i + 1;
      EXPECT_NEAR(rate, step.at("lr").to_number<double>(), 1e-8 * schedule.learning_rate);
    }
    SpanBatch first = fixture.batches->at(0);
    first.teacher_start.clear();
    first.teacher_end.clear();
    const double final_loss = run.at("final_loss_batch0").to_number<double>();
    EXPECT_NEAR(trainer.evaluate(first).loss, final_loss, 2e-5 * final_loss);
    const std::filesystem::path weights = fixture.at / (std::string(name) + "_final.safetensors");
    if (!std::filesystem::exists(weights)) continue;
    const formats::SafetensorsFile file(weights);
    const std::set<std::string> uncertain = fixture.uncertain();
    std::size_t far = 0;
    for (const Parameter& parameter : trainer.parameters().all()) {
      for (const NamedTensor& tensor : parameter.tensors) {
        const std::string in_file = name_in_file(tensor, trainer.lora() != nullptr);
        if (uncertain.contains(in_file) || !parameter.trains) continue;
        const std::vector<float> expected = floats(file, in_file);
        std::vector<float> actual(expected.size());
        parameter.read(tensor, parameter.value, actual.data());
        for (std::size_t j = 0; j < actual.size(); ++j) {
          const double off = std::abs(static_cast<double>(actual[j]) - static_cast<double>(expected[j]));
          ASSERT_LT(off, 0.1 * schedule.learning_rate) << tensor.name << " at " << j;
          far += off > 0.02 * schedule.learning_rate ? 1 : 0;
        }
      }
    }
    // AdamW divides a gradient by its own size, so where one is nearly 0 its rounding counts. With AVX2 that
    // is one of 30,000 numbers of ModernBERT.
    EXPECT_LE(far, 1);
  }
}

// The model with dropout wherever its family has it; the fixtures are recorded without.
void copy_with_dropout(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::copy(from, to);
  base::json::object config = read_json(to / "config.json").as_object();
  for (const char* key :
       {"hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "qa_dropout",
        "embedding_dropout", "mlp_dropout", "classifier_dropout"}) {
    config[key] = 0.2;
  }
  std::ofstream(to / "config.json") << base::json::serialize(config);
}

// The masks are the same whenever the same step is computed, so the loss is a function of the weights: along
// its gradient it grows as the gradient says.
TEST_P(Family, GradientsUnderDropoutEqualDifferences) {
  const Fixture fixture(GetParam());
  const tests::TemporaryFolder folder;
  copy_with_dropout(fixture.at / "initial", folder.path() / "model");
  SpanTrainer trainer(folder.path() / "model",
                      options_of(fixture, fixture.run("recipe").at("settings").as_object()));
  const SpanBatch batch = fixture.batches->at(0);
  const double loss = trainer.add_batch(batch, {}).loss;
  EXPECT_GT(std::abs(loss - trainer.evaluate(batch).loss), 1e-3);  // it is there
  double squares = 0;
  std::vector<std::vector<float>> direction;
  for (const Parameter& parameter : trainer.parameters().all()) {
    direction.emplace_back();
    if (!parameter.trains || !parameter.has_gradient) continue;
    direction.back().assign(parameter.gradient.span().begin(), parameter.gradient.span().end());
    for (const float g : direction.back()) squares += static_cast<double>(g) * static_cast<double>(g);
  }
  const double norm = std::sqrt(squares), step = 2e-3;  // along the direction of length 1
  const auto loss_at = [&](double distance) {
    std::vector<std::vector<float>> before;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      const std::span<float> value = trainer.parameters().all()[i].value;
      before.emplace_back(value.begin(), value.end());
      for (std::size_t j = 0; j < direction[i].size(); ++j) {
        value[j] += static_cast<float>(distance / norm) * direction[i][j];
      }
    }
    trainer.parameters().clear_gradients();
    const double result = trainer.add_batch(batch, {}).loss;
    for (std::size_t i = 0; i < before.size(); ++i) {
      std::ranges::copy(before[i], trainer.parameters().all()[i].value.begin());
    }
    return result;
  };
  EXPECT_NEAR((loss_at(step) - loss_at(-step)) / (2 * step), norm, 5e-3 * norm);
}

// Bit by bit the same, whatever the number of threads.
TEST_P(Family, ThreadsDoNotMatter) {
  const Fixture fixture(GetParam());
  std::vector<std::vector<float>> weights;
  for (const int threads : {1, 2, 3}) {
    SpanTrainer trainer(fixture.at / "initial",
                        options_of(fixture, fixture.run("recipe").at("settings").as_object(), threads));
    for (std::size_t i = 0; i < 3; ++i) {
      trainer.add_batch(fixture.batches->at(i), {});
      trainer.step(1e-3);
    }
    std::vector<float>& all = weights.emplace_back();
    for (const Parameter& parameter : trainer.parameters().all()) {
      all.insert(all.end(), parameter.value.begin(), parameter.value.end());
    }
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_EQ(weights[0], weights[2]);
}

}  // namespace
}  // namespace kvasir::train
