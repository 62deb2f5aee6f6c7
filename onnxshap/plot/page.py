"""One HTML page that stands alone: the figure, and the facts as a table."""

import base64
import os
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from onnxshap.explanation import Arrays, Explanation, counted
from onnxshap.plot.panels import Facts, Labels, facts, percent, plain

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto;
  max-width: 75rem; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .3rem; }}
p {{ color: #555; margin: 0 0 1.2rem; }}
img {{ max-width: 100%; height: auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin-top: 1.5rem; font-size: .9rem; }}
th, td {{ border-bottom: 1px solid #ddd; padding: .35rem .8rem; text-align: right; }}
th:nth-child(2), td:nth-child(2) {{ text-align: left; overflow-wrap: anywhere; }}
td {{ font-variant-numeric: tabular-nums; }}
</style>
</head>
"""
COLUMNS = (
    "explicand",
    "target",
    "output",
    "base value",
    "sum of attributions",
    "residual",
    "standard error, relative",
)


def write(
    explanation: Explanation, path: Path, figure: Figure, labels: Labels, title: str | None
) -> Path:
    """Write the page whole, or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(page(explanation, figure, labels, title), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def page(explanation: Explanation, figure: Figure, labels: Labels, title: str | None) -> str:
    """Return the text of the page."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    picture = base64.b64encode(buffer.getvalue()).decode("ascii")
    heading = escape(plain(title or "Explanation"))
    rows = [cells for line in facts(explanation, labels) for cells in map(_cells, line)]
    body = "\n".join(
        f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in cells)}</tr>" for cells in rows
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    return (
        HEAD.format(title=heading)
        + f"<body>\n<h1>{heading}</h1>\n<p>{escape(_subject(explanation))}</p>\n"
        + f'<img alt="Attributions, drawn" src="data:image/png;base64,{picture}">\n'
        + f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>\n</body>\n</html>\n'
    )


def _cells(fact: Facts) -> list[str]:
    return [
        str(fact.explicand),
        fact.label,
        f"{fact.output:+.6g}",
        "" if fact.base_value is None else f"{fact.base_value:+.6g}",
        f"{fact.total:+.6g}",
        "" if fact.residual is None else f"{fact.residual:+.2e}",
        "" if fact.error is None else percent(fact.error),
    ]


def _subject(explanation: Explanation) -> str:
    parts = [
        explanation.method or "unnamed method",
        counted(explanation.references) if explanation.references else "no references",
        *([] if explanation.complete else ["partial result"]),
        *([explanation.note] if explanation.note else []),
        *(
            f"input {name or 'data'}: {list(np.shape(array))}"
            for name, array in _named(explanation.attributions)
        ),
    ]
    broken = sum(int((~np.isfinite(a)).sum()) for _, a in _named(explanation.attributions))
    if broken:
        parts.append(f"{broken} attributions are not finite")
    return plain(", ".join(parts))


def _named(arrays: Arrays) -> list[tuple[str, np.ndarray]]:
    return list(arrays.items()) if isinstance(arrays, dict) else [("", arrays)]
