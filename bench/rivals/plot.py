"""Draws what compare.py measured:  python plot.py FIGURES.json PREFIX   writes PREFIX-ratios.svg and PREFIX-ceiling.svg

ratios    how many times as long the best rival of the same precision takes, for each shape
ceiling   the share of the machine's multiply-adds (`kvasir bench` measured them in the same run) that a forward pass
          uses, ours and the best rival's; only for precisions whose ceiling was measured
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

from contenders import PRECISIONS, kvasir_name  # noqa: E402
from report import best_variants, compare_cell  # noqa: E402

COLORS = {"fp32": "#4477aa", "bf16": "#ccbb44", "int8": "#ee6677"}
TITLES = {"kvasir-base": "kvasir-base (MiniLM, 6 layers of 384)", "bert-base": "BERT-base's shape (12 layers of 768)"}
STYLE = {"font.family": "sans-serif", "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "kvasir", "axes.axisbelow": True,
         "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#dddddd"}
GROUP = 0.8  # width of the bars of a shape together


def shape_name(cell):
    return f"B{cell['batch']} S{cell['tokens']}"


def panels(figures):
    """One axes per model, with its cells."""
    models = list(dict.fromkeys(cell["model"] for cell in figures["latency"]))
    figure, axes = plt.subplots(1, len(models), figsize=(5.4 * len(models), 3.2), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models):
        cells = [cell for cell in figures["latency"] if cell["model"] == model]
        axis.set_title(TITLES.get(model, model), fontsize=9)
        axis.set_xticks(range(len(cells)), [shape_name(cell) for cell in cells])
        axis.tick_params(length=0)
        yield figure, axis, cells


def bars(axis, series, digits):
    """series: (label, style, value or None per shape). A label above each bar, nothing where there is no value."""
    width = GROUP / len(series)
    for i, (label, style, values) in enumerate(series):
        places = [x - GROUP / 2 + width * (i + 0.5) for x in range(len(values))]
        drawn = [(x, value) for x, value in zip(places, values) if value is not None]
        axis.bar([x for x, _ in drawn], [value for _, value in drawn], width * 0.92, label=label, **style)
        for x, value in drawn:
            axis.annotate(f"{value:.{digits}f}", (x, value), ha="center", va="bottom", fontsize=6.5, xytext=(0, 1),
                          textcoords="offset points")


def finish(figure, axis_label, note, path):
    first = figure.axes[0]
    first.set_ylabel(axis_label)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, bbox_to_anchor=(0.5, 0.045))
    figure.text(0.5, 0.015, note, ha="center", fontsize=7, color="#555555")
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path)


def draw_ratios(figures, note, path):
    figure = None
    for figure, axis, cells in panels(figures):
        series = [(p, {"color": COLORS[p]}, [compare_cell(cell, p)[1] for cell in cells]) for p in PRECISIONS]
        bars(axis, [s for s in series if any(v is not None for v in s[2])], 2)
        axis.axhline(1, color="black", linewidth=0.8, zorder=0.5)
    if figure is None or not figure.axes[0].patches:
        raise SystemExit("plot.py: no shape has figures of ours and of a rival in the same precision")
    finish(figure, "best rival's time / Kvasir's", note, path)


def draw_ceiling(figures, note, path):
    """Ours in full colour, the best rival beside it hatched."""
    ceilings, figure = figures["ceilings"], None

    def share(cell, engine, precision):
        if engine is None or engine not in cell["engines"]:
            return None
        return 100 * cell["multiply_adds"] / (cell["engines"][engine]["ms"] / 1e3) / ceilings[precision]

    for figure, axis, cells in panels(figures):
        series = []
        for precision in PRECISIONS:
            if precision not in ceilings:
                continue
            color = COLORS[precision]
            rivals = [min(best_variants(cell, precision).values(), key=lambda v: cell["engines"][v]["ms"], default=None)
                      for cell in cells]
            series += [(f"Kvasir {precision}", {"color": color},
                        [share(cell, kvasir_name(precision), precision) for cell in cells]),
                       (f"best rival {precision}", {"color": "white", "edgecolor": color, "hatch": "////", "linewidth": 0.6},
                        [share(cell, rival, precision) for cell, rival in zip(cells, rivals)])]
        bars(axis, [s for s in series if any(v is not None for v in s[2])], 0)
        axis.axhline(100, color="black", linewidth=0.8)
        axis.set_ylim(0, 108)
    measured = ", ".join(f"{p} {rate / 1e9:.0f}" for p, rate in ceilings.items())
    finish(figure, "% of the ceiling", f"{note}; ceilings in GMAC/s: {measured}", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("prefix", help="what the names of the plots begin with")
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    machine = figures["machine"]
    plt.rcParams.update(STYLE)
    note = f"{machine['processor']}, {machine['threads']} threads, best of {figures['rounds']} rounds"
    draw_ratios(figures, note, f"{arguments.prefix}-ratios.svg")
    draw_ceiling(figures, note, f"{arguments.prefix}-ceiling.svg")


if __name__ == "__main__":
    main()
