"""Tables of what compare.py measured, from the file that its --json wrote:  python report.py FIGURES.json"""

import json
import sys

from contenders import LATENCY, PRECISIONS, SQUAD, kvasir_name


def table(header, rows):
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in (header, ["-" * w for w in widths], *rows):
        print("| " + " | ".join(str(cell).rjust(w) if i else str(cell).ljust(w)
                                for i, (cell, w) in enumerate(zip(row, widths))) + " |")
    print(flush=True)


def print_machine(machine):
    print(f"- machine: {machine['processor']}, {machine['cores']} cores, {' '.join(machine['flags'])}; {machine['system']}")
    print(f"- rivals: {', '.join(f'{n} {v}' for n, v in machine['versions'].items())}; Python {machine['python']}")
    print(f"- threads: {machine['threads']}; load average at the start: {machine['load_at_start']}"
          + (f"; instruction set: {machine['isa']}" if machine["isa"] else ""), flush=True)


def best_variants(cell, precision):
    """The fastest variant of each rival that took part."""
    best = {}
    for rival, variants in LATENCY[precision].items():
        took_part = [v for v in variants if v in cell["engines"]]
        if took_part:
            best[rival] = min(took_part, key=lambda v: cell["engines"][v]["ms"])
    return best


def compare_cell(cell, precision):
    """(best rival's variant, ratio of the best, ratio of the medians); ratios are None where ours did not take part."""
    engines, best = cell["engines"], best_variants(cell, precision)
    own, fastest = engines.get(kvasir_name(precision)), min(best.values(), key=lambda v: engines[v]["ms"], default=None)
    if own is None or fastest is None:
        return fastest, None, None
    medians = [engines[v]["median_ms"] for variants in LATENCY[precision].values() for v in variants if v in engines]
    return fastest, engines[fastest]["ms"] / own["ms"], min(medians) / own["median_ms"]


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def print_latency(figures, model):
    cells = [cell for cell in figures["latency"] if cell["model"] == model]
    for precision in PRECISIONS:
        names = {e for cell in cells for e, figure in cell["engines"].items() if figure["precision"] == precision}
        rivals = [rival for rival, variants in LATENCY[precision].items() if names & set(variants)]
        if not names:
            continue
        print(f"\n{model}, {precision} against {precision}: one forward pass, ms (best of {figures['rounds']} rounds)\n")
        own, rows = kvasir_name(precision), []
        differences = dict.fromkeys(["Kvasir", *rivals], None)
        for cell in cells:
            engines, best = cell["engines"], best_variants(cell, precision)
            fastest, ratio, by_medians = compare_cell(cell, precision)
            shown = {"Kvasir": engines.get(own), **{rival: engines[best[rival]] for rival in rivals}}
            for column, figure in shown.items():
                if figure:
                    differences[column] = max(differences[column] or 0, figure["logit_difference"])
            rows.append([f"B{cell['batch']} S{cell['tokens']}", *(number(f and f["ms"]) for f in shown.values()),
                         number(ratio), number(by_medians), fastest or "-"])
        rows.append(["logits off by", *("-" if d is None else f"{100 * d:.2g} %" for d in differences.values()), "", "", ""])
        table(["shape", "Kvasir", *rivals, "best rival / Kvasir", "by medians", "best rival"], rows)


def print_squad(figures):
    squad = figures["squad"]
    print(f"\nkvasir-base, {squad[0]['questions']} SQuAD questions end to end (tokenise, windows of 384/128, batches of 32, "
          "run_qa decoding): questions/s and F1\n")
    by_key = {(f["engine"], f["order"]): f for f in squad}
    rows = []
    for precision in PRECISIONS:
        own = by_key.get((kvasir_name(precision), "any"))
        if own:
            rows.append([precision, "Kvasir", number(own["questions_per_second"], 1), number(own["f1"]), "-",
                         number(own["questions_per_second"], 1), number(own["f1"]), "-"])
        for rival, variants in SQUAD[precision].items():
            cells = []
            for order in ("sorted", "file"):
                took_part = [by_key[v, order] for v in variants if (v, order) in by_key]
                if took_part:
                    best = max(took_part, key=lambda f: f["questions_per_second"])
                    rate = best["questions_per_second"]
                    cells += [number(rate, 1), number(best["f1"]), number(own and own["questions_per_second"] / rate)]
            if cells:
                rows.append([precision, rival, *cells])
    table(["precision", "engine", "sorted", "F1", "Kvasir / this", "file order", "F1", "Kvasir / this"], rows)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        figures = json.load(file)
    print_machine(figures["machine"])
    for model in dict.fromkeys(cell["model"] for cell in figures["latency"]):
        print_latency(figures, model)
    if figures["squad"]:
        print_squad(figures)


if __name__ == "__main__":
    main()
