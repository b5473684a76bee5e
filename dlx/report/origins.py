"""Sections that let someone else judge and repeat a study: failures, how to reproduce, protocol and methods."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dlx.plan import duration
from dlx.records import DIVERGED, FAILED, FINAL, PARENT, RECHECK, TUNE
from dlx.report.content import Block, Code, Facts, Folded, Items, Paragraph, Section, table
from dlx.report.words import command, number, several
from dlx.tables import LONGEST, last_line
from dlx.text import clean, count, cut

if TYPE_CHECKING:
    from dlx.declaration import Declaration, Nuisance
    from dlx.results import Results

MOST_REASONS = 20
LONGEST_TRACEBACK = 10_000  # characters
SEARCHES = {
    "tpe": "Bergstra, Bardenet, Bengio and Kégl (2011). Algorithms for hyper-parameter optimization. NIPS 24.",
    "cma": "Hansen (2016). The CMA evolution strategy: a tutorial. arXiv:1604.00772.",
}
PHASES = (PARENT, TUNE, RECHECK, FINAL)


def failures(results: "Results") -> Section | None:
    """Distinct reasons why trials failed or diverged, with one traceback each."""
    blocks: list[Block] = []
    for status, noun in ((FAILED, "failed"), (DIVERGED, "diverged")):
        texts = results.table.filter(pc.equal(results.table["status"], status))["error"].to_pylist()
        if not texts:
            continue
        reasons: defaultdict[str, list[str]] = defaultdict(list)
        for text in texts:
            reasons[clean(cut(last_line(text), LONGEST))].append(text or "")
        ordered = sorted(reasons.items(), key=lambda pair: -len(pair[1]))
        blocks.append(Paragraph(f"{count(len(texts), 'trial')} {noun}, for {count(len(ordered), 'reason')}."))
        blocks += [_reason(said, alike) for said, alike in ordered[:MOST_REASONS]]
        if len(ordered) > MOST_REASONS:
            blocks.append(Paragraph(f"{len(ordered) - MOST_REASONS:,} rarer reasons are in the column error of: "
                                    f"{command('dlx', 'export', results.declaration.name, '--to', 'csv')}"))
    return Section("failures", "Failures", tuple(blocks)) if blocks else None


def _reason(said: str, alike: Sequence[str]) -> Folded:
    text = alike[0] if len(alike[0]) <= LONGEST_TRACEBACK else f"…{alike[0][-LONGEST_TRACEBACK:]}"
    lines = "\n".join(map(clean, text.splitlines()))
    return Folded(f"{len(alike):,} × {said}", Code(lines or "no traceback is stored"))


# ---------------------------------------------------------------- how to reproduce


def reproduce(results: "Results", command: str) -> Section:
    """Command, code, versions, hardware, time, and what is still missing."""
    origin = _origin(results)
    rows = results.store.trials(set(results.table["key"].to_pylist()), ["started", "seconds", "host", "device",
                                                                        "versions", "source", "members"])
    blocks: list[Block] = [Code(clean(command))]
    last = last_command(results)
    facts = [("last run as", "" if last == command else last), ("code", _code(origin)), ("trials", _stored(results))]
    if len(rows):
        facts += [
            ("ran", _when(pc.min(rows["started"]).as_py(), pc.max(rows["started"]).as_py())),
            ("computing", f"{duration(pc.sum(rows['seconds']).as_py())} in packs of up to "
                          f"{count(pc.max(rows['members']).as_py(), 'trial')}"),
            ("machines", several(_distinct(rows, "host"))), ("devices", several(_distinct(rows, "device"))),
            ("versions", _versions(rows, origin)), ("trials' own source", _sources(rows)),
        ]
    facts.append(("hardware", "; ".join(f"{name} {value}" for name, value in _group(origin, "hardware").items())))
    blocks.append(Facts(tuple((term, clean(text)) for term, text in facts if text)))
    return Section("reproduce", "How to reproduce", tuple(blocks))


def last_command(results: "Results") -> str:
    """The command line of the last run, without the place of the program."""
    return re.sub(r"^[^\s'\"]*/", "", _origin(results).get("command", ""))


def _origin(results: "Results") -> Mapping[str, str]:
    """What the study was last run with, as the home has it."""
    from dlx.declaration import Declaration

    said = results.declaration
    stored = None if said.origin else Declaration.stored(results.store, said.variant)
    return stored.origin if stored else said.origin


def _code(origin: Mapping[str, str]) -> str:
    if not (commit := origin.get("commit")):
        return "outside a git repository" if origin else ""
    branch = f" on {origin['branch']}" if "branch" in origin else ""
    changed = ", with uncommitted changes" if origin.get("dirty") == "true" else ", nothing uncommitted"
    return f"commit {commit}{branch}{changed}"


def _stored(results: "Results") -> str:
    phases = Counter(results.table["phase"].to_pylist())
    said = ", ".join(f"{phases[p]:,} {p}" for p in PHASES if phases[p])
    missing = f"{results.missing:,} final trials are missing" if results.missing else "nothing is missing"
    return f"{count(len(results.table), 'trial')} stored{f' ({said})' if len(phases) > 1 else ''}; {missing}"


def _when(first: datetime, last: datetime) -> str:
    """The days on which trials started, and the hours where it was one day."""
    if first.date() != last.date():
        return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    hours = f"{first:%H:%M}" + (f" to {last:%H:%M}" if f"{first:%H:%M}" != f"{last:%H:%M}" else "")
    return f"{first:%Y-%m-%d}, {hours} UTC"


def _distinct(rows: pa.Table, column: str) -> list[str]:
    return sorted(str(v) for v in pc.unique(rows[column]).to_pylist() if v)


def _versions(rows: pa.Table, origin: Mapping[str, str]) -> str:
    """Versions on the workers, all that occur, then the driver's of other packages."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for text in _distinct(rows, "versions"):
        for package, version in _object(text).items():
            found[package].add(str(version))
    for package, version in _group(origin, "versions").items():
        found[package] = found.get(package) or {version}
    return ", ".join(f"{package} {' and '.join(sorted(found[package]))}" for package in sorted(found))


def _sources(rows: pa.Table) -> str:
    digests = _distinct(rows, "source")
    changed = f"; {len(digests)} states of it, as it changed between runs" if len(digests) > 1 else ""
    return f"digest {several((d[:12] for d in digests), 6)}{changed}" if digests else ""


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _group(origin: Mapping[str, str], name: str) -> dict[str, str]:
    return {key.partition(".")[2]: value for key, value in origin.items() if key.startswith(f"{name}.")}


# ---------------------------------------------------------------- protocol and methods


def protocol(results: "Results") -> Section:
    """What was crossed, what was tuned and how."""
    said = results.declaration
    axes = [[clean(name), "crossed", several(values)] for name, values in said.axes.items()]
    axes += [[clean(name), "tuned", _range(nuisance)] for name, nuisance in said.nuisance.items()]
    facts = [("objective", said.objective and f"{said.objective.direction} {said.objective.metric}"),
             ("search", _search(said)), ("seeds", _seeds(said)),
             ("looks", said.looks and f"at {several(said.looks)} seeds, declared beforehand")]
    blocks: list[Block] = [Facts(tuple((term, clean(text)) for term, text in facts if text))]
    if axes:
        blocks.insert(0, table(["axis", "role", "values"], axes))
    return Section("protocol", "Protocol", tuple(blocks))


def _range(nuisance: "Nuisance") -> str:
    if nuisance.options:
        return f"one of {several(nuisance.options)}"
    return f"{nuisance.kind}, {number(nuisance.low)} to {number(nuisance.high)}"


def _seeds(said: "Declaration") -> str:
    each = "a search, or a cell that is not tuned" if said.search else "a cell"
    return f"{count(len(said.seeds), 'seed')} {each}: {several(said.seeds, 20)}"


def _search(said: "Declaration") -> str:
    if (search := said.search) is None:
        return ""
    searches = count(search.repeats, "independent search", "independent searches")
    text = f"{search.algorithm.upper()}: {searches} a cell, of {count(search.trials, 'trial')} each"
    if search.recheck:
        text += f"; the best {search.top} settings of each run again on {count(search.recheck, 'further seed')}"
    return text


def methods(results: "Results", tests: Sequence[str]) -> Section:
    """What the intervals and tests are."""
    said = results.declaration
    sentences = ["Intervals are 95 % t intervals (Student 1908) over independent draws"]
    sentences[0] += _draws(said)
    if said.claims:
        sentences += [
            "A claim is supported, or refuted, where the p value of that direction, corrected over the study's claims "
            "(Holm 1979), is at most 0.05, and else undecided; it is undecided in any case while final trials are "
            "missing or failed, where fewer than three searches tuned an arm, and where an optimum lies at a bound of "
            "its search space",
            "Diverged trials count as the worst value seen. Claims stated after their trials ran, and seeds added "
            "after a look that was not declared, make a verdict exploratory; fewer than five seeds make it descriptive",
            f"Tests: {several(dict.fromkeys(tests))}" if tests else "",
        ]
    if said.looks:
        sentences.append("The error rate is spent over the declared looks (Lan and DeMets 1983)")
    text = ". ".join(filter(None, sentences)) + "."
    return Section("methods", "Methods", (Paragraph(text), Items(tuple(references(said)))))


def _draws(said: "Declaration") -> str:
    """What the intervals are over."""
    if said.search is None:
        return ", the seeds"
    fresh = ". A search's choice runs on fresh seeds, and its own tuning score is never reported"
    if said.search.repeats == 1:
        return (": the seeds. The seeds of a tuned cell share the choice of its one search, so its interval holds for "
                f"that choice, and says nothing of what another search would have chosen{fresh}")
    return (": for a tuned cell the searches, because all final seeds of a search share its choice, for another the "
            f"seeds{fresh}")


def references(said: "Declaration") -> list[str]:
    """The papers behind what is on the page."""
    found = ["Student (1908). The probable error of a mean. Biometrika 6(1), 1–25."]
    if said.claims:
        found.append("Holm (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
                     "Statistics 6(2), 65–70.")
    if said.looks:
        found.append("Lan and DeMets (1983). Discrete sequential boundaries for clinical trials. Biometrika 70(3), "
                     "659–663.")
    if said.search and said.search.algorithm in SEARCHES:
        found.append(SEARCHES[said.search.algorithm])
    if said.search:
        found.append("Dodge, Gururangan, Card, Schwartz and Smith (2019). Show your work: improved reporting of "
                     "experimental results. EMNLP-IJCNLP. arXiv:1909.03004.")
    return found
