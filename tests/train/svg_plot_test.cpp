#include "train/svg_plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace kvasir::train {
namespace {

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++count;
  return count;
}

// Whether elements are closed in their order, all & begin an entity, and no < is in a text. Attributes have
// no > in them because texts are escaped.
bool is_well_formed(std::string_view xml) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < xml.size(); ++at) {
    if (xml[at] == '&') {
      const std::string_view rest = xml.substr(at);
      if (!rest.starts_with("&amp;") && !rest.starts_with("&lt;") && !rest.starts_with("&gt;") &&
          !rest.starts_with("&quot;"))
        return false;
    }
    if (static_cast<unsigned char>(xml[at]) < 0x20 && xml[at] != '\n') return false;
    if (xml[at] != '<') continue;
    const std::size_t end = xml.find('>', at);
    const std::string_view tag = xml.substr(at + 1, end - at - 1);
    if (end == std::string_view::npos || count(tag, "<") != 0 || count(tag, "\"") % 2 != 0) return false;
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with('/')) {
      open.emplace_back(tag.substr(0, tag.find(' ')));
    }
    at = end;
  }
  return open.empty();
}

std::vector<std::string> texts(const std::string& svg) {
  std::vector<std::string> texts;
  for (std::size_t at = 0; (at = svg.find("<text", at)) != std::string::npos;) {
    at = svg.find('>', at) + 1;
    texts.push_back(svg.substr(at, svg.find('<', at) - at));
  }
  return texts;
}

Plot line(Points points) {
  return {
      .title = "T", .x_label = "X", .y_label = "Y", .curves = {{.name = "N", .points = std::move(points)}}};
}

using Texts = std::vector<std::string>;

TEST(SvgPlot, HasTicksAtRoundNumbers) {
  const std::string svg = svg_of(line({{0, 0.13}, {1000, 1.02}}));
  EXPECT_EQ(texts(svg), (Texts{"T", "N", "0.2", "0.4", "0.6", "0.8", "1.0", "0", "200", "400", "600", "800",
                               "1000", "X", "Y"}));
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_EQ(svg, svg_of(line({{0, 0.13}, {1000, 1.02}})));
}

TEST(SvgPlot, PutsPointsWhereTheirTicksAre) {
  const std::string svg = svg_of(line({{0, 0}, {50, 5}, {100, 10}}));
  // The middle of the axes, which go from 82 to 872 and from 266 up to 66, with 4 % above.
  EXPECT_NE(svg.find("\"M82 266L477 169.8 872 73.7\""), std::string::npos) << svg;
  EXPECT_NE(svg.find("<path class=\"axis\" d=\"M872 266v4\"/>\n<text x=\"872\" y=\"284\" "
                     "text-anchor=\"middle\">100</text>"),
            std::string::npos)
      << svg;
}

TEST(SvgPlot, SmallAndLargeNumbersHaveExponents) {
  const auto has = [](const Texts& all, const char* text) { return std::ranges::count(all, text) == 1; };
  const Texts small = texts(svg_of(line({{0, 0}, {1, 5e-5}})));
  EXPECT_TRUE(has(small, "1e-5") && has(small, "5e-5")) << testing::PrintToString(small);
  const Texts large = texts(svg_of(line({{0, 0}, {1, 3.1e7}})));
  EXPECT_TRUE(has(large, "5e6") && has(large, "3.0e7")) << testing::PrintToString(large);
  const Texts signs = texts(svg_of(line({{0, -1}, {1, 1}})));
  EXPECT_TRUE(has(signs, "-0.5") && has(signs, "-1.0")) << testing::PrintToString(signs);
}

TEST(SvgPlot, EscapesNames) {
  Plot plot = line({{0, 1}, {1, 2}});
  plot.title = "a < b & \"c\" > d";
  plot.curves[0].name = "x\n\x01</text>\xFF\xEF\xBF\xBF";
  plot.curves.push_back({.name = std::string(50, 'm') + "é", .points = {{0, 1}}});
  plot.curves.push_back({.name = std::string(38, 'm') + "éé", .points = {{0, 1}}});
  plot.curves.push_back({.name = std::string(38, 'm') + "ééé", .points = {{0, 1}}});
  const std::string svg = svg_of(plot);
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_NE(svg.find(">a &lt; b &amp; &quot;c&quot; &gt; d</text>"), std::string::npos) << svg;
  EXPECT_NE(svg.find(">x \xEF\xBF\xBD&lt;/text&gt;\xEF\xBF\xBD\xEF\xBF\xBD</text>"), std::string::npos)
      << svg;
  EXPECT_NE(svg.find(">" + std::string(39, 'm') + "…</text>"), std::string::npos) << svg;
  EXPECT_NE(svg.find(">" + std::string(38, 'm') + "éé</text>"), std::string::npos) << svg;
  EXPECT_NE(svg.find(">" + std::string(38, 'm') + "é…</text>"), std::string::npos) << svg;
}

TEST(SvgPlot, RawCurvesArePaleInTheColorOfTheNext) {
  Plot plot = line({{0, 1}, {1, 2}});
  plot.curves.insert(plot.curves.begin(), {.name = "raw", .points = {{0, 1}, {1, 2}}, .is_raw = true});
  plot.curves.push_back({.name = "other", .points = {{0, 1}, {1, 2}}});
  const std::string svg = svg_of(plot);
  EXPECT_EQ(svg.find(">raw<"), std::string::npos);
  EXPECT_EQ(count(svg, "class=\"line raw s0\""), 1U);
  EXPECT_EQ(count(svg, "class=\"line s0\""), 2U);  // and in the legend
  EXPECT_EQ(count(svg, "class=\"line s1\""), 2U);
  EXPECT_EQ(count(svg, "<circle"), 4U);  // few points are shown, but not the raw ones
}

TEST(SvgPlot, ShowsWhateverNumbersThereAre) {
  for (const Points& points : std::vector<Points>{{},
                                                  {{0, 0}},
                                                  {{5, 5}},
                                                  {{5, -5}, {5, -5}},
                                                  {{0, NAN}, {NAN, 0}, {INFINITY, 1}},
                                                  {{-1e308, -1e308}, {1e308, 1e308}},
                                                  {{-1e299, -1e299}, {1e299, 1e299}},
                                                  {{0, 5e-324}, {1, 1e-323}},
                                                  {{1, 1}, {2, 1 + 1e-15}},
                                                  {{1, -1e9}, {2, -1e9 + 1e-6}}}) {
    const std::string svg = svg_of(line(points));
    EXPECT_TRUE(is_well_formed(svg)) << svg;
    EXPECT_EQ(count(svg, "nan") + count(svg, "inf"), 0U) << svg;
    EXPECT_LT(svg.size(), 20000U);
  }
  const std::string svg = svg_of(line({{0, 1}, {1, NAN}, {2, 3}}));
  EXPECT_EQ(count(svg, "<circle"), 2U);
}

TEST(SvgPlot, PutsTheFirstOfSeveralAcrossAllOfIt) {
  const auto heights = [](std::size_t plots) {
    const std::string svg = svg_of(std::vector<Plot>(plots, line({{0, 1}, {1, 2}})));
    EXPECT_TRUE(is_well_formed(svg)) << svg;
    EXPECT_EQ(count(svg, "class=\"title\""), plots);
    const std::size_t at = svg.find(" height=\"") + 9;
    return svg.substr(at, svg.find('"', at) - at);
  };
  EXPECT_EQ(heights(1), "330");
  EXPECT_EQ(heights(2), "646");
  EXPECT_EQ(heights(3), "646");
  EXPECT_EQ(heights(4), "962");
}

TEST(SvgPlot, ThinsWithoutLosingPeaks) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  Points points;
  for (int i = 0; i < 20000; ++i) points.emplace_back(i, normal(random));
  points[7001].second = 100;
  points[7002].second = -100;
  const Points thin = thinned(points, 1000);
  EXPECT_LE(thin.size(), 1002U);
  EXPECT_GE(thin.size(), 900U);
  EXPECT_EQ(thin.front(), points.front());
  EXPECT_EQ(thin.back(), points.back());
  EXPECT_EQ(std::ranges::count(thin, points[7001]), 1);
  EXPECT_EQ(std::ranges::count(thin, points[7002]), 1);
  EXPECT_TRUE(std::ranges::is_sorted(thin));
  EXPECT_EQ(thinned(points, 20000), points);
  EXPECT_LT(svg_of(line(points)).size(), 20000U);
}

}  // namespace
}  // namespace kvasir::train
