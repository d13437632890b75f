"""Cells and tables in Markdown, and the templates that are filled with them."""

from collections.abc import Iterable, Sequence
from typing import Any

from sfvgen_plan.benchmarks.statistics import percentage, span
from sfvgen_plan.console import counted, readable

ESCAPES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"} | {mark: f"\\{mark}" for mark in "\\`*_[]#"}


def rendered(template: str, **values: Any) -> str:
    """The text that a template of ``benchmarks``, such as ``report/results.md.jinja``, makes of values. What is no
    Markdown is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sfvgen_plan.benchmarks", ""),
        autoescape=lambda name: name is not None and ".md." not in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "markdown": markdown,
        "plain": plain,
        "span": span,
        "readable": readable,
        "counted": counted,
    }
    environment.filters["percentage"] = percentage
    return environment.get_template(template).render(**values)


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    numeric = [all(line[i][:1] in "+-0123456789" for line in lines if i < len(line)) for i in range(len(header))]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ([*header], rule, *lines))


def plain(text: str) -> str:
    """Text from outside, so that Markdown shows it as it is."""
    return "".join(ESCAPES.get(letter, letter) for letter in " ".join(text.split()).replace("|", "\\|"))
