#include "train/training_log.h"

#include <limits>
#include <string_view>

#include "base/json.h"
#include "base/mapped_file.h"
#include "train/exact_json.h"

namespace kvasir::train {

namespace {

LogLine parse_line(std::string_view text, const std::string& file, std::size_t number) {
  const base::json::value value = parse_exact_json(text, file, number);
  const base::JsonObject object(value, file + ":" + std::to_string(number));
  LogLine line;
  line.step = static_cast<std::uint64_t>(object.integer("step", 0, std::numeric_limits<std::int64_t>::max()));
  for (const auto& entry : object.raw()) {
    const std::string key(entry.key());
    if (key != "step") line.values.emplace_back(key, number_or_nan(object, key));
  }
  return line;
}

// Calls visit(line, the bytes before it) for each whole line, until that returns false.
template <class Visit>
void each_line(std::string_view text, const std::string& file, const Visit& visit) {
  std::size_t number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string_view::npos) return;
    if (!visit(parse_line(text.substr(at, end - at), file, number), at)) return;
    at = end + 1;
  }
}

// How many bytes of a log are whole lines of steps up to this one.
std::uint64_t bytes_up_to(const std::filesystem::path& path, std::uint64_t step) {
  if (!std::filesystem::exists(path)) return 0;
  const std::string text = base::read_file(path);
  std::uint64_t bytes = text.rfind('\n') + 1;  // npos + 1 is 0
  each_line(text, path.string(), [&](const LogLine& line, std::size_t before) {
    if (line.step <= step) return true;
    bytes = before;
    return false;
  });
  return bytes;
}

}  // namespace

TrainingLog::TrainingLog(const std::filesystem::path& path) : file_(path, AppendFile::Open::kEmpty) {}

TrainingLog::TrainingLog(const std::filesystem::path& path, std::uint64_t step)
    : file_(path, AppendFile::Open::kContinue) {
  file_.cut(bytes_up_to(path, step));
}

void TrainingLog::write(const LogLine& line) {
  std::string text = "{\"step\":" + std::to_string(line.step);
  for (const auto& [name, value] : line.values) {
    text += ',';
    append_string(name, text);
    text += ':';
    append_number(value, text);
  }
  text += "}\n";
  file_.append(text);
}

std::vector<LogLine> read_training_log(const std::filesystem::path& path) {
  const std::string text = base::read_file(path);
  std::vector<LogLine> lines;
  each_line(text, path.string(), [&](LogLine line, std::size_t) {
    lines.push_back(std::move(line));
    return true;
  });
  return lines;
}

}  // namespace kvasir::train
