"""Reports: what a study asked, what its results say, and where they come from, as one HTML file and a Markdown twin."""

from dlx.report.build import build
from dlx.report.content import Page
from dlx.report.files import Report, folder_in, write
from dlx.report.html import render_html
from dlx.report.markdown import render_markdown

__all__ = ["Page", "Report", "build", "folder_in", "render_html", "render_markdown", "write"]
