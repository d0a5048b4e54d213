#include "train/config_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_config(text, "c.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

const ConfigOptions kOptions = {
    {"learning-rate", {"3e-5"}},
    {"train-file", {"a.json", "b c.json"}},
    {"fp16", {"false"}},
    {"output-dir", {"out: \"1\""}},
    {"num-train-epochs", {"2"}},
    {"run-name", {"é"}},
    {"lr-scheduler-type", {"null"}},
};

TEST(ConfigFile, ReadsYaml) {
  EXPECT_EQ(parse_config("# of a run\n"
                         "learning_rate: 3e-5\n"
                         "train-file:\n  - a.json\n  - 'b c.json'  # mine\n"
                         "fp16: false\n\n"
                         "output_dir: \"out: \\\"1\\\"\"\n"
                         "num_train_epochs: 2\n"
                         "run_name: é\n"
                         "lr_scheduler_type: \"null\"\n",
                         "c.yaml"),
            kOptions);
}

TEST(ConfigFile, ReadsJson) {
  EXPECT_EQ(
      parse_config("{\n\t\"learning_rate\": 3e-5,\n\t\"train-file\": [\"a.json\", \"b c.json\"],\n"
                   "  \"fp16\":false, \"output_dir\": \"out: \\\"1\\\"\",\n"
                   "  \"num_train_epochs\": 2,\"run_name\":\"\\u00e9\", \"lr_scheduler_type\": \"null\"}\n",
                   "c.json"),
      kOptions);
}

TEST(ConfigFile, ReadsWindowsLinesAndAMark) {
  EXPECT_EQ(parse_config("\xEF\xBB\xBFseed: 1\r\nfp16: true\r\n", "c.yaml"),
            (ConfigOptions{{"seed", {"1"}}, {"fp16", {"true"}}}));
}

TEST(ConfigFile, MayBeEmpty) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "{}"}) {
    EXPECT_TRUE(parse_config(text, "c.yaml").empty()) << text;
  }
  EXPECT_EQ(parse_config("files: []", "c.yaml"), (ConfigOptions{{"files", {}}}));
}

TEST(ConfigFile, RefusesWhatIsNotFlat) {
  EXPECT_EQ(error_of("seed: 1\noptimizer:\n  beta1: 0.9\n"),
            "c.yaml:3: option optimizer is a mapping, or a bracket is not closed");
  EXPECT_EQ(error_of("files: [[a]]"),
            "c.yaml:1: option files is a list of lists, or a bracket is not closed");
  EXPECT_EQ(error_of("files:\n- a\n- {b: c}"),
            "c.yaml:3: option files is a mapping, or a bracket is not closed");
  EXPECT_EQ(error_of("- a\n- b\n"), "c.yaml:1: not a mapping; a line is NAME: VALUE");
  EXPECT_EQ(error_of("seed 1\n"), "c.yaml:1: not a mapping; a line is NAME: VALUE");
  EXPECT_EQ(error_of("? [a]\n: b\n"), "c.yaml:1: a list where the name of an option is due");
  EXPECT_EQ(error_of("? {a: b}\n: c\n"), "c.yaml:1: a mapping where the name of an option is due");
  EXPECT_EQ(error_of("seed: 1\n---\nseed: 2\n"), "c.yaml:2: a second document begins; only one is read");
}

TEST(ConfigFile, RefusesWhatIsNoOption) {
  EXPECT_EQ(error_of("a: 1\nlearning_rate: 1\nlearning-rate: 2\n"),
            "c.yaml:3: option learning-rate is also on line 2");
  EXPECT_EQ(error_of("seed:\nfp16: true\n"),
            "c.yaml:1: option seed has no value; leave the line out for the default");
  EXPECT_EQ(error_of("seed: null\n"),
            "c.yaml:1: option seed has no value; leave the line out for the default");
  EXPECT_EQ(error_of("~: 1\n"), "c.yaml:1: the name of an option is missing");
  EXPECT_EQ(error_of("--seed: 1\n"),
            "c.yaml:1: '--seed' is no name of an option; names have letters, digits, - and _");
  EXPECT_EQ(error_of("\"a\\nb\": 1\n"),
            "c.yaml:1: 'a?b' is no name of an option; names have letters, digits, - and _");
  EXPECT_EQ(error_of("dir: \"a\\0b\"\n"), "c.yaml:1: a zero byte has no place in a value");
}

TEST(ConfigFile, RefusesAnchorsAliasesAndTags) {
  const std::string anchors =
      "anchors and aliases (& and *) are not read; put a word that begins with one in quotes";
  EXPECT_EQ(error_of("a: &x 1\nb: *x\n"), "c.yaml:1: " + anchors);
  EXPECT_EQ(error_of("seed: 1\na: &x [1]\nb: [*x, *x]\n"), "c.yaml:2: " + anchors);
  EXPECT_NE(error_of("seed: 1\nb: *x\n"), "");
  EXPECT_EQ(error_of("seed: !!int 1\n"), "c.yaml:1: tags (!) are not read");
  EXPECT_EQ(error_of("a: 1\nfiles: !mine [a]\n"), "c.yaml:2: tags (!) are not read");
}

TEST(ConfigFile, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("seed: 1\nfp16: [a\nb: c").substr(0, 24), "c.yaml:3: not valid YAML");
  EXPECT_NE(error_of("seed: 1\nfp16: [a, b\n"), "");
  EXPECT_NE(error_of("{\"seed\": 1"), "");
  EXPECT_EQ(error_of("seed: 1\nfp16: ]\n").substr(0, 24), "c.yaml:2: not valid YAML");
  EXPECT_EQ(error_of("seed: 1\nfp16: \"a\n").substr(0, 24), "c.yaml:3: not valid YAML");
  EXPECT_EQ(error_of("run_name: 'x\nseed: 1\n").substr(0, 24), "c.yaml:3: not valid YAML");
  EXPECT_EQ(error_of("seed: 1\nrun_name: \xFF\n"), "c.yaml:2: not UTF-8");
  EXPECT_NE(error_of(std::string(100000, '[')), "");
  EXPECT_NE(error_of("a: " + std::string(100000, '[')), "");
  EXPECT_EQ(error_of(std::string((1 << 20) + 1, '#')), "c.yaml: larger than 1 MiB");
}

TEST(ConfigFile, ReadsFiles) {
  const tests::TemporaryFolder folder;
  std::ofstream(folder / "c.yaml") << "seed: 1\nfp16\n";
  try {
    read_config_file(folder / "c.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("c.yaml:2: option fp16 has no value"), std::string::npos)
        << error.what();
  }
  std::ofstream(folder / "c.yaml") << "seed: 1\n";
  EXPECT_EQ(read_config_file(folder / "c.yaml"), (ConfigOptions{{"seed", {"1"}}}));
  EXPECT_THROW(read_config_file(folder / "missing.yaml"), Error);
  std::ofstream(folder / "large.yaml") << std::string((1 << 20) + 1, '#');
  EXPECT_THROW(read_config_file(folder / "large.yaml"), Error);
}

}  // namespace
}  // namespace kvasir::train
