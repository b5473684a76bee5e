"""What notebooks show of a study, a plan, results and verdicts: HTML with the numbers of the text forms.

Colours are those of the page, so that it may be light or dark; all text is escaped; styles stand in the elements, for
viewers that drop style sheets.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from dlx.coercion import is_component
from dlx.markers import Choice, Derived, Grid, Marker
from dlx.tables import cells_table
from dlx.text import clean, count, cut

if TYPE_CHECKING:
    from dlx.claims import Verdict
    from dlx.plan import Plan
    from dlx.results import Results
    from dlx.study import Study

MOST_LINES = 60  # of a template
MOST_VERDICTS = 50
LONGEST = 100  # characters of a value
WIDTH = 120  # characters of a table, which decides how many metrics it has
FAINT = "opacity:.65"
TABLE = "border-collapse:collapse;margin:.5em 0;font-variant-numeric:tabular-nums"
CELL = "padding:.15em .7em .15em 0;vertical-align:top;border:0;white-space:nowrap"
IGNORED = "tex2jax_ignore mathjax_ignore"  # dollars in foreign text are no formulas
OUTCOMES = {"supported": "#009e73", "refuted": "#d55e00", "undecided": "#888888"}  # Okabe and Ito 2008


def study_html(study: "Study") -> str:
    """The question, the template with its axes marked, and how many trials are wanted at most."""
    lines = list(_tree(study.template))
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"… {len(lines) - MOST_LINES:,} more lines"]
    body = "\n".join(lines)
    return _box(
        f"<b>{_text(study.name)}</b><br>{_text(study.question)}",
        f'<pre style="margin:.5em 0;line-height:1.35">{body}</pre>',
        f'<span style="{FAINT}">{_text(_wanted(study))}</span>',
    )


def plan_html(plan: "Plan") -> str:
    """The counts of a plan."""
    return _box(f"<pre>{escape(_lines(str(plan)))}</pre>")


def results_html(results: "Results") -> str:
    """The question and the table of cells."""
    declared = results.declaration
    return _box(f"<b>{_text(declared.name)}</b><br>{_text(declared.question)}", fragment(cells_table(results, WIDTH)))


def verdicts_html(verdicts: Iterable["Verdict"]) -> str:
    """A row for each verdict: its outcome, the claim, and the estimate that decides it."""
    every = list(verdicts)
    rows = [_verdict(one) for one in every[:MOST_VERDICTS]]
    left = len(every) - len(rows)
    more = [f'<span style="{FAINT}">{left:,} more verdicts</span>'] if left else []
    if not every:
        return _box(f'<span style="{FAINT}">The study states no claims.</span>')
    return _box(f'<table style="{TABLE}">{"".join(rows)}</table>', *more)


def fragment(renderable: Any) -> str:
    """A rich table, text, or group of these as HTML."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if isinstance(renderable, Group):
        return "".join(map(fragment, renderable.renderables))
    if isinstance(renderable, Text):
        return f'<div style="{FAINT};white-space:pre-line">{escape(_lines(renderable.plain))}</div>'
    assert isinstance(renderable, Table)
    columns = [[_text(_plain(cell)) for cell in (column.header, *column.cells)] for column in renderable.columns]
    aligned = [column.justify for column in renderable.columns]
    head, *body = zip(*columns, strict=True) if columns else [()]
    rows = [_row("th", head, aligned), *(_row("td", row, aligned) for row in body)]
    return f'<div style="overflow-x:auto"><table style="{TABLE}">{"".join(rows)}</table></div>'


# ---------------------------------------------------------------- elements

def _box(*parts: str) -> str:
    inner = "".join(f"<div>{part}</div>" for part in parts)
    return f'<div class="{IGNORED}" style="font-size:.95em;max-width:100%">{inner}</div>'


def _row(tag: str, cells: Iterable[str], aligned: Sequence[str]) -> str:
    border = ";border-bottom:1px solid" if tag == "th" else ""
    style = [f"{CELL};text-align:{align}{border}" for align in aligned]
    return "<tr>" + "".join(f'<{tag} style="{s}">{c}</{tag}>' for s, c in zip(style, cells, strict=True)) + "</tr>"


def _verdict(verdict: "Verdict") -> str:
    outcome = clean(verdict.outcome)
    line = clean(verdict).removeprefix(outcome).strip().removeprefix(f"{clean(verdict.claim)}: ")
    dot = f'<span style="color:{OUTCOMES.get(outcome, OUTCOMES["undecided"])}">●</span>'
    further = [text for reason in verdict.reasons if (text := clean(reason)) not in line]
    reasons = "".join(f'<br><span style="{FAINT}">{escape(text)}</span>' for text in further)
    wide = CELL.replace("nowrap", "normal") + ";text-align:left"
    return (f'<tr><td style="{CELL};text-align:left">{dot} <b>{escape(outcome)}</b></td>'
            f'<td style="{wide}">{_text(verdict.claim)}<br>{escape(line)}{reasons}</td></tr>')


def _text(text: object) -> str:
    return escape(clean(text))


def _plain(text: object) -> str:
    return str(getattr(text, "plain", text))


def _lines(text: str) -> str:
    return "\n".join(map(clean, text.split("\n")))


# ---------------------------------------------------------------- a study's template


def _tree(value: Any, indent: str = "", name: str = "") -> Iterator[str]:
    """A line for each field that is not as by default; parts without markers stand in one line, as HTML."""
    begins = indent + (f"{escape(name)} = " if name else "")
    if isinstance(value, Grid):
        kind = "nuisance" if isinstance(value, Choice) else "scientific"
        if any(map(_is_marked, value.options)):
            yield f"{begins}<b>{value.spelled} of {len(value.options)}</b>{_role(kind)}"
            for option in value.options:
                yield from _tree(option, indent + "  ")
        else:
            yield f"{begins}<b>{value.spelled}({', '.join(map(_said, value.options))})</b>{_role(kind)}"
    elif isinstance(value, Marker):
        yield f"{begins}<b>{_text(repr(value))}</b>{_role('derived' if isinstance(value, Derived) else 'nuisance')}"
    elif is_component(value) and _is_marked(value):
        yield f"{begins}{escape(type(value).__name__)}"
        for field, held in _given(value):
            yield from _tree(held, indent + "  ", field)
    else:
        yield f"{begins}{_said(value)}"


def _role(kind: str) -> str:
    return f'  <span style="{FAINT}">{kind}</span>' if kind != "derived" else ""


def _is_marked(value: Any) -> bool:
    """Whether a marker stands somewhere in a value."""
    if isinstance(value, Marker):
        return True
    return is_component(value) and any(_is_marked(getattr(value, f.name)) for f in dataclasses.fields(value))


def _given(component: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a component that are not as by default."""
    for f in dataclasses.fields(component):
        value = getattr(component, f.name)
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        if default is dataclasses.MISSING or isinstance(value, Marker) or value != default:
            yield f.name, value


def _said(value: Any) -> str:
    """A value in one line, cut where it is long."""
    return escape(cut(clean(_call(value)), LONGEST))


def _call(value: Any) -> str:
    if is_component(value):
        return f"{type(value).__name__}({', '.join(f'{n}={_call(v)}' for n, v in _given(value))})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_call, value))}]"
    return repr(value)


def _wanted(study: "Study") -> str:
    """Cells, searches and seeds in words, and at most how many trials they are; parents apart."""
    space, search, seeds = study.space, study.search, len(study.seed_list)
    tuned = sum(map(space.is_tuned, space.cells)) if space.tuned else 0
    cells = len(space.cells)
    said, total = [count(cells, "cell"), count(seeds, "seed")], (cells - tuned) * seeds
    if search is not None and tuned:
        checks = min(search.top, search.trials) * search.recheck if min(search.top, search.trials) > 1 else 0
        total += tuned * search.repeats * (search.trials + checks + seeds)
        each = f"{count(search.repeats, 'search', 'searches')} of {count(search.trials, 'ask')}"
        said.insert(1, f"{each} in {tuned:,} of them")
        return f"{', '.join(said)} for each choice: at most {total:,} trials"
    return f"{', '.join(said)}: {total:,} trials"
