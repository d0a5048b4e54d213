// Input of every bad kind ends in one line that says what to do, a non-zero exit code, and nothing
// half-written.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

void expect_refused(const Outcome& outcome, const std::string& message, int exit_code = 1) {
  EXPECT_EQ(outcome.exit_code, exit_code);
  EXPECT_THAT(outcome.err, AllOf(StartsWith("kvasir: "), HasSubstr(message)));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

Outcome ask_file(const std::string& path) {
  return run({.args = {"ask", "-q", "Where?", path, "--model", tiny_model()}});
}

// --- texts
// --------------------------------------------------------------------------------------------------------

TEST(BadText, MissingFileFolderAndEmptyText) {
  const TemporaryFolder folder;
  expect_refused(ask_file("/nonexistent/a.txt"),
                 "/nonexistent/a.txt: cannot be opened: No such file or directory");
  expect_refused(ask_file(folder.path()),
                 folder.path() + ": is a folder without a file that can be searched");
  expect_refused(ask_file(folder.file("empty.txt", "")), "empty.txt: empty");
  expect_refused(run({.args = {"ask", "-q", "Where?", "--context", "", "--model", tiny_model()}}),
                 "the text of --context: empty");
  expect_refused(run({.args = {"ask", "-q", "Where?", "--model", tiny_model()}}), "standard input: empty");
}

TEST(BadText, UnreadableFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("secret.txt", "text");
  ASSERT_EQ(::chmod(path.c_str(), 0), 0);
  const Outcome outcome =
      run({.args = {"ask", "-q", "Where?", path, "--model", tiny_model()}, .respect_permissions = true});
  if (outcome.exit_code == kNotPossible) GTEST_SKIP() << "permissions do not hold for these tests";
  expect_refused(outcome, "secret.txt: cannot be opened: Permission denied");
}

TEST(BadText, BinaryAndPackedFiles) {
  const TemporaryFolder folder;
  std::string random;
  for (int i = 0; i < 20000; ++i) random += static_cast<char>(i * 7919 >> 3);
  expect_refused(ask_file(folder.file("a.bin", random)), "a.bin: is a binary file");
  expect_refused(ask_file("/bin/sh"), "is a binary file");
  expect_refused(ask_file(folder.file("a.docx", "PK\x03\x04" + std::string(3, '\0') + random)),
                 "a.docx: broken ZIP archive");
  expect_refused(ask_file(folder.file("a.gz", std::string("\x1f\x8b\x08\0\0\0\0\0", 8) + random)),
                 "gzip -dc FILE");
  expect_refused(ask_file(folder.file("a.pdf", "%PDF-1.7\n1 0 obj\n")), "a.pdf: broken PDF");
  expect_refused(ask_file(folder.file("a.tar", "a.txt" + std::string(500, '\0') + "text")),
                 "is a binary file");
}

TEST(BadText, OneStrayNulIsText) {
  const TemporaryFolder folder;
  const std::string text =
      std::string("The treaty was signed in") + '\0' + " Lund. It ended the war of 1676, it is said.";
  EXPECT_EQ(ask_file(folder.file("nul.txt", text)).exit_code, 0);
}

TEST(BadText, InvalidUtf8NamesTheByte) {
  const TemporaryFolder folder;
  const Outcome latin = ask_file(folder.file("latin1.txt", "Signed in Malm\xf6, Sweden."));
  expect_refused(latin, "latin1.txt: not UTF-8 at byte 14; ");
  EXPECT_THAT(latin.err, HasSubstr("iconv"));
  // Also far behind what is looked at to tell binary files, and cut within a character.
  expect_refused(ask_file(folder.file("late.txt", std::string(100000, 'x') + "\xff")),
                 "not UTF-8 at byte 100000");
  expect_refused(ask_file(folder.file("cut.txt", "caf\xc3")), "not UTF-8 at byte 3");
  expect_refused(ask_file(folder.file("surrogate.txt", "a\xed\xa0\x80")), "not UTF-8 at byte 1");
  // A character across the end of the probe is none.
  EXPECT_EQ(ask_file(folder.file("probe.txt", std::string(8191, 'x') + "\u00e9" + " Lund.")).exit_code, 0);
}

TEST(BadText, AGigabyteIsRefusedAtOnce) {
  const TemporaryFolder folder;
  const std::string path = folder.file("large.txt", "The treaty was signed in Lund.");
  ASSERT_EQ(::truncate(path.c_str(), off_t{1} << 30), 0);
  const Outcome outcome = ask_file(path);
  expect_refused(outcome, "large.txt: larger than the limit of 256 MiB");
  EXPECT_LT(outcome.peak_kib, 256 << 10);
  // The same through a pipe, whose size nobody knows.
  const Outcome piped = run({.args = {"ask", "-q", "Where?", "--model", tiny_model()}, .input_path = path});
  expect_refused(piped, "standard input: is a binary file");
  EXPECT_LT(piped.peak_kib, 256 << 10);
}

TEST(BadText, OneBadFileAmongGoodOnes) {
  const TemporaryFolder folder;
  const std::string good = folder.file("good.txt", "The treaty was signed in Lund.");
  expect_refused(run({.args = {"ask", "-q", "Where?", good, "/nonexistent.txt", "--model", tiny_model()}}),
                 "/nonexistent.txt: cannot be opened");
}

TEST(BadText, NamesFromTheFileSystemDoNotDriveTheTerminal) {
  const Outcome outcome = ask_file("/nonexistent/\033[2J\nname.txt");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, testing::Not(HasSubstr("\033")));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
}

// --- models
// -------------------------------------------------------------------------------------------------------

class BadModel : public testing::Test {
 protected:
  TemporaryFolder folder;
  std::string model = copy_model(folder);

  std::string read(const std::string& name) const {
    std::ifstream in(model + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(model + "/" + name, std::ios::binary) << bytes;
  }
  Outcome ask() const {
    return run({.args = {"ask", "-q", "Where?", "--context", "In Lund.", "--model", model}});
  }
  // Every command that takes a model says so.
  void expect_all_refuse(const std::string& message) const {
    expect_refused(ask(), message);
    const std::string ids = folder.file("ids.json", R"({"sequences":[{"input_ids":[101,102]}]})");
    expect_refused(run({.args = {"logits", "--model", model, "--ids", ids, "--out", folder.path() + "/out"}}),
                   message);
    EXPECT_FALSE(std::filesystem::exists(folder.path() + "/out"));
    expect_refused(run({.args = {"bench", "--model", model}}), message);
  }
  void replace(const std::string& name, const std::string& from, const std::string& to) const {
    std::string text = read(name);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write(name, text.replace(at, from.size(), to));
  }
};

TEST_F(BadModel, IsFineBeforeItIsSpoilt) {
  EXPECT_EQ(ask().exit_code, 0);
}

TEST_F(BadModel, Missing) {
  std::filesystem::remove_all(model);
  expect_all_refuse(model);
}

TEST_F(BadModel, WithoutWeights) {
  std::filesystem::remove(model + "/model.safetensors");
  expect_all_refuse("model.safetensors");
}

TEST_F(BadModel, WithoutTokenizer) {
  for (const char* name : {"tokenizer.json", "vocab.txt"}) std::filesystem::remove(model + "/" + name);
  expect_refused(ask(), model);
  expect_refused(run({.args = {"tokenize", "text", "--model", model}}), model);
}

TEST_F(BadModel, TruncatedWeights) {
  const std::string weights = read("model.safetensors");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{4}, std::size_t{100}, weights.size() / 2, weights.size() - 1}) {
    write("model.safetensors", weights.substr(0, size));
    expect_refused(ask(), "model.safetensors");
  }
  write("model.safetensors", weights + "x");
  expect_refused(ask(), "model.safetensors");
}

TEST_F(BadModel, ConfigThatLiesAboutShapes) {
  const std::string config = read("config.json");
  const json::value parsed = base::parse_json(config, "config.json");
  for (const char* key : {"hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size",
                          "max_position_embeddings", "num_attention_heads"}) {
    const auto value = parsed.at(key).to_number<std::int64_t>();
    for (const std::int64_t lie :
         {value * 2, value + 1, std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40}) {
      json::object changed = parsed.as_object();
      changed[key] = lie;
      write("config.json", json::serialize(changed));
      const Outcome outcome = ask();
      // Some other number of heads may fit the shapes: it is another model then, and not a fault that can be
      // seen.
      if (std::string(key) == "num_attention_heads" && outcome.exit_code == 0) continue;
      expect_refused(outcome, "");
      EXPECT_LT(outcome.peak_kib, 400 << 10) << key << " " << lie;
    }
  }
}

TEST_F(BadModel, WeightsThatAreNoNumbers) {
  std::string weights = read("model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, weights.data(), sizeof header);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // The word embeddings of an ordinary token, and the end of the file: whatever tensor lies there.
  for (const std::size_t at : {std::size_t{8} + header, weights.size() - sizeof nan}) {
    std::string spoilt = weights;
    std::memcpy(spoilt.data() + at, &nan, sizeof nan);
    write("model.safetensors", spoilt);
    expect_refused(ask(), "model.safetensors");
  }
}

TEST_F(BadModel, FilesThatAreNoJson) {
  for (const char* name : {"config.json", "tokenizer.json"}) {
    const std::string good = read(name);
    for (const std::string& bad :
         {std::string(), std::string("{"), std::string("[]"), std::string(100000, '['),
          std::string("\xff\xfe"), good.substr(0, good.size() / 2)}) {
      write(name, bad);
      expect_refused(ask(), name);
    }
    write(name, good);
  }
}

TEST_F(BadModel, AnotherFamily) {
  replace("config.json", "\"model_type\"", "\"model_type\":\"gpt2\",\"x\"");
  std::string config = read("config.json");
  expect_refused(ask(), "");
}

// --- where results go
// -----------------------------------------------------------------------------------------------

class BadOutput : public testing::Test {
 protected:
  TemporaryFolder folder;
  std::string ids = folder.file("ids.json", R"({"sequences":[{"input_ids":[101,200,102]}]})");

  Outcome logits(const std::string& out) const {
    return run({.args = {"logits", "--model", tiny_model(), "--ids", ids, "--out", out}});
  }
};

TEST_F(BadOutput, MissingFolderAndFolder) {
  expect_refused(logits("/nonexistent/out.safetensors"), "/nonexistent/out.safetensors");
  expect_refused(logits(folder.path()), folder.path() + ": cannot be written");
  expect_refused(logits("/dev/full/out"), "/dev/full/out");
  expect_refused(logits("/proc/out"), "/proc/out");
  EXPECT_THAT(folder.names(), testing::ElementsAre("ids.json"));
}

TEST_F(BadOutput, NoName) {
  expect_refused(logits(""), "--out: the name of the file is empty", 2);
  expect_refused(run({.args = {"eval", "squad", "--data", "x", "--predictions", ""}}),
                 "--predictions: the name of the file is empty", 2);
  expect_refused(ask_file(""), "the name of a FILE is empty", 2);
}

TEST_F(BadOutput, ReadOnlyFolder) {
  ASSERT_EQ(::chmod(folder.path().c_str(), 0500), 0);
  const std::string out = folder.path() + "/out";
  const Outcome outcome = run(
      {.args = {"logits", "--model", tiny_model(), "--ids", ids, "--out", out}, .respect_permissions = true});
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
  if (outcome.exit_code == kNotPossible) GTEST_SKIP() << "permissions do not hold for these tests";
  expect_refused(outcome, out + ": cannot be written: Permission denied");
  EXPECT_THAT(folder.names(), testing::ElementsAre("ids.json"));
}

// A file that may not grow stands for a disk that is full: nothing is left behind, and what was there before
// stays.
TEST_F(BadOutput, FullDiskLeavesWhatWasThere) {
  const std::string out = folder.file("out.safetensors", "what was there before");
  struct rlimit before {
  }, small{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  small = {.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(::signal(SIGXFSZ, SIG_IGN) == SIG_ERR,
            false);  // write() then fails with EFBIG; inherited by the program
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execl(KVASIR_PROGRAM, "kvasir", "logits", "--model", tiny_model().c_str(), "--ids", ids.c_str(),
            "--out", out.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  std::ifstream in(out);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "what was there before");
  EXPECT_THAT(folder.names(), testing::UnorderedElementsAre("ids.json", "out.safetensors"));
}

TEST(BadStandardOutput, AnswersThatAreLostAreAFailure) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"ask", "-q", "Where?", "--context", "In Lund.", "--model", tiny_model()},
           {"ask", "-q", "Where?", "--context", "In Lund.", "--json", "--model", tiny_model()},
           {"tokenize", "text", "--model", tiny_model()}}) {
    const Outcome outcome = run({.args = args, .output_path = "/dev/full"});
    expect_refused(outcome, "standard output: write failed: No space left on device");
  }
}

TEST(BadEnvironment, AnInstructionSetThatIsNone) {
  expect_refused(run({.args = {"ask", "-q", "Where?", "--context", "In Lund.", "--model", tiny_model()},
                      .env = {"KVASIR_ISA=mmx"}}),
                 "mmx");
}

TEST(BadEnvironment, OptionsWinOverIt) {
  EXPECT_EQ(run({.args = {"ask", "-q", "Where?", "--context", "In Lund.", "--model", tiny_model(), "--isa",
                          "scalar"},
                 .env = {"KVASIR_ISA=mmx", "KVASIR_MODEL=/nonexistent"}})
                .exit_code,
            0);
}

TEST(BadEnvironment, TheEnvironmentsModelIsUsed) {
  const std::vector<std::string> args = {"ask", "-q", "Where?", "--context", "In Lund."};
  EXPECT_EQ(run({.args = args, .env = {"KVASIR_MODEL=" + tiny_model()}}).exit_code, 0);
  expect_refused(run({.args = args, .env = {"KVASIR_MODEL=/nonexistent"}}), "/nonexistent");
}

// --- Ctrl-C
// -------------------------------------------------------------------------------------------------------

// Descriptors that the interrupted program gets in place of ours.
struct Redirection {
  int input = -1, output = -1;
};

// Starts the program on work that takes minutes, sends a signal once it is at it, and waits.
int interrupted(const std::vector<std::string>& args, int signal, Redirection streams = {}) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (streams.input >= 0) ::dup2(streams.input, STDIN_FILENO);
    if (streams.output >= 0) ::dup2(streams.output, STDOUT_FILENO);
    std::vector<char*> argv = {const_cast<char*>("kvasir")};
    for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);
    ::execv(KVASIR_PROGRAM, argv.data());
    ::_exit(127);
  }
  ::usleep(500000);
  ::kill(pid, signal);
  int status = 0;
  for (int i = 0; i < 3000; ++i) {
    if (::waitpid(pid, &status, WNOHANG) == pid)
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ::usleep(10000);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  return -1;
}

TEST(Interrupt, EndsALongAnswerAndLeavesNothing) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 600000; ++i) text += "The treaty was signed in Lund in " + std::to_string(i) + ". ";
  const std::string file = folder.file("long.txt", text);
  const std::vector<std::string> ask = {"ask", "-q", "Where?", file, "--model", tiny_model()};
  EXPECT_EQ(interrupted(ask, SIGINT), 130);
  EXPECT_EQ(interrupted(ask, SIGTERM), 143);

  json::array qas;
  for (int i = 0; i < 1000; ++i) {
    qas.push_back(json::object{{"id", std::to_string(i)},
                               {"question", "Where?"},
                               {"answers", json::array{}},
                               {"is_impossible", true}});
  }
  const json::value data = {
      {"data", {{{"paragraphs", {{{"context", text.substr(0, 200000)}, {"qas", qas}}}}}}}};
  const std::string squad = folder.file("data.json", json::serialize(data));
  EXPECT_EQ(interrupted({"eval", "squad", "--data", squad, "--predictions", folder.path() + "/p.json",
                         "--model", tiny_model()},
                        SIGINT),
            130);
  EXPECT_THAT(folder.names(), testing::UnorderedElementsAre("long.txt", "data.json"));
}

struct PipeEnds {
  int ends[2] = {-1, -1};
  PipeEnds() { EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0); }
  ~PipeEnds() { ::close(ends[0]), ::close(ends[1]); }
  PipeEnds(const PipeEnds&) = delete;
  PipeEnds& operator=(const PipeEnds&) = delete;
};

// A write that a signal breaks off half-way has written something; the next one would wait for ever.
TEST(Interrupt, EndsAWriteThatNobodyReads) {
  const TemporaryFolder folder;
  std::string text, lines;
  for (int i = 0; i < 20000; ++i) text += "The treaty was signed in Lund. ";
  for (int i = 0; i < 200; ++i) lines += '"' + text.substr(0, 3000) + "\"\n";
  const auto blocked = [&](const std::vector<std::string>& args, const std::string& input) {
    const PipeEnds pipe;
    const int file = ::open(folder.file("input", input).c_str(), O_RDONLY | O_CLOEXEC);
    const int status = interrupted(args, SIGINT, {.input = file, .output = pipe.ends[1]});
    ::close(file);
    return status;
  };
  EXPECT_EQ(blocked({"tokenize", "--jsonl", "--model", tiny_model()}, lines), 130);
  EXPECT_EQ(blocked({"tokenize", "--model", tiny_model()}, text), 130);
}

TEST(Interrupt, EndsAReadThatNobodyWrites) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/out";
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"ask", "-q", "Where?", "--model", tiny_model()},
           {"tokenize", "--model", tiny_model()},
           {"tokenize", "--jsonl", "--model", tiny_model()},
           {"logits", "--ids", "/dev/stdin", "--out", out, "--model", tiny_model()},
           {"eval", "score", "--data", "/dev/stdin", "--predictions", out},
           {"eval", "squad", "--data", "/dev/stdin", "--predictions", out, "--model", tiny_model()}}) {
    const PipeEnds pipe;
    EXPECT_EQ(interrupted(args, SIGINT, {.input = pipe.ends[0]}), 130) << args[0] << ' ' << args[1];
  }
  const std::string fifo = folder.path() + "/fifo";  // waits in open()
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(interrupted({"logits", "--ids", fifo, "--out", out, "--model", tiny_model()}, SIGINT), 130);
  EXPECT_THAT(folder.names(), testing::ElementsAre("fifo"));
}

}  // namespace
}  // namespace kvasir::tests
