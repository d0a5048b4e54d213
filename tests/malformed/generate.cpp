// Writes the malformed model folders of the tests, for trying other programs on them:
//
//   generate_malformed MODEL OUT      OUT/0000-safetensors/, OUT/0001-safetensors/, …, and OUT/list.txt
#include <cstdio>
#include <fstream>
#include <iostream>

#include "malformed/malformed.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: generate_malformed MODEL OUT\n";
    return 2;
  }
  const std::filesystem::path model = argv[1], out = argv[2];
  std::filesystem::create_directories(out);
  std::ofstream list(out / "list.txt");
  int count = 0;
  kvasir::tests::for_each_malformed(model, [&](const kvasir::tests::MalformedFile& file) {
    char number[16];
    std::snprintf(number, sizeof number, "%04d-", count++);
    const std::string name = number + file.kind;
    write_malformed(model, file, out / name);
    list << name << '/' << file.name << ": " << file.fault << '\n';
  });
  std::cout << count << " folders\n";
  return list.flush() ? 0 : 1;
}
