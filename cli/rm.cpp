// kvasir rm: models out of the cache.
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "hub/cache.h"
#include "hub_options.h"

namespace kvasir::cli {

void add_rm(CLI::App& app, Program& program) {
  auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("rm", "Delete models that were fetched");
  command->fallthrough();
  command->footer(
      "Deletes all revisions of a model from the cache, which other Hugging Face\n"
      "programs share; see kvasir list.\n\n"
      "Example:\n"
      "  kvasir rm deepset/minilm-uncased-squad2");
  command->add_option("ID", *ids, "Models to delete")->option_text("ID...")->required();
  command->callback([ids, &program] {
    program.command = "rm";
    program.action = [ids, &program] {
      const hub::Cache cache(hub_cache());
      for (const std::string& id : *ids) {
        const std::uint64_t freed = cache.remove(id);
        program.out.write("deleted " + id + ", " + size_text(freed) + "\n");
      }
    };
  });
}

}  // namespace kvasir::cli
