"""The leaderboard as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

Names of agents, tasks, protocols and devices come from stores that anybody may have written; all of them are escaped,
and the page's content security policy forbids scripts and requests besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from sfvgen_plan.benchmarks.report.charts import COLOURS, Line, Point, interval_bar, line_chart, scatter
from sfvgen_plan.benchmarks.report.clips import Clip, chosen
from sfvgen_plan.benchmarks.report.references import Published, published_beside
from sfvgen_plan.benchmarks.report.standings import Board, Standing
from sfvgen_plan.benchmarks.report.summary import percentage
from sfvgen_plan.benchmarks.report.tables import (
    PUBLISHED,
    caveat,
    improvement_lines,
    interval,
    learning,
    left_out,
    published_lines,
    remark,
    title_of,
)
from sfvgen_plan.benchmarks.robust import performance_profile

POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src data:"
TOP = 40
"""Agents of each protocol that a report shows unless told otherwise; more columns than that nobody reads."""

PROFILE_POINTS = 50

CLIP_BYTES = 12_000_000
"""Of a page, for videos; more of them are left out."""


def report(
    boards: Sequence[Board], top: int | None = TOP, when: str = "", clips: Sequence[tuple[Clip, Path]] = ()
) -> str:
    """The whole page. ``when`` says when the rows were read; ``clips`` are videos of episodes."""
    films = [_films(board, top, clips, CLIP_BYTES // len(boards)) for board in boards]
    style = (resources.files(__package__) / "report.css").read_text()
    contents = "".join(f'<li><a href="#board-{n}">{escape(title_of(board))}</a></li>' for n, board in enumerate(boards))
    body = "".join(section for n, board in enumerate(boards) for section in _section(board, n, top, films[n]))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sfvgen-plan leaderboard</title><style>{style}</style></head><body>"
        "<h1>sfvgen-plan leaderboard</h1>"
        f'<p class="soft">Success of agents in the real simulator, one row stored per episode. {escape(when)}</p>'
        + (f"<nav><ul>{contents}</ul></nav>" if len(boards) > 1 else "")
        + f"{body}</body></html>\n"
    )


def _section(board: Board, number: int, top: int | None, films: str) -> Iterator[str]:
    names = board.names()[:top]
    yield f'<section id="board-{number}"><h2>{escape(title_of(board))}</h2>'
    rules = f"{len(board.tasks)} tasks, at most {board.limit} decisions an episode. Ranked by any-time success."
    yield f'<p class="soft">{rules}</p>'
    yield _ranking(board, names)
    yield f'<p class="soft">{escape(caveat(board) + left_out(board, top))}</p>'
    yield f"<h3>Any-time success % by task</h3>{_heat_map(board, names)}"
    yield '<div class="charts">'
    yield from _charts(board, names)
    yield "</div>"
    yield f"<h3>Cost of planning and learning</h3>{_costs(board, names)}"
    yield films
    improvements = improvement_lines(board)
    if improvements:
        yield "<h3>Probability of improvement, each agent over the next</h3>"
        lines = ([escape(cell) for cell in line] for line in improvements)
        yield _table(("agent", "over", "probability"), lines, texts=(0, 1))
    for block in published_beside(board.protocol):
        yield _published(block)
    yield "</section>"


def _ranking(board: Board, names: Sequence[str]) -> str:
    header = ("#", "agent", "success %, any-time", "success %, final", "speed of success, IQM", "episodes", "errors")
    lines = []
    for standing, name, place, speed in zip(board.standings, names, board.places, board.speed, strict=False):
        why = remark(board, standing).removeprefix(" · ")
        tag = f' <span class="tag">{escape(why)}</span>' if why else ""
        cells = (
            f'<td class="rank">{"–" if place is None else place}</td>',
            f'<td class="name">{escape(name)}{tag}</td>',
            f"<td>{percentage(standing.success_any)}{interval_bar(standing.success_any, standing.control)}</td>",
            f"<td>{percentage(standing.success_final)}</td>",
            f"<td>{interval(speed)}</td>",
            f"<td>{standing.episodes:,}</td>",
            f"<td>{standing.errors}</td>",
        )
        lines.append(f"<tr{' class=control' if standing.control else ''}>{''.join(cells)}</tr>")
    head = "".join(f"<th{' class=name' if name == 'agent' else ''}>{name}</th>" for name in header)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _heat_map(board: Board, names: Sequence[str]) -> str:
    shown = board.standings[: len(names)]
    head = '<th class="name">task</th>' + "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for task in board.tasks:
        cells = "".join(_heat_cell(standing, task) for standing in shown)
        lines.append(f'<tr><td class="name">{escape(task)}</td>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="heat"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody>'
        "</table></div>"
    )


def _heat_cell(standing: Standing, task: str) -> str:
    totals = standing.tasks.get(task)
    if not totals:
        return "<td>·</td>"
    share = totals.any_time / totals.episodes
    return f'<td style="--v:{share:.2f}" title="{totals.any_time} of {totals.episodes}">{100 * share:.0f}</td>'


def _charts(board: Board, names: Sequence[str]) -> Iterator[str]:
    complete = [index for index in range(len(names)) if board.complete(board.standings[index])]
    lines = [_profile(board, index, names[index]) for index in complete[:COLOURS]]
    if lines:
        more = f" The first {COLOURS} of {len(complete)} agents." if len(complete) > COLOURS else ""
        yield _figure(
            "Success over time",
            f"Share of the episodes solved within so many decisions (performance profile), %.{more}",
            line_chart(lines, "decisions", board.limit),
        )
    points = [
        Point(name, standing.imagined_per_plan, standing.success_any)
        for name, standing in zip(names, board.standings, strict=False)
    ][: 2 * COLOURS]
    yield _figure(
        "Success against planning budget",
        "Any-time success, %, over the decisions imagined for each plan.",
        scatter(points, "imagined decisions per plan"),
    )
    for device in sorted(
        {device for standing in board.standings[: len(names)] for device in standing.seconds if device}
    ):
        timed = [
            Point(name, standing.seconds_per_plan[device], standing.success_any)
            for name, standing in zip(names, board.standings, strict=False)
            if device in standing.seconds and len(standing.seconds) == 1
        ][: 2 * COLOURS]
        if any(point.x > 0 for point in timed):
            caption = f"Any-time success, %, over the time for each plan on {device}."
            yield _figure("Success against planning time", caption, scatter(timed, "seconds per plan"))


def _profile(board: Board, index: int, name: str) -> Line:
    limit = board.limit
    steps = sorted({round(limit * n / PROFILE_POINTS) for n in range(PROFILE_POINTS + 1)})
    # Solved within n decisions is a score above (limit - n) / limit; half a step keeps rounding out of it.
    thresholds = [(limit - n + 0.5) / limit for n in steps]
    share, low, high = performance_profile(board.standings[index].scores(limit), thresholds, min(board.resamples, 500))
    return Line(name, list(zip(steps, share, strict=True)), list(low), list(high))


def _figure(title: str, caption: str, drawing: str) -> str:
    return (
        f'<figure><figcaption><strong>{title}</strong><br><span class="soft">{escape(caption)}</span></figcaption>'
        f"{drawing}</figure>"
    )


def _costs(board: Board, names: Sequence[str]) -> str:
    header = ("agent", "seconds per plan", "device", "denoiser calls per plan", "imagined decisions per plan",
              "learning")  # fmt: skip
    lines = []
    for name, standing in zip(names, board.standings, strict=False):
        per_device = sorted(standing.seconds_per_plan.items())
        lines.append(
            (
                escape(name),
                "<br>".join(f"{value:.4f}" for _, value in per_device),
                "<br>".join(escape(device) for device, _ in per_device),
                f"{standing.calls_per_plan:.1f}",
                f"{standing.imagined_per_plan:.0f}",
                escape(learning(board, standing)),
            )
        )
    return _table(header, lines, texts=(0, 2, 5))


def _films(board: Board, top: int | None, clips: Sequence[tuple[Clip, Path]], budget: int) -> str:
    """Episodes of the board's agents, successes first."""
    agents = [(standing.agent, standing.checkpoint) for standing in board.standings[:top]]
    names = dict(zip(agents, board.names()[:top], strict=True))
    own = [
        item
        for item in clips
        if (item[0].protocol, item[0].protocol_hash) == (board.protocol, board.protocol_hash)
        and (item[0].agent, item[0].checkpoint) in names
    ]
    shown = chosen(own, agents, budget)
    if not shown:
        return ""
    figures = "".join(_film(clip, names[clip.agent, clip.checkpoint], uri) for clip, uri in shown)
    more = f" {len(own) - len(shown)} more are not shown." if len(own) > len(shown) else ""
    about = (
        "Left: the real simulator. Right, where there is one: the same actions imagined from the first frame on, "
        f"which is the only real one there.{more}"
    )
    return f'<h3>Episodes</h3><p class="soft">{about}</p><div class="films">{figures}</div>'


def _film(clip: Clip, name: str, uri: str) -> str:
    outcome = "failed" if clip.solved is None else f"solved at decision {clip.solved}"
    kind = "failed" if clip.solved is None else "solved"
    label = escape(f"{name}, {clip.task}, seed {clip.seed}: {outcome}", quote=True)
    return (
        f'<figure class="film {kind}"><video controls loop muted playsinline preload="metadata" aria-label="{label}" '
        f'src="{uri}"></video><figcaption><strong>{escape(name)}</strong> · {escape(clip.task)} · seed {clip.seed}<br>'
        f'<span class="outcome">{outcome}</span></figcaption></figure>'
    )


def _published(block: Published) -> str:
    lines = ([escape(cell) for cell in line] for line in published_lines(block))
    return (
        f'<div class="published"><h3>{PUBLISHED}</h3>'
        f'<p><a href="{escape(block.url)}">{escape(block.source)}</a><br>'
        f'<span class="soft">Protocol: {escape(block.protocol)}</span></p>'
        f"{_table(('agent', 'success %', 'note'), lines, texts=(0, 2))}</div>"
    )


def _table(header: Sequence[str], lines: Iterable[Sequence[str]], texts: Sequence[int] = (0,)) -> str:
    """A table of cells that are HTML already; the first column holds names, those of ``texts`` start at the left."""

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = ["name" if not n else "left" if n in texts else "" for n in range(len(cells))]
        marked = (
            f"<{tag}{f' class={kind}' if kind else ''}>{cell}</{tag}>" for cell, kind in zip(cells, kinds, strict=True)
        )
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(row(line, "td") for line in lines)
    return f'<div class="scroll"><table><thead>{row(header, "th")}</thead><tbody>{body}</tbody></table></div>'
