"""Videos of episodes, and what the report makes of them."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from stored_rows import PROTOCOL, rows_of

from sfvgen_plan.benchmarks.report import page
from sfvgen_plan.benchmarks.report.clips import GAP, ClipMaker, clip_of, films
from sfvgen_plan.benchmarks.report.standings import Board, boards
from sfvgen_plan.benchmarks.results import EpisodeKey, EpisodeRow
from sfvgen_plan.benchmarks.running.episodes import Job, Recording
from sfvgen_plan.benchmarks.running.side_by_side import imagined
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulator import LearnedSimulator


@pytest.fixture(scope="module")
def simulator(small_checkpoint: Path) -> LearnedSimulator:
    return load_checkpoint(small_checkpoint).simulator()


def recording(task: str = "reach-v3", seed: int = 0, solved: int | None = None, decisions: int = 11) -> Recording:
    frames = np.full((decisions + 1, 32, 32, 3), 60, np.uint8)
    frames[:, :16] += np.arange(decisions + 1, dtype=np.uint8)[:, None, None, None] * 10
    success = np.arange(decisions + 1) >= (solved or 99)
    actions = np.random.default_rng(seed).uniform(-1, 1, (decisions, 4)).astype(np.float32)
    return Recording(Job(task, seed), frames, success, actions)


def maker(store: Path, count: int, simulator: Any = None, rows: Any = (), agent: str = "mine") -> ClipMaker:
    return ClipMaker(store, (EpisodeKey(PROTOCOL.id, "", agent, 0, "abc"), PROTOCOL.rules_hash), simulator, count, rows)


def test_a_clip_shows_the_real_episode_left_and_the_imagined_one_right(
    tmp_path: Path, simulator: LearnedSimulator
) -> None:
    episode = recording(solved=7)
    assert maker(tmp_path / "all.sqlite", 1, simulator).add(episode)
    (video,) = (tmp_path / "all.clips").iterdir()
    frames = np.stack(list(imageio.get_reader(video).iter_data())).astype(int)
    assert frames.shape == (12, 32, 64 + GAP, 3)
    for side, wanted in ((slice(0, 32), episode.frames), (slice(32 + GAP, None), imagined(episode, simulator))):
        shown = frames[:, :, side].mean(axis=(1, 2, 3))
        np.testing.assert_allclose(shown, wanted.mean(axis=(1, 2, 3)), atol=8)  # the codec is not exact


def test_so_many_of_each_kind_and_task_are_kept_also_by_a_run_that_goes_on(
    tmp_path: Path, simulator: LearnedSimulator
) -> None:
    store, tasks = tmp_path / "all.sqlite", PROTOCOL.tasks[:2]
    rows = rows_of("mine", 2, tasks)
    episodes = [recording(row.task, row.seed, 3 if row.success_any else None, 4) for row in rows]
    first = maker(store, 1)
    kept = [episode.job for episode in episodes if first.add(episode)]
    assert [(job.task, job.seed) for job in kept] == [(task, seed) for task in tasks for seed in (0, 2)]
    assert not any(map(maker(store, 1, rows=rows).add, episodes))
    assert maker(store, 1, agent="another").add(episodes[0])
    broken = replace(recording(), actions=np.full((11, 4), np.nan, np.float32))
    assert not maker(store, 9, simulator).add(broken), "a video is not worth an evaluation"


def board(*agents: str) -> Board:
    (found,) = boards([row for agent in agents for row in rows_of(agent, 5)])
    return found


def clips_of(store: Path, rows: list[EpisodeRow], size: int = 1000) -> None:
    for row in rows:
        path = clip_of(store, row.key, row.protocol_hash)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0" * size)


def test_every_agent_gets_a_success_and_a_failure_before_anybody_gets_more(tmp_path: Path) -> None:
    store, found = tmp_path / "all.sqlite", board("a", "b")
    assert films(found, [store], 10**6) == ([], 0)
    clips_of(store, [row for own in found.standings for row in own.summary.rows if row.seed in (4, 5)])
    uri = len("data:video/mp4;base64,") + len(base64.b64encode(b"\0" * 1000))
    shown, more = films(found, [store], 5 * uri)
    first, second = PROTOCOL.tasks[:2]
    assert [(name, row.task, row.success_any) for name, row, _ in shown] == [
        ("a", first, True), ("a", second, True), ("a", first, False), ("b", first, True), ("b", first, False),
    ]  # fmt: skip
    assert more == 35


def test_the_report_holds_its_own_videos_stays_small_and_shows_names_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, found = tmp_path / "all.sqlite", board('"><script>alert(1)</script>')
    clips_of(store, list(found.standings[0].summary.rows)[:4])
    html = page.report([found], stores=[store])
    assert html.count("<video ") == 4
    assert "<script>" not in html
    assert "media-src data:" in html
    (uri, *_) = re.findall(r'src="data:video/mp4;base64,([^"]*)"', html)
    assert base64.b64decode(uri) == b"\0" * 1000
    assert not re.findall(r'(?:src|href)="(?!data:|#|https)', html)
    assert "<video" not in page.report([found])
    monkeypatch.setattr(page, "CLIP_BYTES", 3000)
    html = page.report([found], stores=[store])
    assert html.count("<video ") == 2 and "2 more are not shown" in html
