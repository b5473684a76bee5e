"""A report's page as a parser sees it."""

from html.parser import HTMLParser

import pytest

VOID = {"meta", "img", "br", "hr", "link", "input"}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "nav", "main", "header", "footer", "section", "article", "h1",
    "h2", "h3", "p", "a", "span", "div", "ol", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr",
    "th", "td", "figure", "figcaption", "img", "details", "summary", "pre", "svg", "rect",
}


class Page(HTMLParser):
    """A page's tags with attributes, its text, the rows of its tables.

    Fails where tags do not match, where a tag or an attribute is not one of the template's, and where anything is
    loaded from elsewhere.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.tables, self._open = [], "", [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert tag in TAGS and len(attributes) == len(attrs)
        assert not any(name.startswith("on") or name in ("style", "srcset", "action") for name in attributes)
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        assert tag == "rect"

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    def table(self, column):
        """The rows of the first table that has a column, by name."""
        rows = next(rows for rows in self.tables if column in rows[0])
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


@pytest.fixture(scope="session")
def parse():
    """HTML as text → what is in it."""
    return Page
