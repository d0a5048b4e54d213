#pragma once

#include <kvasir/generator.h>
#include <kvasir/reader.h>

#include <string>

int load_a_model();
int show_warnings();
int fetch_a_model();  // needs the network
int resolve_a_name();
void ask_a_document(const kvasir::Reader& reader, std::string bytes);
void ask_with_options(const kvasir::Reader& reader, const kvasir::Document& document);
int write_on();
void write_from(const kvasir::Reader& reader, const kvasir::Generator& generator,
                const kvasir::Document& document);
void compare_texts();
void rank_passages();
void train_a_model();
void ask_much(const kvasir::Reader& reader, const kvasir::Document& document);
