"""Medians, spreads and ratios of the runs, as text and as Markdown."""
import dataclasses
import statistics

NAMES = {"fedlb": "fedlb", "loop": "PyTorch loop",
         "loop_malloc": "PyTorch loop, malloc tuned", "pfl": "pfl",
         "fluke": "fluke", "fedlab": "FedLab", "flower": "Flower"}
# Above this share of its processors the rest of the machine was not idle.
IDLE_SHARE = 0.03


@dataclasses.dataclass(frozen=True)
class Target:
    """What fedlb should reach against the best of some programs: at least
    `factor` times their speed, or at most `factor` times their memory."""
    measure: str
    factor: float
    against: tuple


class Row:
    """One program in its best setting."""

    def __init__(self, runs):
        self.name, self.label = runs[0]["name"], runs[0]["label"]
        self.runs = runs

    def values(self, key):
        return [run[key] for run in self.runs]

    def median(self, key):
        return statistics.median(self.values(key))

    def spread(self, key, digits):
        low, high = min(self.values(key)), max(self.values(key))
        return (f"{self.median(key):,.{digits}f} "
                f"({low:,.{digits}f}–{high:,.{digits}f})")


def best_rows(result):
    """By program: the setting with the highest median speed."""
    rows = {}
    for run in result["runs"]:
        if run["kind"] == "repeat":
            rows.setdefault((run["name"], run["label"]), []).append(run)
    best = {}
    for runs in rows.values():
        row = Row(runs)
        other = best.get(row.name)
        if other is None or (row.median("samples_per_second")
                             > other.median("samples_per_second")):
            best[row.name] = row
    return {name: best[name] for name in NAMES if name in best}


COLUMNS = ("program", "setting", "images/s (min–max)", "training s", "CPU s",
           "wall s", "start-up s", "peak RSS MiB", "accuracy", "fedlb is")


def body(result):
    rows = best_rows(result)
    fedlb = rows.get("fedlb")
    lines = []
    for name, row in rows.items():
        ratio = ""
        if fedlb is not None and row is not fedlb:
            ratio = "{:.2f}×".format(fedlb.median("samples_per_second")
                                     / row.median("samples_per_second"))
        lines.append((
            NAMES[name], row.label, row.spread("samples_per_second", 0),
            row.spread("seconds", 2), f"{row.median('cpu_seconds'):.1f}",
            f"{row.median('wall_seconds'):.1f}",
            f"{row.median('startup_seconds'):.1f}",
            row.spread("peak_rss_mib", 0), f"{row.median('accuracy'):.3f}",
            ratio))
    return lines


def verdicts(result):
    """How fedlb compares with what it should reach."""
    rows = best_rows(result)
    if "fedlb" not in rows:
        return
    for target in result["targets"]:
        rivals = [rows[name] for name in target["against"] if name in rows]
        if not rivals:
            continue
        if target["measure"] == "speed":
            rival = max(rivals, key=lambda r: r.median("samples_per_second"))
            ratio = (rows["fedlb"].median("samples_per_second")
                     / rival.median("samples_per_second"))
            met, sign, noun = ratio >= target["factor"], "≥", "the speed"
        else:
            rival = min(rivals, key=lambda r: r.median("peak_rss_mib"))
            ratio = (rows["fedlb"].median("peak_rss_mib")
                     / rival.median("peak_rss_mib"))
            met, sign, noun = ratio <= target["factor"], "≤", "the peak RSS"
        others = "" if len(rivals) == 1 else ", the best of the peers here"
        yield (f"{ratio:.2f}× {noun} of {NAMES[rival.name]} ({rival.label})"
               f"{others}; asked for: {sign} {target['factor']}×: "
               + ("met" if met else "NOT MET"))


def notes(result):
    """What a reader must know besides the table."""
    runs = result["runs"]
    repeats = [run for run in runs if run["kind"] == "repeat"]
    if not repeats:
        yield "No run succeeded."
    counts = {}
    for run in repeats:
        key = (run["name"], run["label"])
        counts[key] = counts.get(key, 0) + 1
    if counts:
        low, high = min(counts.values()), max(counts.values())
        count = str(low) if low == high else f"{low}–{high}"
        yield (f"Medians; runs of each, in turn: {count}. Every run did "
               f"{result['steps']:,} steps on {result['samples']:,} images.")
    slower = {}
    kept = {(row.name, row.label) for row in best_rows(result).values()}
    for run in runs:
        key = (run["name"], run["label"])
        if key not in kept:
            slower.setdefault(key, []).append(run["samples_per_second"])
    if slower:
        yield "Slower settings, images/s: " + "; ".join(
            f"{NAMES[name]} ({label}) {statistics.median(speeds):,.0f}"
            for (name, label), speeds in slower.items()) + "."
    shared = [
        f"{NAMES[run['name']]} {run['peak_pss_mib']:,.0f}" for run in runs
        if run["kind"] == "probe" and run["processes"] > 1
        and (run["name"], run["label"]) in kept]
    if shared:
        yield ("Peak RSS counts the pages that processes share once per"
               " process; divided among them (PSS, MiB, first run): "
               + "; ".join(shared) + ".")
    busy = [run for run in repeats if run["other_cpu_share"] > IDLE_SHARE]
    if busy:
        worst = max(run["other_cpu_share"] for run in busy)
        yield (f"THE MACHINE WAS NOT IDLE in {len(busy)} of {len(repeats)}"
               f" runs: other programs used up to {worst:.0%} of its"
               " processors.")
    for failure in result["failures"]:
        yield "FAILED: " + " ".join(failure.split())[:300]


def machine_line(result):
    machine = result["machine"]
    versions = {run["name"]: run["version"] for run in result["runs"]
                if "version" in run}
    peers = ", ".join(f"{NAMES[name]} {version}"
                      for name, version in versions.items()
                      if not name.startswith("loop"))
    torch = {run["torch"] for run in result["runs"] if "torch" in run}
    parts = [
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} processors"
        f" ({result['cores']} used), {machine['memory_gib']} GiB, Linux "
        f"{machine['kernel']}, {machine['libc']}",
        machine["fedlb"], "PyTorch " + ", ".join(sorted(torch)), peers]
    return "; ".join(part for part in parts if part)


def text(results):
    out = []
    for name, result in results.items():
        table = [COLUMNS, *body(result)]
        widths = [max(map(len, column)) for column in zip(*table)]
        out += [f"{name}: {result['title']}", machine_line(result), ""]
        out += ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                          for i, (cell, width) in enumerate(zip(row, widths))
                          ).rstrip() for row in table]
        out += ["", *("fedlb: " + line for line in verdicts(result)),
                *notes(result), ""]
    return "\n".join(out) + "\n"


def markdown(results):
    out = []
    for result in results.values():
        out += [f"### {result['title']}", "",
                "| " + " | ".join(COLUMNS) + " |",
                "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
        out += ["| " + " | ".join(row) + " |" for row in body(result)]
        out += ["", *(f"- fedlb: {line}" for line in verdicts(result)),
                *(f"- {note}" for note in notes(result)),
                f"- {machine_line(result)}", ""]
    return "\n".join(out) + "\n"
