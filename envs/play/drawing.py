"""The moving part of the page as HTML: both frames, and the curves of reward and likeness below them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np

from sfvgen_plan.envs.play.session import Moment, Session, Side

WIDTH, HEIGHT, MARGIN = 640, 76, 8
"""Of the curves, in units of their own; they scale with the page."""

HIGHEST_REWARD = 10.0


def stage(session: Session) -> str:
    """Real and imagined frame of the moment with what is known of each."""
    moment = session.moment
    memory = f"memory on, {_count(moment.learnt, 'learning step')}" if moment.memory else "memory off"
    likeness = f"{moment.psnr:.1f} dB PSNR to the real frame"
    return (
        '<div class="play-stage">'
        f"{_figure('real', 'Real', moment.real, 'MuJoCo')}"
        f"{_figure('imagined', 'Imagined', moment.imagined, f'{likeness} · {memory}')}"
        "</div>"
    )


def headline(session: Session) -> str:
    """Task and instruction, and where the game stands."""
    moment = session.moment
    return (
        '<div class="play-head">'
        f"<h1>{escape(session.task)}</h1><p>{escape(session.instruction)}</p>"
        f'<p class="play-where">branch <b>{session.name}</b> · decision <b id="play-decision">{moment.decision}</b>'
        f" · scene <b>{session.seed}</b></p></div>"
    )


def curves(moments: Sequence[Moment], at: int) -> str:
    """Rewards of both worlds along a branch, with a mark where the game stands."""
    count = max(len(moments) - 1, 10)  # a short game doesn't fill the width yet

    def across(decision: int) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * decision / count

    def line(kind: str) -> str:
        sides = [(m.decision, getattr(m, kind).reward) for m in moments if m.action is not None]
        points = [f"{across(n):.1f},{_height(reward):.1f}" for n, reward in sides]
        dots = [f'<circle class="{kind}" cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="2.4"/>' for p in points]
        return f'<polyline class="{kind}" points="{" ".join(points)}"/>{"".join(dots)}'

    grid = "".join(
        f'<line class="grid" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{_height(r):.1f}" y2="{_height(r):.1f}"/>'
        for r in (0.0, 5.0, 10.0)
    )
    here = f'<line class="here" x1="{across(at):.1f}" x2="{across(at):.1f}" y1="0" y2="{HEIGHT}"/>'
    return (
        '<figure class="play-curves"><figcaption>Reward per decision, 0 to 10 '
        '<span class="key real">real</span> <span class="key imagined">imagined</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Rewards along the branch">{grid}{here}{line("real")}{line("imagined")}</svg></figure>'
    )


def _figure(kind: str, title: str, side: Side, note: str) -> str:
    if side.success:
        badge = '<span class="badge now">solved</span>'
    elif side.solved:
        badge = '<span class="badge">was solved</span>'
    else:
        badge = ""
    reward = "–" if side.reward is None else f"{side.reward + 0.0:.2f}"
    chance = f" · success {100 * side.probability:.0f} %" if kind == "imagined" else ""
    return (
        f'<figure class="{kind}"><div class="name"><span>{title}</span>{badge}</div>'
        f'<img src="{_data_uri(side.frame)}" alt="{title} frame"/>'
        f"<figcaption><b>reward {reward}{chance}</b><br/>{escape(note)}</figcaption></figure>"
    )


def _data_uri(frame: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _height(reward: float) -> float:
    """Where a reward is drawn; what the model expects may lie outside of 0 to 10."""
    share = min(max(reward / HIGHEST_REWARD, 0.0), 1.0)
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
