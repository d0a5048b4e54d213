#include "help.h"

#include <algorithm>
#include <numeric>

namespace kvasir::cli {

namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kLeft = 26;  // where descriptions begin

// Breaks text at spaces so that no line is longer than kColumns; lines after the first are indented.
std::string fill(std::string_view text, std::size_t indent, std::size_t first_column) {
  std::string out;
  std::size_t column = first_column;
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, space);
    if (column > indent && column + 1 + word.size() > kColumns) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  return out;
}

std::string two_columns(const std::string& left, const std::string& right) {
  std::string out = "  " + left;
  if (out.size() + 2 > kLeft) {
    out += '\n' + std::string(kLeft, ' ');
  } else {
    out.append(kLeft - out.size(), ' ');
  }
  return out + fill(right, kLeft, kLeft) + '\n';
}

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    std::string help = CLI::Formatter::make_help(app, std::move(name), mode);
    for (std::size_t at = 0; (at = help.find("\n\n\n", at)) != std::string::npos;) help.erase(at, 1);
    return help;
  }
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    return two_columns(make_option_name(option, is_positional) + make_option_opts(option),
                       option->get_description());
  }
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    std::string name = CLI::Formatter::make_option_name(option, is_positional);
    if (const std::size_t comma = name.find(','); comma != std::string::npos) name.insert(comma + 1, " ");
    return name;
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_option_text().empty() ? "" : " " + option->get_option_text();
  }
  std::string make_subcommand(const CLI::App* command) const override {
    return two_columns(command->get_name(), command->get_description());
  }
  std::string make_description(const CLI::App* app) const override {
    return fill(app->get_description(), 0, 0) + "\n\n";
  }
  std::string make_usage(const CLI::App* app, std::string) const override {
    std::string name = app->get_name();
    for (const CLI::App* parent = app->get_parent(); parent != nullptr; parent = parent->get_parent()) {
      name = parent->get_name() + " " + name;
    }
    const auto commands = app->get_subcommands([](const CLI::App*) { return true; });
    std::string usage = "Usage: " + name + (commands.empty() ? " [OPTION]..." : " COMMAND [OPTION]...");
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional()) usage += " " + option->get_option_text();
    }
    return usage + "\n";
  }
  std::string make_positionals(const CLI::App* app) const override {
    std::string out;
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional())
        out += two_columns(option->get_name(true, false), option->get_description());
    }
    return out.empty() ? out : "\n" + out;
  }
};

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substitute, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// The command that the line got to: "kvasir eval squad".
const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return *at;
}

std::string full_name(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : full_name(*parent) + " " + app.get_name();
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

}  // namespace

std::shared_ptr<CLI::FormatterBase> make_help_formatter() {
  return std::make_shared<HelpFormatter>();
}

std::string nearest_word(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;  // further away is another word
  for (const std::string& candidate : known) {
    const bool prefix = word.size() >= 2 && std::string_view(candidate).starts_with(word);
    const std::size_t distance = prefix ? 1 : edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

namespace {

std::string explain_extra(const CLI::App& at, const std::string& word) {
  const bool option = word.starts_with("-");
  const std::vector<std::string> commands = command_names(at);
  const std::string name = option ? word.substr(0, word.find('=')) : word;
  std::string near;
  if (option || !commands.empty()) near = nearest_word(name, option ? option_names(at) : commands);
  return std::string("unknown ") +
         (option             ? "option "
          : commands.empty() ? "argument "
                             : "command ") +
         name + (near.empty() ? "" : "; did you mean " + near + "?");
}

std::string join(const std::vector<std::string>& words, const std::string& separator) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : separator) + word;
  return out;
}

// "--top-k: 1 required TEXT missing" and "Could not convert: --top-k = x" in words of ours.
std::string explain_value(const CLI::ParseError& error) {
  std::string message = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    return message.substr(0, message.find(':')) + " needs a value";
  }
  constexpr std::string_view kConversion = "Could not convert: ";
  if (const std::size_t equals = message.find(" = ");
      message.starts_with(kConversion) && equals != std::string::npos) {
    return message.substr(kConversion.size(), equals - kConversion.size()) + ": " +
           message.substr(equals + 3) + " is not a number that fits";
  }
  return message;
}

}  // namespace

std::string explain_parse_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& at = innermost(app);
  const std::string see = "; see " + full_name(at) + " --help";
  const std::vector<std::string> extras = app.remaining(true);
  const std::vector<std::string> commands = command_names(at);
  if (!extras.empty()) {
    const std::string message = explain_extra(at, extras.front());
    return message.ends_with('?') ? message : message + see;
  }
  if (!commands.empty() && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    return "no command given; " + full_name(at) + " has " + join(commands, ", ") + see;
  }
  return explain_value(error) + see;
}

}  // namespace kvasir::cli
