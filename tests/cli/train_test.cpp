// kvasir train and merge: parity through the command line, runs that are stopped, what goes wrong.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kData = KVASIR_TEST_DATA "/training/";

std::vector<std::string> recipe(const std::string& output, const std::string& name = "bert") {
  return {"train",           "qa",
          "--model",         kData + name + "/initial",
          "--train-batches", kData + name + "/batches.safetensors",
          "--output-dir",    output,
          "--learning-rate", "3e-5",
          "--weight-decay",  "0.01",
          "--warmup-ratio",  "0.1",
          "--log-json",      output + ".jsonl"};
}

Outcome train(std::vector<std::string> args, const std::vector<std::string>& more = {}) {
  args.insert(args.end(), more.begin(), more.end());
  return run({.args = args});
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Train, LossesNormsAndRatesEqualTheReference) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/out";
  const Outcome outcome = train(recipe(out), {"--num-train-epochs", "1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("10 steps, mean loss 4.4280; the model is in " + out));
  const json::value file = base::parse_json_file(kData + "bert/expected.json");
  const std::vector<json::value> lines = json_lines(bytes_of(out + ".jsonl"));
  const json::array& steps = file.at("runs").at("recipe").at("steps").as_array();
  ASSERT_EQ(lines.size(), steps.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double loss = steps[i].at("loss").to_number<double>(),
                 norm = steps[i].at("grad_norm").to_number<double>();
    EXPECT_NEAR(lines[i].at("loss").to_number<double>(), loss, 1e-5 * loss);
    EXPECT_NEAR(lines[i].at("grad_norm").to_number<double>(), norm, 1e-4 * norm);
    EXPECT_NEAR(lines[i].at("learning_rate").to_number<double>(), steps[i].at("lr").to_number<double>(),
                1e-12);
    EXPECT_GT(lines[i].at("tokens_per_second").to_number<double>(), 0);
  }
}

// A process that is killed after some steps.
int killed(const std::vector<std::string>& args, const std::string& log, std::size_t lines, int signal) {
  const int child = ::fork();
  if (child == 0) {
    std::vector<char*> words{const_cast<char*>(KVASIR_PROGRAM)};
    for (const std::string& arg : args) words.push_back(const_cast<char*>(arg.c_str()));
    words.push_back(nullptr);
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, 2);
    ::execv(KVASIR_PROGRAM, words.data());
    ::_exit(127);
  }
  const auto logged = [&] {
    const std::string text = bytes_of(log);
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  };
  int status = 0;
  for (int i = 0; i < 3000 && logged() < lines && ::waitpid(child, &status, WNOHANG) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(child, signal);
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Killed without warning, and stopped with Ctrl-C: both go on to the same bits.
TEST(Train, GoesOnAfterKillAndCtrlC) {
  const TemporaryFolder folder;
  const std::vector<std::string> more{"--num-train-epochs", "60", "--save-strategy", "steps",
                                      "--save-steps",       "50", "--threads",       "1"};
  const std::string whole = folder.path() + "/whole", parts = folder.path() + "/parts";
  ASSERT_EQ(train(recipe(whole), more).exit_code, 0);
  std::vector<std::string> args = recipe(parts);
  args.insert(args.end(), more.begin(), more.end());
  EXPECT_EQ(killed(args, parts + ".jsonl", 120, SIGKILL), 137);
  args.insert(args.end(), {"--resume-from-checkpoint", "true"});
  EXPECT_EQ(killed(args, parts + ".jsonl", 300, SIGINT), 130);
  const Outcome outcome = run({.args = args});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("going on after step "));
  EXPECT_EQ(bytes_of(whole + "/model.safetensors"), bytes_of(parts + "/model.safetensors"));
  EXPECT_EQ(json_lines(bytes_of(parts + ".jsonl")).size(), 600);
  for (const auto& entry : std::filesystem::directory_iterator(parts)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
  }
}

TEST(Train, MergeWritesAReader) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/adapter", merged = folder.path() + "/merged";
  ASSERT_EQ(
      train(recipe(out, "bert-lora"), {"--lora-r", "4", "--lora-alpha", "8", "--max-steps", "3"}).exit_code,
      0);
  const std::vector<std::string> words{
      "merge", "--model", kData + "bert-lora/initial", "--adapter", out, "--output-dir", merged};
  ASSERT_EQ(run({.args = words}).exit_code, 0);
  EXPECT_EQ(bytes_of(merged + "/model.safetensors"), bytes_of(out + "/model.safetensors"));
  const Outcome again = run({.args = words});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("is there and not empty; name a new folder"));
  const Outcome answer =
      run({.args = {"ask", "-m", merged, "-q", "Where?", "--context", "It was signed in Lund."}});
  EXPECT_EQ(answer.exit_code, 0) << answer.err;
}

TEST(Train, OptionsFromAFile) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/out";
  const std::string config =
      folder.file("run.yaml", "model: " + kData + "bert/initial\ntrain_batches: " + kData +
                                  "bert/batches.safetensors\nlearning_rate: 1\nmax-steps: 2\n"
                                  "load_best_model_at_end: false\nfreeze: [embeddings, pooler]\n");
  Outcome outcome = run({.args = {"train", "qa", "--config", config, "--output-dir", out}});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("freeze: \"pooler\" is found in no tensor's name"));
  outcome = run({.args = {"train", "qa", "--config", config, "--output-dir", out, "--freeze", "embeddings",
                          "--learning-rate=1e-4"}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const json::value state = base::parse_json_file(out + "/trainer_state.json");
  EXPECT_EQ(state.at("global_step").to_number<int>(), 2);
  EXPECT_LE(state.at("log_history").at(0).at("learning_rate").to_number<double>(), 1e-4);
}

TEST(Train, PlotsARun) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/out", svg = folder.path() + "/curves.svg";
  ASSERT_EQ(train(recipe(out), {"--max-steps", "4", "--logging-steps", "1"}).exit_code, 0);
  ASSERT_EQ(run({.args = {"train", "plot", out, "--out", svg}}).exit_code, 0);
  EXPECT_THAT(bytes_of(svg), AllOf(HasSubstr("<svg"), HasSubstr("loss")));
}

TEST(Train, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/out";
  const auto error = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args{"train", "qa", "--output-dir", out, "--model", kData + "bert/initial"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome outcome = run({.args = args});
    EXPECT_NE(outcome.exit_code, 0);
    return outcome.err;
  };
  EXPECT_THAT(error({}), HasSubstr("train_file or train_batches: give one of them"));
  EXPECT_THAT(error({"--train-file", folder.file("empty.json", "")}), HasSubstr("empty.json"));
  EXPECT_THAT(error({"--train-file", folder.file("text.json", "no questions here")}), HasSubstr("text.json"));
  EXPECT_THAT(error({"--train-file", folder.path() + "/nothing"}), HasSubstr("nothing: cannot be opened"));
  EXPECT_THAT(error({"--train-file", "x", "--lr-scheduler-type", "steps"}), HasSubstr("lr-scheduler-type"));
  EXPECT_THAT(error({"--train-file", "x", "--resume-from-checkpoint", out + "/checkpoint-7"}),
              HasSubstr("x: "));
}

}  // namespace
}  // namespace kvasir::tests
