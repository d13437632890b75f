"""Videos of episodes, and what the report makes of them and of the cost of learning."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from stored_rows import PROTOCOL, rows_of

from sfvgen_plan.benchmarks.report.clips import GAP, Clip, ClipMaker, chosen, folder_of, read_clips
from sfvgen_plan.benchmarks.report.page import CLIP_BYTES, report
from sfvgen_plan.benchmarks.report.standings import Board, boards, ranked_rows
from sfvgen_plan.benchmarks.report.tables import learning
from sfvgen_plan.benchmarks.results.import_export import Results
from sfvgen_plan.benchmarks.results.store import Run
from sfvgen_plan.benchmarks.running.episodes import Job, Recording
from sfvgen_plan.benchmarks.running.side_by_side import imagined
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulator import LearnedSimulator

OF = {"protocol": PROTOCOL.id, "protocol_hash": PROTOCOL.rules_hash, "agent": "mine", "checkpoint": "abc"}


@pytest.fixture(scope="module")
def simulator(small_checkpoint: Path) -> LearnedSimulator:
    return load_checkpoint(small_checkpoint).simulator()


def recording(task: str = "reach-v3", seed: int = 0, solved: int | None = None, decisions: int = 11) -> Recording:
    generator = np.random.default_rng(seed)
    frames = np.full((decisions + 1, 32, 32, 3), 60, np.uint8)
    frames[:, :16] += np.arange(decisions + 1, dtype=np.uint8)[:, None, None, None] * 10
    success = np.zeros(decisions + 1, bool)
    if solved:
        success[solved:] = True
    actions = generator.uniform(-1, 1, (decisions, 4)).astype(np.float32)
    return Recording(Job(task, seed), frames, success, actions)


def test_a_clip_shows_the_real_episode_left_and_the_imagined_one_right(
    tmp_path: Path, simulator: LearnedSimulator
) -> None:
    store = tmp_path / "all.sqlite"
    episode = recording(solved=7)
    assert ClipMaker(store, OF, simulator, 1).add(episode)
    ((clip, video),) = read_clips([store])
    assert (clip.solved, clip.seed, clip.imagined) == (7, 0, simulator.checkpoint.hash)
    frames = np.stack(list(imageio.get_reader(video).iter_data())).astype(int)
    assert frames.shape == (12, 32, 64 + GAP, 3)
    for side, wanted in ((slice(0, 32), episode.frames), (slice(32 + GAP, None), imagined(episode, simulator))):
        shown = frames[:, :, side].mean(axis=(1, 2, 3))
        np.testing.assert_allclose(shown, wanted.mean(axis=(1, 2, 3)), atol=8)  # the codec is not exact


def test_so_many_of_each_kind_and_task_are_kept_also_by_a_run_that_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "all.sqlite"
    episodes = [recording(task, seed, 3 if seed % 2 else None) for task in ("a", "b") for seed in range(8)]
    for _ in range(2):
        maker = ClipMaker(store, OF, None, 2)
        kept = [episode.job for episode in episodes if maker.add(episode)]
    assert kept == []
    found = [(clip.task, clip.solved is not None) for clip, _ in read_clips([store])]
    assert sorted(found) == sorted([(task, solved) for task in "ab" for solved in (True, False)] * 2)
    other = ClipMaker(store, OF | {"agent": "another"}, None, 1)
    assert other.add(episodes[0])


def test_what_is_no_clip_is_passed_over(tmp_path: Path, simulator: LearnedSimulator) -> None:
    store = tmp_path / "all.sqlite"
    assert ClipMaker(store, OF, None, 3).add(recording())
    ((clip, video),) = read_clips([store])
    good = json.loads(video.with_suffix(".json").read_text())
    bad: list[Any] = [{**good, "seed": "<b>1"}, {**good, "solved": "<b>"}, {**good, "extra": 1}, {"task": "x"}, [1], 7]
    for number, content in enumerate(bad):
        folder_of(store).joinpath(f"bad{number}.json").write_text(json.dumps(content))
        folder_of(store).joinpath(f"bad{number}.mp4").write_bytes(video.read_bytes())
    folder_of(store).joinpath("torn.json").write_text('{"task": ')
    folder_of(store).joinpath("lonely.json").write_text(json.dumps(good))
    assert read_clips([store]) == [(clip, video)]
    broken = replace(recording(), actions=np.full((11, 4), np.nan, np.float32))
    assert not ClipMaker(store, OF | {"agent": "nan"}, simulator, 1).add(broken)


def clips_of(folder: Path, agent: str, size: int = 1000) -> list[tuple[Clip, Path]]:
    found = []
    for task in PROTOCOL.tasks[:2]:
        for solved in (4, None):
            clip = Clip(**OF | {"agent": agent}, task=task, seed=1, solved=solved)
            path = folder / f"{clip.name}{solved}.mp4"
            path.write_bytes(b"\0" * size)
            found.append((clip, path))
    return found


def test_the_first_agents_get_a_success_and_a_failure_each_before_anybody_gets_more(tmp_path: Path) -> None:
    videos = clips_of(tmp_path, "mine") + clips_of(tmp_path, "other")
    agents = [("other", "abc"), ("mine", "abc")]
    uri = len("data:video/mp4;base64,") + len(base64.b64encode(b"\0" * 1000))
    shown = [(clip.agent, clip.task, clip.solved) for clip, _ in chosen(videos, agents, 5 * uri)]
    first, second = sorted(PROTOCOL.tasks[:2])
    assert shown == [
        ("other", first, 4), ("other", second, 4), ("other", first, None), ("mine", first, 4), ("mine", first, None),
    ]  # fmt: skip
    assert len(chosen(videos, agents, 10**6)) == 8
    assert chosen(videos, [("nobody", "")], 10**6) == []


def board(agent: str, *records: dict[str, Any]) -> Board:
    runs = [Run.new(agent, PROTOCOL.id, "abc", record) for record in records]
    (found,) = boards(Results(rows_of(agent, 0), runs))
    return found


def test_the_report_holds_its_own_videos_stays_small_and_shows_names_as_text(tmp_path: Path) -> None:
    nasty = '"><script>alert(1)</script>'
    page = report([board(nasty)], clips=clips_of(tmp_path, nasty) + clips_of(tmp_path, "stranger"))
    assert page.count("<video ") == 4
    assert "<script>" not in page
    assert "media-src data:" in page
    (uri, *_) = re.findall(r'src="data:video/mp4;base64,([^"]*)"', page)
    assert base64.b64decode(uri) == b"\0" * 1000
    assert not re.findall(r'(?:src|href)="(?!data:|#|https)', page)
    assert "<video" not in report([board("mine")], clips=[])
    other = [(replace(clip, protocol_hash="0123"), path) for clip, path in clips_of(tmp_path, "mine")]
    assert "<video" not in report([board("mine")], clips=other)

    many = [(replace(clip, seed=n), path) for clip, path in clips_of(tmp_path, "mine", 1_900_000) for n in range(5)]
    page = report([board("mine")], clips=many)
    assert 0 < page.count("<video ") < len(many)
    assert len(page) < CLIP_BYTES + 500_000
    assert "more are not shown" in page


def test_the_cost_of_learning_is_that_of_the_newest_run() -> None:
    cost = {"checkpoint": {"seconds": 720.0, "device": "<i>GPU", "episodes": 4000}}
    own = {"agent": {"algorithm": "sac", "decisions": 20000}}
    found = board("mine", {"learning": cost | own, "started": "2"}, {"learning": own, "started": "1"})
    (standing,) = found.standings
    text = learning(standing)
    assert text == "checkpoint: 12 min on <i>GPU, 4,000 episodes; agent: sac, 20,000 imagined decisions"
    assert "12 min on &lt;i&gt;GPU" in report([found])
    assert ranked_rows([found])[0]["standings"][0]["learning"] == cost | own
    for record in ({}, {"learning": 7}, {"learning": {"checkpoint": [1]}}, {"learning": {"agent": {}}}):
        without = board("mine", record)
        assert learning(without.standings[0]) == ""
        report([without])
