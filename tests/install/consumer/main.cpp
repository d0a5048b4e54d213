// The example of kvasir/reader.h. Argument: the model folder.
#include <kvasir/reader.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto reader = kvasir::Reader::load(argv[1]);
  auto document = reader.prepare("The treaty was signed in Lund in 1676.", "treaty.txt");
  auto result = reader.ask("Where was the treaty signed?", document);
  std::cout << result.answers.at(0).text << '\n';
}
