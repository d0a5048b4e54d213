#include "train/svg_plot.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/utf8.h"

namespace kvasir::train {

namespace {

// Pixels.
constexpr double kWidth = 860, kPanelHeight = 290, kGap = 26, kMargin = 20;
constexpr double kLeft = 62, kTop = 46, kBottom = 44;  // from a panel's edge to its axes
constexpr double kLetter = 6.6;                        // width of one, about: no text is measured
constexpr std::size_t kMostPoints = 1000;              // of a curve: more than one a pixel
constexpr std::size_t kMostDots = 30;                  // a curve with fewer points shows them
constexpr std::size_t kMostLetters = 40;               // of a name in the legend
constexpr std::size_t kColors = 6;

// Colors stand in classes and not in variables, which not all programs that show SVG know. The background is
// that of docs/terminal.svg when it is dark.
constexpr std::string_view kStyle =
    "<style>text{font:12px system-ui,-apple-system,\"Segoe UI\",\"DejaVu Sans\",sans-serif;fill:#57606a}"
    ".title{font-size:14px;font-weight:600;fill:#24292f}.name{fill:#24292f}"
    ".page{fill:#ffffff}.grid{stroke:#e4e8ec}.axis{stroke:#8a919e}"
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    ".raw{stroke-width:1;opacity:.3}"
    ".s0{stroke:#1f6fd0}.s1{stroke:#d9480f}.s2{stroke:#2b8a3e}.s3{stroke:#8f3bb8}.s4{stroke:#c2255c}"
    ".s5{stroke:#0b7285}"
    ".f0{fill:#1f6fd0}.f1{fill:#d9480f}.f2{fill:#2b8a3e}.f3{fill:#8f3bb8}.f4{fill:#c2255c}"
    ".f5{fill:#0b7285}\n"
    "@media(prefers-color-scheme:dark){text{fill:#9aa2ae}.title,.name{fill:#d5d8de}"
    ".page{fill:#1b1e24}.grid{stroke:#2f343d}.axis{stroke:#8a919e}"
    ".s0{stroke:#6cb6ff}.s1{stroke:#f69d50}.s2{stroke:#7ee787}.s3{stroke:#d2a8ff}.s4{stroke:#ff9bce}"
    ".s5{stroke:#76e3ea}"
    ".f0{fill:#6cb6ff}.f1{fill:#f69d50}.f2{fill:#7ee787}.f3{fill:#d2a8ff}.f4{fill:#ff9bce}"
    ".f5{fill:#76e3ea}}</style>\n";

std::string fixed(double value, int decimals) {
  std::array<char, 400> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, decimals)
          .ptr;
  std::string text(buffer.data(), end);
  return text.find_first_not_of("-0.") == std::string::npos && text[0] == '-' ? text.substr(1) : text;
}

// Of a coordinate: a tenth of a pixel is enough.
std::string px(double value) {
  std::string text = fixed(value, 1);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

// Text as XML allows it.
std::string escaped(std::string_view text) {
  const std::string clean = base::replace_invalid_utf8(text);
  std::string out;
  for (std::size_t at = 0; at < clean.size();) {
    const auto [c, length] = base::decode_utf8(clean, at);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c < 0x20 || c == 0xFFFE || c == 0xFFFF) {
      out += c == '\t' || c == '\n' || c == '\r' ? " " : "\xEF\xBF\xBD";
    } else {
      out.append(clean, at, length);
    }
    at += length;
  }
  return out;
}

std::size_t letters(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string shortened(const std::string& name) {
  if (letters(name) <= kMostLetters) return name;
  std::size_t at = 0;
  for (std::size_t i = 0; i + 1 < kMostLetters; ++i) {
    do ++at;
    while ((static_cast<unsigned char>(name[at]) & 0xC0) == 0x80);
  }
  return name.substr(0, at) + "…";
}

struct Text {
  double x = 0, y = 0;
  std::string_view attributes = {};
};
void add_text(const Text& where, std::string_view text, std::string& out) {
  out += "<text x=\"" + px(where.x) + "\" y=\"" + px(where.y) + "\"";
  out += where.attributes;
  out += ">" + escaped(text) + "</text>\n";
}

// From a value to its place.
struct Axis {
  double low = 0, high = 1;  // values
  double from = 0, to = 1;   // pixels
  double step = 1;           // between ticks: 1, 2 or 5 times a power of ten
  double at(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

double round_step(double range, double most_ticks) {
  const double rough = range / most_ticks, power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

// 0.25, 1500; 2e-05 if there are many zeros.
std::string tick_label(double value, double step, double largest) {
  if (std::abs(value) < step / 2) return "0";
  const int exponent = static_cast<int>(std::floor(std::log10(step) + 1e-9));
  if (largest < 1e6 && exponent >= -4) return fixed(value, std::max(0, -exponent));
  const int power = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
  return fixed(value / std::pow(10, power), std::max(0, power - exponent)) + "e" + std::to_string(power);
}

// The values of an axis at which there are ticks.
std::vector<double> ticks(const Axis& axis) {
  std::vector<double> values;
  const double first = std::ceil(axis.low / axis.step - 1e-9),
               last = std::floor(axis.high / axis.step + 1e-9);
  for (int i = 0; first + i <= last; ++i) values.push_back((first + i) * axis.step);
  return values;
}

struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

// `margin`: a share of the range that is left free at both ends.
Axis axis_of(Range range, double margin) {
  if (!(range.low <= range.high)) range = {.low = 0, .high = 1};
  // Of one value, and of values that are too close together for ticks between them.
  const double largest = std::max(std::abs(range.low), std::abs(range.high));
  if (range.high - range.low < std::max(largest * 1e-9, 1e-290)) {
    const double around = largest < 1e-290 ? 1 : largest * 0.05;
    range = {.low = range.low - around, .high = range.high + around};
  }
  const double space = (range.high - range.low) * margin;
  Axis axis{.low = range.low - space, .high = range.high + space};
  if (range.low >= 0) axis.low = std::max(axis.low, 0.0);  // no ticks below what cannot be
  return axis;
}

bool is_finite(const std::pair<double, double>& point) {
  // Not only numbers: what a picture can show. Differences of larger ones overflow.
  return std::abs(point.first) < 1e300 && std::abs(point.second) < 1e300;
}

Points shown(const Curve& curve) {
  Points finite;
  std::ranges::copy_if(curve.points, std::back_inserter(finite), is_finite);
  return thinned(finite, kMostPoints);
}

struct Box {
  double x = 0, y = 0, width = kWidth, height = kPanelHeight;
};

class Panel {
 public:
  Panel(const Plot& plot, const Box& box, std::string& out) : plot_(plot), box_(box), out_(out) {}

  void draw() {
    for (const Curve& curve : plot_.curves) points_.push_back(shown(curve));
    add_text({.x = box_.x, .y = box_.y + 14, .attributes = " class=\"title\""}, plot_.title, out_);
    const double top = box_.y + kTop + 18 * (legend() - 1);
    make_axes(top);
    draw_grid();
    std::size_t color = 0;
    for (std::size_t i = 0; i < plot_.curves.size(); ++i) {
      draw_curve(i, color % kColors);
      color += plot_.curves[i].is_raw ? 0 : 1;
    }
    out_ += R"(<path class="axis" fill="none" d="M)" + px(x_.from) + " " + px(y_.to) + "V" + px(y_.from) +
            "H" + px(x_.to) + "\"/>\n";
  }

 private:
  // The names, in as many rows as it takes; returns how many.
  double legend() {
    double x = box_.x, y = box_.y + 34, rows = 1;
    std::size_t color = 0;
    for (const Curve& curve : plot_.curves) {
      if (curve.is_raw) continue;
      const std::string name = shortened(curve.name);
      const std::size_t own = color++ % kColors;
      if (name.empty()) continue;
      const double width = 24 + kLetter * static_cast<double>(letters(name)) + 16;
      if (x > box_.x && x + width > box_.x + box_.width) {
        x = box_.x;
        y += 18;
        ++rows;
      }
      out_ +=
          "<path class=\"line s" + std::to_string(own) + "\" d=\"M" + px(x) + " " + px(y - 4) + "h16\"/>\n";
      add_text({.x = x + 22, .y = y, .attributes = " class=\"name\""}, name, out_);
      x += width;
    }
    return rows;
  }

  void make_axes(double top) {
    Range xs, ys;
    for (const Points& points : points_) {
      for (const auto& [x, y] : points) {
        xs.add(x);
        ys.add(y);
      }
    }
    // Steps begin at 0, the first evaluation does not.
    if (xs.low > 0 && xs.low < xs.high / 4) xs.low = 0;
    x_ = axis_of(xs, 0);
    x_.from = box_.x + kLeft;
    x_.to = box_.x + box_.width - 8;
    x_.step = round_step(x_.high - x_.low, (x_.to - x_.from) / 80);
    y_ = axis_of(ys, 0.04);
    y_.from = box_.y + box_.height - kBottom;
    y_.to = top;
    y_.step = round_step(y_.high - y_.low, (y_.from - y_.to) / 28);
  }

  void draw_grid() {
    for (const double value : ticks(y_)) {
      const double y = y_.at(value);
      out_ += R"(<path class="grid" d="M)" + px(x_.from) + " " + px(y) + "H" + px(x_.to) + "\"/>\n";
      const double largest = std::max(std::abs(y_.low), std::abs(y_.high));
      add_text({.x = x_.from - 7, .y = y + 4, .attributes = " text-anchor=\"end\""},
               tick_label(value, y_.step, largest), out_);
    }
    for (const double value : ticks(x_)) {
      const double largest = std::max(std::abs(x_.low), std::abs(x_.high));
      out_ += R"(<path class="axis" d="M)" + px(x_.at(value)) + " " + px(y_.from) + "v4\"/>\n";
      add_text({.x = x_.at(value), .y = y_.from + 18, .attributes = " text-anchor=\"middle\""},
               tick_label(value, x_.step, largest), out_);
    }
    add_text({.x = (x_.from + x_.to) / 2, .y = y_.from + 36, .attributes = " text-anchor=\"middle\""},
             plot_.x_label, out_);
    const std::string turned = R"( text-anchor="middle" transform="rotate(-90 )" + px(box_.x + 12) + " " +
                               px((y_.from + y_.to) / 2) + ")\"";
    add_text({.x = box_.x + 12, .y = (y_.from + y_.to) / 2, .attributes = turned}, plot_.y_label, out_);
  }

  void draw_curve(std::size_t i, std::size_t color) {
    const Points& points = points_[i];
    if (points.empty()) return;
    const std::string number = std::to_string(color);
    const bool is_raw = plot_.curves[i].is_raw;
    out_ += "<path class=\"line" + std::string(is_raw ? " raw" : "") + " s" + number + "\" d=\"";
    for (std::size_t p = 0; p < points.size(); ++p) {
      out_ += p == 0 ? "M" : p == 1 ? "L" : " ";
      out_ += px(x_.at(points[p].first)) + " " + px(y_.at(points[p].second));
    }
    out_ += "\"/>\n";
    if (is_raw || points.size() > kMostDots) return;
    for (const auto& [x, y] : points) {
      out_ += "<circle class=\"f" + number + "\" cx=\"" + px(x_.at(x)) + "\" cy=\"" + px(y_.at(y)) +
              "\" r=\"3\"/>\n";
    }
  }

  const Plot& plot_;
  const Box box_;
  std::string& out_;
  std::vector<Points> points_;  // as shown, of each curve
  Axis x_, y_;
};

}  // namespace

Points thinned(const Points& points, std::size_t most) {
  if (points.size() <= most) return points;
  // Two points of each stretch, its lowest and its highest, in their order.
  const std::size_t stretches = std::max<std::size_t>(most / 2, 1);
  Points out;
  out.push_back(points.front());
  for (std::size_t s = 0; s < stretches; ++s) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(points.size() * s / stretches);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>(points.size() * (s + 1) / stretches);
    const auto by_y = [](const auto& a, const auto& b) { return a.second < b.second; };
    auto [first, second] = std::minmax_element(begin, end, by_y);
    if (second < first) std::swap(first, second);
    out.push_back(*first);
    if (second != first) out.push_back(*second);
  }
  out.push_back(points.back());
  return out;
}

std::string svg_of(const Plot& plot) {
  return svg_of(std::span(&plot, 1));
}

std::string svg_of(std::span<const Plot> plots) {
  std::string body;
  const double half = (kWidth - kGap) / 2;
  double bottom = kMargin;
  for (std::size_t i = 0; i < plots.size(); ++i) {
    const bool is_left = i % 2 == 1;
    const bool is_wide = i == 0 || (is_left && i + 1 == plots.size());
    const Box box{
        .x = kMargin + (is_wide || is_left ? 0 : half + kGap), .y = bottom, .width = is_wide ? kWidth : half};
    Panel(plots[i], box, body).draw();
    if (is_wide || !is_left) bottom += kPanelHeight + kGap;
  }
  const std::string width = px(kWidth + 2 * kMargin), height = px(bottom - kGap + kMargin);
  std::string out = R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 )" + width + " " + height +
                    "\" width=\"" + width + "\" height=\"" + height + "\" role=\"img\">\n<title>";
  for (const Plot& plot : plots) out += (&plot == plots.data() ? "" : ", ") + escaped(plot.title);
  out += "</title>\n";
  out += kStyle;
  out += "<rect class=\"page\" width=\"100%\" height=\"100%\" rx=\"9\"/>\n" + body + "</svg>\n";
  return out;
}

}  // namespace kvasir::train
