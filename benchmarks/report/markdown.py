"""Cells and tables in Markdown, and the templates that are filled with them."""

from collections.abc import Iterable, Sequence
from typing import Any

from sfvgen_plan.benchmarks.statistics import Estimate
from sfvgen_plan.console import counted

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


def span(estimate: Estimate | None, digits: int = 2, factor: float = 1, sign: str = "") -> str:
    """A mean and its interval, such as ``0.62 [0.55, 0.70]``, in units of 1 / ``factor``, with ``sign`` "+" also in
    front of what is not less than 0; empty for None."""
    if estimate is None:
        return ""
    ends = (round(factor * value, digits) + 0.0 for value in (estimate.mean, estimate.low, estimate.high))  # no -0
    middle, low, high = (f"{value:{sign}.{digits}f}" for value in ends)
    return f"{middle} [{low}, {high}]"


def percentage(estimate: Estimate) -> str:
    """Success rate in percent with its interval, such as ``95 [76, 99]``."""
    return span(estimate, 0, 100)


def readable(value: float) -> str:
    """A number as people write it, such as ``158,100`` or ``0.0562``."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
