// The example of kvasir/reader.h. Argument: the model folder; without one, how loading fails. A second
// argument: "examples" runs the other examples, "pull" the one of kvasir/hub.h, which needs the network.
#include <kvasir/reader.h>

#include <iostream>
#include <string_view>

#include "examples.h"

int main(int argc, char** argv) {
  if (argc < 2) return load_a_model();
  if (argc == 3 && argv[2] == std::string_view("pull")) return fetch_a_model();
  auto reader = kvasir::Reader::load(argv[1]);
  auto document = reader.prepare("The treaty was signed in Lund in 1676.", "treaty.txt");
  auto result = reader.ask("Where was the treaty signed?", document);
  std::cout << result.answers.at(0).text << '\n';
  if (argc == 2) return 0;
  ask_a_document(reader, "The accounts were audited by Mazars.");
  ask_with_options(reader, document);
  ask_much(reader, document);
  return show_warnings() == 2 && resolve_a_name() == 2 && write_on() == 2 ? 0 : 1;  // no such models are here
}
