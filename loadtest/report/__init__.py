"""Records as a page for people: verdict, figures, plots, conditions."""

from loadtest.report.page import html_of

__all__ = ["html_of"]
