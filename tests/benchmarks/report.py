"""Write RESULTS.md and its plots from what `run` measured.

A number of a contender is the median of five rounds; of fewer, where a call takes long, it is
followed by their number in brackets. What was not measured but follows is marked with "about".
"""

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import nets
from tests.benchmarks.contenders import AS_PUBLISHED, CONTENDERS
from tests.benchmarks.sections import scale
from tests.benchmarks.sections.capacity import LIMIT
from tests.benchmarks.sections.kernels import KINDS, REST
from tests.benchmarks.sections.settle import GOAL, WINDOW
from tests.benchmarks.x_gradient import HEAD, cells

HERE = Path(__file__).parent
OUT = Path("out/bench")
MARKS = "<!-- benchmark -->", "<!-- /benchmark -->"
OWN = "onnxshap"
ROUNDS = 5
GRID = ["references", "contender", "seconds", "/ onnxshap", "/ floor", "memory"]
GRID += ["sum (first target)", "residual", "difference"]
Data = dict[str, Any]


def main() -> None:
    """Read out/bench, or the folder given; write RESULTS.md, its plots, and the README's rows."""
    from tests.benchmarks import plots

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    measured = {f.stem: json.loads(f.read_text()) for f in sorted(folder.glob("*.json"))}
    pictures = plots.draw(measured, HERE / "plots")
    (HERE / "RESULTS.md").write_text(render(measured, pictures), encoding="utf-8")
    readme = HERE.parents[1] / "README.md"
    if "compare" in measured:
        text = readme.read_text(encoding="utf-8")
        begin, end = (re.escape(mark) for mark in MARKS)
        lines = "\n".join([MARKS[0], headlines(measured["compare"]["cells"]), MARKS[1]])
        text = re.sub(f"{begin}.*{end}", lambda _: lines, text, flags=re.DOTALL)
        readme.write_text(text, encoding="utf-8")


def render(measured: dict[str, Data], pictures: Sequence[str] = ()) -> str:
    """Return the report of the sections that were measured, as Markdown."""
    parts = ["# Results", _machines(measured)]
    if "compare" in measured:
        parts.append("## One target, 10 references\n\n" + headlines(measured["compare"]["cells"]))
    parts += [write(measured[name]["cells"]) for name, write in WRITERS.items() if name in measured]
    parts += [f"![{Path(p).stem}](plots/{p})" for p in pictures]
    parts.append("On a GPU: [RESULTS_CUDA.md](RESULTS_CUDA.md).")
    return "\n\n".join(parts) + "\n"


def headlines(compared: Data) -> str:
    """Seconds of everyone on every net, one target, 10 references, and the ratio to onnxshap's."""
    found = {net: compared.get(f"{net}/10/1") for net in nets.TITLES}
    there = [net for net, cell in found.items() if cell]
    rows = []
    for name, contender in CONTENDERS.items():
        line = [contender.title]
        for net in there:
            cell = found[net]
            assert cell is not None
            own, reference = _seconds(cell, name), _seconds(cell, OWN)
            ratio = f" ({_ratio(own, reference)})" if own and reference and name != OWN else ""
            missing = "cannot" if name in cell["contenders"] else "not measured"
            line.append(_time(own) + ratio if own else missing)
        rows.append(line)
    return _table(["seconds (times onnxshap's)", *(nets.TITLES[n] for n in there)], rows)


# --- sections ------------------------------------------------------------------------------------


def _published(found: Data) -> str:
    rows = []
    for net in nets.STOCK:
        line = [nets.STOCK[net]]
        for name in AS_PUBLISHED:
            line.append(_said(found.get(f"{net}/{name}"), _sum_and_truth))
        rows.append(line)
    return _section(
        "Peers on torchvision's nets as they are",
        "Two references, one target. Where a peer raises, and in all tables below, it is given a "
        "twin of the net: every layer a module of its own, nothing in place, BatchNorm folded into "
        "convolutions as in the ONNX file, additions and concatenations as functions. Nothing is "
        "changed beyond what lets it run; whether its sums are right is in the tables. "
        "TensorFlow's twins are Keras models of the same layers, channels last.",
        ["net", *(c.title for c in AS_PUBLISHED.values())],
        rows,
    )


def _compare(found: Data) -> str:
    text = [
        "## Every net\n\n"
        "floor: onnxruntime's forward run of the explicand and of one image for each pair of "
        "reference and target: no explanation can be cheaper. Memory: peak of a process of its own "
        "over the idle one, references and model included. Residual: largest |sum - true "
        "difference| over the targets. Difference: mean absolute difference to onnxshap's "
        "attributions, relative to their mean; two right programs differ where explicand and "
        "reference nearly meet at a kink."
    ]
    for net, title in nets.TITLES.items():
        for targets in (1, 10):
            own = [c for c in found.values() if (c["net"], c["targets"]) == (net, targets)]
            if own:
                what = "one target" if targets == 1 else f"top {targets}"
                text.append(f"### {title}, {what}\n\n" + _table(GRID, _grid(own, found)))
    return "\n\n".join(text)


def _grid(own: Iterable[Data], found: Data) -> list[list[str]]:
    """One line for each number of references and contender."""
    rows = []
    for cell in sorted(own, key=lambda c: c["references"]):
        floor, ours = _seconds(cell, "floor"), _seconds(cell, OWN)
        for name, contender in CONTENDERS.items():
            line = [str(cell["references"]), contender.title]
            its = cell["contenders"].get(name)
            if its is None:
                rows.append(line + _not_measured(cell, name, found, floor, ours))
                continue
            if "error" in its:
                rows.append(
                    [*line, _short(its["error"]), "", "", _bytes(its.get("peak")), *[""] * 3]
                )
                continue
            own_seconds, rounds = _seconds(cell, name), len(its["seconds"])
            few = f" ({rounds})" if rounds < ROUNDS else ""
            line += [_time(own_seconds) + few, _ratio(own_seconds, ours)]
            line += [_ratio(own_seconds, floor), _bytes(its["peak"])]
            if name == "floor":
                rows.append([*line, f"true {cell['expected'][0]:.5g}", "", ""])
                continue
            line += [f"{its['sums'][0]:.5g}", f"{its['residual']:.1e}"]
            rows.append([*line, _share(its.get("difference"))])
    return rows


def _not_measured(
    cell: Data, name: str, found: Data, floor: float | None, ours: float | None
) -> list[str]:
    """What follows from one target, for those that explain one after the other."""
    single = found.get(f"{cell['net']}/{cell['references']}/1")
    one = _seconds(single, name) if single else None
    if one is None or not CONTENDERS[name].per_target:
        return ["not measured", *[""] * 6]
    whole = one * cell["targets"]
    about = [_time(whole), _ratio(whole, ours), _ratio(whole, floor)]
    return [f"about {a}" if a else "" for a in about] + [""] * 4


def _kernels(found: Data) -> str:
    kinds, rows = [*KINDS, REST], []
    for net, cell in found.items():
        forward = sum(cell["forward"].values())
        for which, title in PASSES.items():
            spent = cell[which]
            whole = sum(spent.values())
            line = [nets.TITLES[net], title, *(f"{spent[kind]:.1f}" for kind in kinds)]
            rows.append([*line, f"{whole:.1f}", f"{whole / forward:.2f}x"])
    return _section(
        "Where the time goes",
        "Milliseconds in the runtime's kernels, one target, 10 references, by its own profile, "
        "which adds some to each. A forward run and a pair by one thread each, as many side by "
        "side as processors; the explicand's pass by both threads, while nothing else runs.\n\n"
        "Tried on these kernels without gain: chains of element-by-element operators in tiles that "
        "fit the second-level cache; the adjoint of a strided convolution as one convolution for "
        "each phase and DepthToSpace, of a strided 1x1 one by Resize; buffers planned ahead "
        "(enable_mem_reuse); comparing with the maximum at the pool's resolution instead of "
        "MaxPool's indices and ScatterElements; ReLU's secant by Softsign, which rounds worse, or "
        "by Max and Min, of which the runtime runs Min in one thread. Huge pages give 3% on "
        "ResNet-50 and a tenth on EfficientNet-B0, but are the system's to set. Keeping the ReLUs "
        "of references beside their inputs would save a pass over the pairs (3 to 8%) and hold "
        "half as many references in the same memory.",
        ["net", "run", *kinds, "all", "/ forward run"],
        rows,
    )


def _loads(found: Data) -> str:
    stages = ["session", "load", "build", "first", "again", "export", "file_session"]
    rows = []
    for net, cell in found.items():
        sizes = [str(cell["nodes"]), _bytes(cell["model_bytes"]), _bytes(cell["file_bytes"])]
        rows.append([nets.TITLES[net], *sizes, *(_time(cell[s]) for s in stages)])
    return _section(
        "Build and load",
        "Seconds, once, in a new process; 10 references, one target. Loading the plain model into "
        "onnxruntime; onnxshap.load; Explainer(...); its first call, which compiles and runs the "
        "references; the second call; export; loading the one-shot file, references folded in.",
        [
            "net",
            "nodes",
            "model",
            "one-shot file",
            "plain session",
            "load",
            "build",
            "first call",
            "second call",
            "export",
            "file's session",
        ],
        rows,
    )


def _builds(found: Data) -> str:
    rows = []
    for cell in found.values():
        each = f"{1e3 * cell['build'] / cell['nodes']:.2f} ms"
        emitted = str(cell["emitted"])
        rows.append([str(cell["nodes"]), emitted, _time(cell["load"]), _time(cell["build"]), each])
    return _section(
        "Building deep models",
        "A chain of mixed operators with residual blocks, joins, gates and choices, of random "
        "weights; 10 references. onnxshap.load and Explainer(...), the fastest of three, of the "
        "deepest model one.",
        ["nodes", "nodes of the explanation", "load", "build", "build, for each node"],
        rows,
    )


def _x_gradient(found: Data) -> str:
    return _section(
        "X-Gradient",
        "Nets without biases, where x times the gradient is Integrated Gradients of the zero "
        "reference. Milliseconds, alternating; medians of 25, of DeepSHAP and EG five, of IG two.",
        HEAD,
        [cells(cell) for cell in found.values()],
    )


def _settle(found: Data) -> str:
    needed = found["needed"]
    rows = []
    for name, contender in CONTENDERS.items():
        cell = found.get(name)
        if cell is None:
            continue
        if "error" in cell:
            rows.append([contender.title, _short(cell["error"]), "", "", ""])
            continue
        less = cell["measured_references"] < cell["references"]
        about = "about " if less else ""
        taken = [about + _time(cell["first"]), about + _time(cell["again"])]
        at = f"{cell['measured_references']}" + (", scaled up" if less else "")
        rows.append([contender.title, *taken, at, _bytes(cell["peak"])])
    reached = f"{needed['references']} references"
    if not needed["reached"]:
        reached = f"more than {reached}: the times are for those"
    return _section(
        f"Seconds to a relative standard error of {GOAL:.0%}",
        "EfficientNet-Lite0, a photo, random crops of photos as references. Root mean square of "
        f"the standard error over that of the map, both averaged over {WINDOW}x{WINDOW} pixels: "
        f"{reached}. First: getting ready and one call. Again: another call with the same "
        "references. Contenders whose memory grows are measured on fewer references and scaled up.",
        ["contender", "first", "again", "measured with", "memory"],
        rows,
    )


def _capacity(found: Data) -> str:
    rows = []
    for name, contender in CONTENDERS.items():
        line = [contender.title]
        for net in (nets.LITE0, "resnet50"):
            line.append(_said(found.get(f"{net}/{name}"), _most_references))
        if any(line[1:]):
            rows.append(line)
    return _section(
        f"The most references in {LIMIT / 2**30:.0f} GiB",
        "Over the idle process; every number was run, the peak is in brackets. onnxshap takes any "
        "number, in chunks, and its one-shot file too.",
        ["contender", nets.TITLES[nets.LITE0], nets.TITLES["resnet50"]],
        rows,
    )


def _scale(found: Data) -> str:
    rows = []
    for key, cell in found.items():
        if key != "rows":
            _, name, count = key.split("/")
            line = [CONTENDERS[name].title, count, _bytes(cell["peak"])]
            for call in ("cold", "again"):
                own = cell.get(call)
                line.append(f"{_time(own)} ({_time(own / int(count))} each)" if own else "")
            rows.append(line)
    memory = _section(
        "Many references",
        f"{nets.TITLES[scale.NET]}, one explicand, `max_memory` of {scale.BUDGET / 2**30:.0f} GiB. "
        "Memory: peak over the idle process, the references themselves apart for onnxshap, which "
        "reads them from a mapped file. Cold: seconds of the first call with these references, "
        "sessions being ready; again: of the second, which finds in memory what fits there.",
        ["contender", "references", "memory", "cold", "again"],
        rows,
    )
    if "rows" not in found:
        return memory
    table = _section(
        f"{scale.ROWS:,} rows of a table",
        f"{nets.TITLES[nets.MLP]}, {scale.OF_ROWS} references, one target; shap explains each "
        "row's likeliest class. Sums are of the first row.",
        GRID,
        _grid([found["rows"]], found),
    )
    return f"{memory}\n\n{table}"


PASSES = {"forward": "forward", "pair": "each pair", "explicand": "explicand"}
WRITERS = {
    "published": _published,
    "compare": _compare,
    "settle": _settle,
    "scale": _scale,
    "capacity": _capacity,
    "kernels": _kernels,
    "loads": _loads,
    "builds": _builds,
    "x_gradient": _x_gradient,
}


# --- cells ---------------------------------------------------------------------------------------


def _machines(measured: dict[str, Data]) -> str:
    """What the sections were measured on; the same once."""
    lines: dict[str, list[str]] = {}
    for name, section in measured.items():
        m = section["machine"]
        versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
        days = sorted({cell["date"] for cell in section["cells"].values()})
        when = " to ".join(dict.fromkeys([days[0], days[-1]]))
        line = (
            f"{when}, {m['cpu']}, {m['cores']} cores, {m['memory'] / 2**30:.0f} GiB, "
            f"{m['threads']} threads each, {m['system']}; {versions}."
        )
        lines.setdefault(line, []).append(name)
    how = (
        "Written by `make bench`. Contenders take turns, each in a process of its own, the others "
        f"asleep: medians of {ROUNDS} rounds after one to warm up; of fewer where a call takes "
        "long, their number in brackets. With 50 references each takes turns with the floor alone, "
        "and on VGG-19, ResNet-50 and DenseNet-201 shap and captum do so apart from the others: "
        "together they do not fit into memory. VGG-19, ResNet-50, DenseNet-201 "
        "and EfficientNet-B0 have random weights and 224x224 pixels."
    )
    if len(lines) == 1:
        return f"{next(iter(lines))}\n\n{how}"
    return "\n".join(f"* {', '.join(n)}: {line}" for line, n in lines.items()) + f"\n\n{how}"


def _section(title: str, text: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{text}\n\n{_table(head, rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _seconds(cell: Data, name: str) -> float | None:
    found = cell["contenders"].get(name, {})
    return statistics.median(found["seconds"]) if found.get("seconds") else None


def _time(seconds: float | None) -> str:
    """Three digits."""
    if seconds is None:
        return ""
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def _ratio(own: float | None, other: float | None) -> str:
    return f"{own / other:.3g}x" if own and other else ""


def _bytes(size: float | None) -> str:
    return "" if size is None else f"{size / 2**20:,.0f} MB"


def _said(cell: Data | None, tell: Callable[[Data], str]) -> str:
    """What a measured cell tells, or its error; nothing where it was not measured."""
    if cell is None:
        return ""
    return _short(cell["error"]) if "error" in cell else tell(cell)


def _sum_and_truth(cell: Data) -> str:
    return f"sum {cell['sum']:.4g}, true {cell['expected']:.4g}"


def _most_references(cell: Data) -> str:
    more = " or more" if cell["largest"] == max(map(int, cell["peaks"])) else ""
    return f"{cell['largest']}{more} ({_bytes(cell['peaks'].get(str(cell['largest'])))})"


def _share(part: float | None) -> str:
    return "" if part is None else f"{part:.2g}"


def _short(error: str) -> str:
    """The last line of an error, for a table."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    text = f"{lines[0].split(':')[0]}: {lines[-1]}" if len(lines) > 1 else lines[0]
    return text.replace("|", "/")[:140]


if __name__ == "__main__":
    main()
