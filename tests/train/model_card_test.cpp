#include "train/model_card.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

ModelCard example() {
  return {
      .name = "reader",
      .architecture = "BertForQuestionAnswering",
      .languages = {"no", "en"},
      .license = "apache-2.0",
      .base_model = "google-bert/bert-base-uncased",
      .datasets = {"squad"},
      .files = {{.use = "training", .path = "data/train.json", .questions = 87599},
                {.use = "evaluation", .path = "data/my dev.json", .questions = 100, .without_answer = 40}},
      .scored_on = "data/my dev.json",
      .scores = {{.name = "exact_match", .value = 81.23456}, {.name = "f1", .value = 88.5}},
      .command = {"kvasir", "train", "--train-file", "data/train.json", "--eval-file", "data/my dev.json",
                  "--run-name", "it's"},
      .hyperparameters = {{"learning_rate", "3e-5"}, {"num_train_epochs", "2"}},
      .versions = {{"Kvasir", "0.1.0"}},
  };
}

// Read by huggingface_hub 0.36 as metadata with these two scores.
constexpr const char* kExample = R"(---
library_name: transformers
pipeline_tag: question-answering
language:
- "no"
- "en"
license: "apache-2.0"
base_model: "google-bert/bert-base-uncased"
datasets:
- "squad"
metrics:
- exact_match
- f1
tags:
- kvasir
- question-answering
- extractive-qa
model-index:
- name: "reader"
  results:
  - task:
      type: question-answering
      name: Question Answering
    dataset:
      name: "data/my dev.json"
      type: "data/my dev.json"
    metrics:
    - type: "exact_match"
      value: 81.2346
      name: "Exact match"
    - type: "f1"
      value: 88.5000
      name: "F1"
---

# reader

Answers questions about a text with a part of that text. A `BertForQuestionAnswering`, trained with Kvasir from `google-bert/bert-base-uncased`.

```sh
kvasir ask --model . -q "Who kept the light?" text.txt
```

```python
from transformers import pipeline

reader = pipeline("question-answering", model=".")
reader(question="Who kept the light?", context=open("text.txt").read())
```

## Data

| file | for | questions | of them without an answer |
|---|---|---:|---:|
| `data/train.json` | training | 87599 | 0 |
| `data/my dev.json` | evaluation | 100 | 40 |

## Scores

On `data/my dev.json`, in percent:

| metric | score |
|---|---:|
| Exact match | 81.23 |
| F1 | 88.50 |

## Training

    kvasir train --train-file data/train.json --eval-file 'data/my dev.json' --run-name 'it'\''s'

| hyperparameter | |
|---|---|
| learning\_rate | `3e-5` |
| num\_train\_epochs | `2` |

| version of | |
|---|---|
| Kvasir | `0.1.0` |
)";

TEST(ModelCard, SaysAllThatIsKnown) {
  EXPECT_EQ(model_card_text(example()), kExample);
}

TEST(ModelCard, LeavesOutWhatIsNotKnown) {
  const std::string text = model_card_text({.name = "reader"});
  for (const char* key : {"language", "license", "base_model", "datasets", "model-index", "## Data",
                          "## Scores", "## Training"}) {
    EXPECT_EQ(text.find(key), std::string::npos) << key;
  }
  EXPECT_NE(text.find("a part of that text. Trained with Kvasir.\n"), std::string::npos) << text;
}

TEST(ModelCard, QuotesForYaml) {
  const auto line = [](const std::string& license) {
    const std::string text = model_card_text({.name = "x", .license = license});
    const std::size_t at = text.find("license: ");
    return text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_EQ(line("a: \"b\" \\ # c"), R"(license: "a: \"b\" \\ # c")");
  EXPECT_EQ(line("a\nb\t---"), R"(license: "a\u000ab\u0009---")");
  EXPECT_EQ(line("\xC2\x85 \xE2\x80\xA8 \xEF\xBB\xBF \x7F"), R"(license: "\u0085 \u2028 \ufeff \u007f")");
  EXPECT_EQ(line("é \xFF"), "license: \"é \xEF\xBF\xBD\"");
}

TEST(ModelCard, KeepsMarkdownApart) {
  ModelCard card{.name = "a *b* <c>\n# d",
                 .files = {{.use = "a|b", .path = "x`|y.json"}},
                 .command = {"kvasir", "a\nb", "```", ""}};
  const std::string text = model_card_text(card);
  EXPECT_NE(text.find("\n# a \\*b\\* \\<c\\>?\\# d\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n| `` x`\\|y.json `` | a\\|b | 0 | 0 |\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n    kvasir 'a?b' '```' ''\n"), std::string::npos) << text;
}

TEST(ModelCard, AScoreThatIsNoNumberIsStillYaml) {
  const std::string text = model_card_text(
      {.name = "x", .scores = {{.name = "f1", .value = std::numeric_limits<double>::quiet_NaN()}}});
  EXPECT_NE(text.find("      value: .nan\n"), std::string::npos) << text;
  EXPECT_NE(text.find("      name: \"unknown\"\n"), std::string::npos) << text;
}

TEST(ModelCard, IsWritten) {
  const tests::TemporaryFolder folder;
  write_model_card(folder / "README.md", example());
  EXPECT_EQ(base::read_file(folder / "README.md"), kExample);
  EXPECT_THROW(write_model_card(folder.path() / "missing" / "README.md", example()), Error);
}

}  // namespace
}  // namespace kvasir::train
