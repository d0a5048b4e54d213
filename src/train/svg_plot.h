// Curves as pictures: SVG that reads well on light and on dark pages.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kvasir::train {

using Points = std::vector<std::pair<double, double>>;

struct Curve {
  std::string name;    // empty: not in the legend
  Points points = {};  // by x; those that are no finite numbers are left out
  // Pale, without a name in the legend, and in the color of the curve that follows: the raw numbers behind a
  // smoothed curve.
  bool is_raw = false;
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Curve> curves = {};
};

// A whole SVG file. The same plots give the same bytes.
std::string svg_of(const Plot& plot);
// Several in one picture: the first across all of it, the others two in a row.
std::string svg_of(std::span<const Plot> plots);

// At most about so many points, with the lowest and the highest of each stretch, the first and the last.
Points thinned(const Points& points, std::size_t most);

}  // namespace kvasir::train
