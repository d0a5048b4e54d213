#include "train/config_file.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>

#include "base/mapped_file.h"
#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::train {

namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

[[noreturn]] void fail(const std::string& origin, std::size_t line, const std::string& what) {
  throw Error(ErrorCode::kFormat, origin + ":" + std::to_string(line) + ": " + what);
}

// "learning_rate" -> "learning-rate"; empty: no name of an option.
std::string option_name(std::string_view key) {
  std::string name(key);
  std::ranges::replace(name, '_', '-');
  const bool is_name = !name.empty() && std::isalpha(static_cast<unsigned char>(name[0])) != 0 &&
                       std::ranges::all_of(name, [](char c) {
                         return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-';
                       });
  return is_name ? name : "";
}

// What the parser calls, event by event. No tree is made of the file: what is nested, or refers to something
// else, is refused as soon as it begins, and so no few lines can become many.
class ConfigReader final : public YAML::EventHandler {
 public:
  explicit ConfigReader(const std::string& origin) : origin_(origin) {}

  ConfigOptions take() { return std::move(options_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) fail(mark, "a second document begins; only one is read");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (place_ == Place::kDocument) return;  // nothing but comments
    check(mark, "?", anchor);
    if (place_ == Place::kKey) fail(mark, "the name of an option is missing");
    // The parser is on a later line by now.
    train::fail(origin_, lines_.at(option()), "option " + option() + " has no value; " + kLeaveOut);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { fail_of_anchor(mark); }
  void OnAnchor(const YAML::Mark& mark, const std::string&) override { fail_of_anchor(mark); }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor);
    if (place_ == Place::kDocument) fail(mark, kNotAMapping);
    if (value.find('\0') != std::string::npos) fail(mark, "a zero byte has no place in a value");
    if (place_ == Place::kKey) {
      add_option(mark, value);
      return;
    }
    options_.back().second.push_back(value);
    if (place_ == Place::kValue) place_ = Place::kKey;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    if (place_ == Place::kDocument) fail(mark, kNotAMapping);
    if (place_ == Place::kKey) fail(mark, "a list where the name of an option is due");
    if (place_ == Place::kList)
      fail(mark, "option " + option() + " is a list of lists, or a bracket is not closed");
    place_ = Place::kList;
  }
  void OnSequenceEnd() override { place_ = Place::kKey; }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    if (place_ == Place::kKey) fail(mark, "a mapping where the name of an option is due");
    if (place_ != Place::kDocument)
      fail(mark, "option " + option() + " is a mapping, or a bracket is not closed");
    place_ = Place::kKey;
  }
  void OnMapEnd() override { place_ = Place::kDocument; }

 private:
  enum class Place { kDocument, kKey, kValue, kList };
  static constexpr const char* kLeaveOut = "leave the line out for the default";
  static constexpr const char* kNotAMapping = "not a mapping; a line is NAME: VALUE";

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    train::fail(origin_, static_cast<std::size_t>(mark.line) + 1, what);
  }
  [[noreturn]] void fail_of_anchor(const YAML::Mark& mark) const {
    fail(mark, "anchors and aliases (& and *) are not read; put a word that begins with one in quotes");
  }
  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != 0) fail_of_anchor(mark);
    // Of plain and quoted values.
    if (!tag.empty() && tag != "?" && tag != "!") fail(mark, "tags (!) are not read");
  }

  const std::string& option() const { return options_.back().first; }

  void add_option(const YAML::Mark& mark, const std::string& key) {
    const std::string name = option_name(key);
    if (name.empty())
      fail(mark, "'" + key + "' is no name of an option; names have letters, digits, - and _");
    const auto line = static_cast<std::size_t>(mark.line) + 1;
    const auto [before, is_new] = lines_.emplace(name, line);
    if (!is_new) fail(mark, "option " + name + " is also on line " + std::to_string(before->second));
    options_.emplace_back(name, std::vector<std::string>());
    place_ = Place::kValue;
  }

  const std::string& origin_;
  ConfigOptions options_;
  std::map<std::string, std::size_t> lines_;  // where each option is
  Place place_ = Place::kDocument;
  int documents_ = 0;
};

}  // namespace

ConfigOptions parse_config(std::string_view text, const std::string& origin) {
  if (text.size() > kMaxBytes) throw Error(ErrorCode::kResourceExhausted, origin + ": larger than 1 MiB");
  // The parser would make U+FFFD of it, or read UTF-16.
  if (const std::size_t at = base::find_invalid_utf8(text); at < text.size()) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    fail(origin, static_cast<std::size_t>(lines) + 1, "not UTF-8");
  }
  // The end of a document in so many words. At the end of a file the parser takes a quote that was never
  // closed for closed, and the options behind it for its text; at this line it does not.
  std::istringstream stream(std::string(text) + (text.ends_with('\n') ? "...\n" : "\n...\n"));
  ConfigReader reader(origin);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(reader)) {
    }
  } catch (const YAML::Exception& error) {
    const std::size_t line = error.mark.is_null() ? 1 : static_cast<std::size_t>(error.mark.line) + 1;
    fail(origin, line, "not valid YAML: " + error.msg);
  }
  return reader.take();
}

ConfigOptions read_config_file(const std::filesystem::path& path) {
  return parse_config(base::read_file(path, {.max_bytes = kMaxBytes}), path.string());
}

}  // namespace kvasir::train
