"""Names, values and tracebacks with markup in them are text in the report."""

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from stored import stored

import dlx
from dlx import claims, figures, report
from dlx.report.content import Code, Facts, Folded, Items, Judged, Page, Paragraph, Section, Table
from dlx.report.markdown import escape, fenced, rows

BAD = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</td></table><b>x</b>", "{{ 7*7 }}{% raw %}",
       "</style><style>*{display:none}", "[x](javascript:alert(1)) ![y](http://h/z)", "| a | `b` | **c** |",
       "&lt;i&gt; &amp; $x^2$", "a\u202egnp.exe\x1b[31m")
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@dataclass(frozen=True)
class Hostile(dlx.Trial):
    name: str
    fails: bool = False
    size: int = 1

    def run(self, ctx):
        if self.fails:
            raise RuntimeError(f"{self.name}\n```\n</pre></details><script>alert(2)</script>")
        return {f"test/{self.name}"[:40]: 1.0, "test/error": 0.5 + 0.1 * ctx.rng("n").normal()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    study = dlx.Study(
        "hostile", f"Is {BAD[0]} {BAD[1]} text?", Hostile(dlx.grid(*BAD), dlx.grid(False, True), dlx.grid(1, 2)),
        seeds=2,
        claims=[claims.Lower("test/error", {"name": BAD[0]}, than={"name": BAD[1]}, name=f"named {BAD[2]}")],
        figures=[figures.Curves(x="size", y="test/error", title=f"drawn {BAD[1]}", name=f"x{BAD[2]}")],
    )
    return report.write(stored(study, folder))


def test_nothing_of_it_is_obeyed_in_html(written, parse):
    text = written.html.read_text()
    page = parse(text)
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    for bad in (*BAD[:-1], f"named {BAD[2]}"):
        assert bad in page.text
    assert any(f"drawn {BAD[1]}" in attributes["alt"] for tag, attributes in page.tags if tag == "img")
    assert "\x1b" not in text and "\u202e" not in text


def test_it_would_be_seen_if_it_were_obeyed(parse):
    """The parser that other tests trust refuses what an unescaped name would bring in."""
    for bad in BAD[:3]:
        with pytest.raises(AssertionError):
            parse(f"<html><body><table><tr><td>{bad}</td></tr></table></body></html>")


def test_nothing_of_it_is_obeyed_in_markdown(written):
    html = MARKDOWN.render(re.sub(r"<details><summary>.*?</summary>|</details>", "", written.markdown.read_text()))
    assert not re.search(r"<(script|b|i|style|iframe)\b", html)
    assert all(src.startswith("figures/") for src in re.findall(r"<img src=\"([^\"]*)\"", html))
    assert "href=" not in html
    assert all("alert" not in s and "<" not in s for s in
               re.findall(r"<summary>(.*)</summary>", written.markdown.read_text()) if "&lt;" not in s)


def read_back(markdown, tag="p"):
    """The text that a renderer shows."""
    from html import unescape

    return unescape(re.sub(r"^<\w+>|</\w+>\n?$", "", MARKDOWN.render(markdown)))


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs")), min_size=1, max_size=40))
def test_escaped_text_reads_as_it_was(text):
    assert read_back(escape(text)) == text


@given(st.lists(st.text("ab1.-+#=*_`~[]()!|\\<>&$: ", max_size=12), min_size=2, max_size=2))
def test_cells_of_tables_read_as_they_were(values):
    html = MARKDOWN.render(rows(("a", "b"), [values]))
    found = re.findall(r"<td[^>]*>(.*?)</td>", html)
    from html import unescape

    assert [unescape(cell) for cell in found] == [" ".join(v.split()) for v in values]


def test_commands_are_quoted_for_a_shell(tmp_path):
    study = dlx.Study("two words", "?", Hostile("x"), seeds=2, presets={"; rm -rf b": {"seeds": 1}})
    text = report.write(stored(study.preset("; rm -rf b"), tmp_path)).markdown.read_text()
    assert "dlx run 'two words' --preset '; rm -rf b'\n" in text and "dlx run two" not in text


@given(st.text("ab`~ \n<", max_size=30))
def test_code_stays_inside_its_fence(text):
    tokens = MARKDOWN.parse(fenced(text))
    assert [t.type for t in tokens] == ["fence"] and tokens[0].content == f"{text}\n"


def test_hostile_blocks_of_every_kind_are_text(parse):
    bad = BAD[0]
    judged = Judged(bad, bad, "undecided", "exploratory", ((bad, bad),), (bad,))
    table = Table((bad,), ((bad,),), bad)
    blocks = (Paragraph(bad, True), Items((bad,)), Facts(((bad, bad),)), Code(bad), table, Folded(bad, Code(bad)),
              judged)
    page = Page(bad, bad, (bad,), (bad,), (Section("a", bad, blocks),), bad)
    shown = parse(report.render_html(page))
    assert shown.text.count(bad) == 23
    twin = re.sub(r"```text\n.*?\n```", "", report.render_markdown(page), flags=re.DOTALL)
    assert "<script" not in twin
