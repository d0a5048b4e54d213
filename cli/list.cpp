// kvasir list: the models in the cache.
#include <algorithm>
#include <memory>
#include <string>

#include "command.h"
#include "hub/cache.h"
#include "hub_options.h"
#include "json_output.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(Lists what this and other Hugging Face programs have fetched. The model that
ships with kvasir is not in the cache; kvasir show tells about it.

"incomplete": without config.json or weights, for example because the download
was interrupted; kvasir pull fetches what is missing.

--json prints one line per model:
  {"id":…,"size":…,"revisions":[{"commit":…,"refs":[…],"folder":…,
  "complete":…},…]}

Example:
  kvasir list)";

bool is_complete(const hub::CachedRevision& revision) {
  const auto has = [&](const char* name) {
    return std::ranges::find(revision.files, name, &hub::CachedFile::name) != revision.files.end();
  };
  return has("config.json") && (has("model.safetensors") || has("model.safetensors.index.json") ||
                                has("pytorch_model.bin") || has("pytorch_model.bin.index.json"));
}

void append_json(std::string& out, const hub::CachedModel& model) {
  out += "{\"id\":";
  append_json_string(out, model.id);
  out += ",\"size\":";
  append_json_integer(out, static_cast<std::int64_t>(model.size));
  out += ",\"revisions\":[";
  for (const hub::CachedRevision& revision : model.revisions) {
    if (&revision != &model.revisions.front()) out += ',';
    out += "{\"commit\":";
    append_json_string(out, revision.commit);
    out += ",\"refs\":[";
    for (const std::string& ref : revision.refs) {
      if (&ref != &revision.refs.front()) out += ',';
      append_json_string(out, ref);
    }
    out += "],\"folder\":";
    append_json_string(out, revision.folder.string());
    out += is_complete(revision) ? ",\"complete\":true}" : ",\"complete\":false}";
  }
  out += "]}\n";
}

std::string revisions_text(const hub::CachedModel& model) {
  std::string text;
  for (const hub::CachedRevision& revision : model.revisions) {
    if (!text.empty()) text += ", ";
    std::string refs;
    for (const std::string& ref : revision.refs) refs += (refs.empty() ? "" : " ") + printable(ref);
    text += refs.empty() ? revision.commit.substr(0, 12) : refs;
    if (!is_complete(revision)) text += " (incomplete)";
  }
  return text;
}

void run_list(bool json, Program& program) {
  const hub::Cache cache(hub_cache());
  const std::vector<hub::CachedModel> models = cache.models();
  std::size_t width = 0;
  for (const hub::CachedModel& model : models) width = std::max(width, model.id.size());
  for (const hub::CachedModel& model : models) {
    if (json) {
      append_json(program.out.buffer(), model);
      program.out.flush_if_full();
      continue;
    }
    const std::string size = size_text(model.size);
    const std::size_t gap = size.size() < 11 ? 11 - size.size() : 0;
    program.out.write(model.id + std::string(width - model.id.size() + gap, ' ') + size + "  " +
                      revisions_text(model) + "\n");
  }
  if (models.empty() && !json) program.out.write("no models in " + printable(cache.root().string()) + "\n");
}

}  // namespace

void add_list(CLI::App& app, Program& program) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("list", "List the models that were fetched");
  command->fallthrough();
  command->footer(kFooter);
  command->add_flag("--json", *json, "One line of JSON per model, for machines");
  command->callback([json, &program] {
    program.command = "list";
    program.action = [json, &program] { run_list(*json, program); };
  });
}

}  // namespace kvasir::cli
