#include "train/model_card.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/atomic_file.h"
#include "base/utf8.h"

namespace kvasir::train {

namespace {

// A string of YAML. In quotes always: no, 1e5 and 2024-01-01 are none without, and nobody has a whole list of
// such words. Beyond JSON's escapes, those characters that YAML takes for ends of lines.
std::string yaml_string(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const std::string clean = base::replace_invalid_utf8(text);
  std::string out = "\"";
  for (std::size_t at = 0; at < clean.size();) {
    const auto [c, length] = base::decode_utf8(clean, at);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF ||
               c == 0xFFFE || c == 0xFFFF) {
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) out += kHex[c >> shift & 15];
    } else {
      out.append(clean, at, length);
    }
    at += length;
  }
  return out + "\"";
}

std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return ".nan";  // of YAML
  std::array<char, 400> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, decimals)
          .ptr;
  return {buffer.data(), end};
}

// Text in a paragraph or a cell of Markdown: one line, and nothing of it means anything.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : base::one_line(base::replace_invalid_utf8(text))) {
    if (std::string_view("\\`*_[]<>|#&~$").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

// The same in the type of a program. Between more backticks than there are in it; | ends a cell even there.
std::string code(std::string_view text) {
  std::string line = base::one_line(base::replace_invalid_utf8(text));
  std::size_t longest = 0, run = 0;
  for (const char c : line) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  for (std::size_t at = 0; (at = line.find('|', at)) != std::string::npos; at += 2) line.insert(at, "\\");
  const std::string fence(longest + 1, '`');
  const std::string_view space = longest == 0 ? "" : " ";
  return fence + std::string(space) + line + std::string(space) + fence;
}

// For a shell.
std::string argument(std::string_view text) {
  const bool is_plain = !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./:=,+@%").find(c) != std::string_view::npos;
  });
  if (is_plain) return std::string(text);
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string command_line(const std::vector<std::string>& command) {
  std::string out;
  for (const std::string& word : command) out += (out.empty() ? "" : " ") + argument(word);
  // No line of it can end the block that it stands in.
  return base::one_line(base::replace_invalid_utf8(out));
}

void add_list(std::string_view key, const std::vector<std::string>& values, std::string& out) {
  if (values.empty()) return;
  out += std::string(key) + ":\n";
  for (const std::string& value : values) out += "- " + yaml_string(value) + "\n";
}

// What people call it.
std::string title_of(const std::string& metric) {
  if (metric == "exact_match" || metric == "exact") return "Exact match";
  return metric == "f1" ? "F1" : metric;
}

std::string front_matter(const ModelCard& card) {
  std::string out = "---\n";
  // Files as transformers has them, which is what the hub asks with this.
  out += "library_name: transformers\npipeline_tag: question-answering\n";
  add_list("language", card.languages, out);
  if (!card.license.empty()) out += "license: " + yaml_string(card.license) + "\n";
  if (!card.base_model.empty()) out += "base_model: " + yaml_string(card.base_model) + "\n";
  add_list("datasets", card.datasets, out);
  out += "metrics:\n- exact_match\n- f1\n";
  out += "tags:\n- kvasir\n- question-answering\n- extractive-qa\n";
  if (card.scores.empty()) return out + "---\n";
  const std::string data = yaml_string(card.scored_on.empty() ? "unknown" : card.scored_on);
  out += "model-index:\n- name: " + yaml_string(card.name) +
         "\n  results:\n  - task:\n      type: question-answering\n      name: Question Answering\n"
         "    dataset:\n      name: " +
         data + "\n      type: " + data + "\n    metrics:\n";
  for (const CardScore& score : card.scores) {
    out += "    - type: " + yaml_string(score.name) + "\n      value: " + fixed(score.value, 4) +
           "\n      name: " + yaml_string(title_of(score.name)) + "\n";
  }
  return out + "---\n";
}

std::string introduction(const ModelCard& card) {
  std::string out =
      "\n# " + plain(card.name) + "\n\nAnswers questions about a text with a part of that text.";
  if (!card.architecture.empty()) out += " A " + code(card.architecture) + ",";
  out += card.architecture.empty() ? " Trained with Kvasir" : " trained with Kvasir";
  if (!card.base_model.empty()) out += " from " + code(card.base_model);
  return out +
         ".\n\n"
         "```sh\nkvasir ask --model . -q \"Who kept the light?\" text.txt\n```\n\n"
         "```python\nfrom transformers import pipeline\n\n"
         "reader = pipeline(\"question-answering\", model=\".\")\n"
         "reader(question=\"Who kept the light?\", context=open(\"text.txt\").read())\n```\n";
}

std::string data_section(const ModelCard& card) {
  if (card.files.empty()) return "";
  std::string out =
      "\n## Data\n\n| file | for | questions | of them without an answer |\n|---|---|---:|---:|\n";
  for (const CardFile& file : card.files) {
    out += "| " + code(file.path) + " | " + plain(file.use) + " | " + std::to_string(file.questions) + " | " +
           std::to_string(file.without_answer) + " |\n";
  }
  return out;
}

std::string score_section(const ModelCard& card) {
  if (card.scores.empty()) return "";
  std::string out = "\n## Scores\n\n";
  if (!card.scored_on.empty()) out += "On " + code(card.scored_on) + ", in percent:\n\n";
  out += "| metric | score |\n|---|---:|\n";
  for (const CardScore& score : card.scores) {
    out += "| " + plain(title_of(score.name)) + " | " + fixed(score.value, 2) + " |\n";
  }
  return out;
}

std::string table(std::string_view name, const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = "\n| " + std::string(name) + " | |\n|---|---|\n";
  for (const auto& [key, value] : rows) out += "| " + plain(key) + " | " + code(value) + " |\n";
  return out;
}

}  // namespace

std::string model_card_text(const ModelCard& card) {
  std::string out = front_matter(card) + introduction(card) + data_section(card) + score_section(card);
  if (card.command.empty() && card.hyperparameters.empty() && card.versions.empty()) return out;
  out += "\n## Training\n";
  // Indented, not fenced: whatever is in it, it ends with its line.
  if (!card.command.empty()) out += "\n    " + command_line(card.command) + "\n";
  if (!card.hyperparameters.empty()) out += table("hyperparameter", card.hyperparameters);
  if (!card.versions.empty()) out += table("version of", card.versions);
  return out;
}

void write_model_card(const std::filesystem::path& path, const ModelCard& card) {
  base::AtomicFile file(path);
  file.write(model_card_text(card));
  file.commit();
}

}  // namespace kvasir::train
