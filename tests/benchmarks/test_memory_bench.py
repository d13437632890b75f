"""The memory benchmark: what is shown and imagined, what is compared with what, rows that survive, the command."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sfvgen_plan.benchmarks import memory_return, memory_revisit
from sfvgen_plan.benchmarks.memory_bench import RevisitBench
from sfvgen_plan.benchmarks.memory_revisit import Dream, away_of, imagine, score, show, true_episode
from sfvgen_plan.benchmarks.memory_rows import COLUMNS, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory_tables import distances, verdicts
from sfvgen_plan.benchmarks.memory_videos import comparison
from sfvgen_plan.cli import main
from sfvgen_plan.envs.memory.tasks import TASKS, make_memory
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.rows import ROWS, simulator_of_row
from sfvgen_plan.metrics.encoder import VideoEncoder
from sfvgen_plan.metrics.frames import MAX_PSNR
from sfvgen_plan.metrics.toolbox import Toolbox
from sfvgen_plan.model.checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from sfvgen_plan.simulation import Outcome

CHUNK = 8


@pytest.fixture(scope="module")
def checkpoint_folder(tmp_path_factory, make_pipeline):
    """An untrained checkpoint of the memory tasks, for frames of 32 pixels."""
    folder = tmp_path_factory.mktemp("memory") / "checkpoint"
    texts = ("reach the red goal", "push the puck to the green goal")
    card = CheckpointCard(dict(zip(TASKS, texts, strict=True)), size=32, camera="own", repeat=5)
    save_checkpoint(folder, make_pipeline(), card, {task: torch.randn(2, 4, 8, 8) for task in TASKS})
    return folder


@pytest.fixture(scope="module")
def checkpoint(checkpoint_folder):
    torch.set_num_threads(1)
    return load_checkpoint(checkpoint_folder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """An untrained encoder's folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder") / "encoder"
    VideoEncoder((8, 8), 16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def episode(checkpoint):
    env = memory_revisit.revisit_env(checkpoint)
    found = true_episode(env, 3, away_of(CHUNK))
    env.close()
    return found


def perfect(episode):
    """A dream that is the truth."""
    after = slice(episode.seen + 1, None)
    return Dream(episode.frames[after].copy(), episode.estimates[after].copy())


class TestEpisodes:
    def test_the_first_way_out_is_shown_and_revisits_of_it_are_known(self, episode):
        env = make_memory("memory/revisit", size=32, pixels=False)
        env.reset(seed=3)
        places = env.layout.places
        assert len(episode.frames) == len(places) == len(episode.actions) + 1
        assert np.allclose(places[episode.seen + 1], places[episode.seen - 1], atol=1e-6), "the turning point"
        assert 10 <= episode.seen <= 20
        assert len(episode.known) >= 10
        for first, again in episode.known:
            assert first <= episode.seen < again
            assert again - first >= CHUNK + 2
            assert np.allclose(places[first], places[again], atol=1e-6)
            assert np.abs(episode.frames[first].astype(int) - episode.frames[again]).max() <= 3

    def test_a_camera_that_never_leaves_is_refused(self, checkpoint):
        fixed = replace(checkpoint, card=replace(checkpoint.card, camera="corner4"))
        with pytest.raises(UserError, match="never leaves"):
            memory_revisit.revisit_env(fixed)

    def test_other_tasks_are_refused(self, small_checkpoint):
        other = load_checkpoint(small_checkpoint)
        with pytest.raises(UserError, match="memory/revisit"):
            memory_revisit.revisit_env(other)
        with pytest.raises(UserError, match="memory/return"):
            memory_return.return_env(other)


class Recorder:
    """A simulator that notes what it is shown, and imagines the truth."""

    device = torch.device("cpu")

    def __init__(self, episode, rule, context_frames=2):
        self.episode, self.context_frames = episode, context_frames
        self.fast_learning = None if rule is None else SimpleNamespace(rule=rule)
        self.learned, self.begun, self.calls = [], None, []

    def _when(self, frames):
        """Which frames of the episode these are."""
        return [int(np.flatnonzero((self.episode.frames == frame).all((1, 2, 3)))[0]) for frame in frames[0]]

    def remember_frames(self, memories, frames, actions, tasks, seeds):
        assert (tasks, seeds) == (["memory/revisit"], [self.episode.seed])
        self.learned.append((memories, self._when(frames), actions.shape[1]))
        return [f"after {len(self.learned)}"]

    def begin(self, frames, tasks, seeds):
        self.begun = self._when(frames)
        return self.episode.seen

    def recall(self, state, memories):
        assert memories == [f"after {len(self.learned)}"]
        return state

    def imagine(self, state, actions):
        count = actions.shape[1]
        self.calls.append(count)
        assert (actions[0].numpy() == self.episode.actions[state : state + count]).all()
        frames = slice(state + 1, state + count + 1)
        none = torch.zeros(1, count)
        estimates = torch.from_numpy(self.episode.estimates[frames])[None]
        return state + count, Outcome(none, none, none, estimates, torch.from_numpy(self.episode.frames[frames])[None])

    def remember(self, state):
        self.calls.append("remember")
        return state

    def decode(self, latents):
        return latents.numpy()


class TestShowing:
    def test_without_memory_only_the_clean_frames(self, episode):
        simulator = Recorder(episode, None)
        show(simulator, episode, CHUNK)
        assert simulator.begun == [episode.seen - 1, episode.seen]
        assert not simulator.learned
        dream = imagine(simulator, episode, CHUNK)
        assert "remember" not in simulator.calls
        assert (dream.frames == episode.frames[episode.seen + 1 :]).all()

    @pytest.mark.parametrize(("rule", "context"), [("local", 2), ("output", 2), ("local", 1)])
    def test_chunks_are_learned_behind_their_input(self, episode, rule, context):
        simulator = Recorder(episode, rule, context)
        show(simulator, episode, CHUNK)
        start = 0
        for number, (memories, frames, actions) in enumerate(simulator.learned):
            assert memories == ([None] if number == 0 else [f"after {number}"])
            stop = min(start + CHUNK, episode.seen)
            assert frames == list(range(max(0, start + 1 - context), stop + 1))
            assert actions == stop - start
            start = stop
        assert start == episode.seen

    def test_the_rule_whole_is_given_everything(self, episode):
        simulator = Recorder(episode, "whole")
        show(simulator, episode, CHUNK)
        assert [frames[0] for _, frames, _ in simulator.learned] == [0] * len(simulator.learned)
        assert simulator.begun == list(range(episode.seen + 1))

    def test_imagined_chunks_are_learned_too(self, episode):
        simulator = Recorder(episode, "local")
        dream = imagine(simulator, episode, CHUNK)
        left = len(episode.actions) - episode.seen
        assert simulator.calls[::2] == [min(CHUNK, left - start) for start in range(0, left, CHUNK)]
        assert set(simulator.calls[1::2]) == {"remember"}
        assert (dream.estimates == episode.estimates[episode.seen + 1 :]).all()

    @pytest.mark.parametrize("row", ROWS)
    def test_every_row_plays(self, checkpoint, episode, row):
        simulator = simulator_of_row(checkpoint, row, sampler_steps=1, exact=True)
        short = replace(
            episode, frames=episode.frames[: episode.seen + 13], actions=episode.actions[: episode.seen + 12]
        )
        first, again = imagine(simulator, short, 24), imagine(simulator, short, 24)
        assert first.frames.shape == (12, 32, 32, 3)
        assert np.array_equal(first.frames, again.frames), "the same seed, the same dream"

    def test_what_was_seen_early_reaches_the_dream_only_through_memory(self, checkpoint, episode):
        """Without memory the first frames don't matter; with a fast memory they do."""
        from sfvgen_plan.memory.learning import FastLearning

        changed = episode.frames.copy()
        changed[:CHUNK] = 255 - changed[:CHUNK]
        end = episode.seen + 9
        plain = replace(episode, frames=episode.frames[:end], actions=episode.actions[: end - 1])
        other = replace(plain, frames=changed[:end])
        for memory, same in ((None, True), (FastLearning(learning_rate=0.05), False)):
            simulator = checkpoint.simulator(1, memory, exact=True)
            assert np.array_equal(imagine(simulator, plain).frames, imagine(simulator, other).frames) == same


@pytest.fixture(scope="module")
def toolbox(encoder):
    return Toolbox.open(32, encoder)


class TestScores:
    def test_the_truth_scores_perfectly(self, episode, toolbox):
        scores = score(episode, perfect(episode), toolbox)
        assert scores.psnr_revisit_db == MAX_PSNR
        assert scores.cosine_revisit == pytest.approx(1.0, abs=1e-5)
        assert scores.ssim_revisit == pytest.approx(1.0, abs=1e-5)
        assert scores.scene_cuts == scores.true_scene_cuts
        assert scores.hand_error_cm == scores.object_error_cm == 0.0
        assert scores.revisits == len(episode.known)
        assert scores.copy_psnr_db < 40

    def test_only_revisits_count(self, episode, toolbox):
        """Nothing but black where there is no right picture changes nothing."""
        dream = perfect(episode)
        again = set(episode.known[:, 1] - episode.seen - 1)
        for number in range(len(dream.frames)):
            if number not in again:
                dream.frames[number] = 0
        scores = score(episode, dream, toolbox)
        assert scores.psnr_revisit_db == MAX_PSNR
        assert scores.cosine_revisit == pytest.approx(1.0, abs=1e-5)

    def test_known_errors(self, episode, toolbox):
        dream = perfect(episode)
        wrong = Dream(np.full_like(dream.frames, 7), dream.estimates + 0.01)
        scores = score(episode, wrong, toolbox)
        truth = episode.frames[episode.known[:, 1]].astype(float)
        errors = np.square(truth - 7).mean((1, 2, 3))
        assert scores.psnr_revisit_db == pytest.approx((10 * np.log10(255**2 / errors)).mean(), abs=1e-3)
        assert scores.hand_error_cm == pytest.approx(3**0.5, rel=1e-3)
        assert scores.cosine_revisit < 1.0

    def test_what_can_not_be_had_is_left_out(self, episode, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        toolbox = Toolbox.open(32)
        scores = score(episode, perfect(episode), toolbox)
        assert scores.cosine_revisit is scores.lpips_revisit is scores.src is None
        assert set(toolbox.left_out) == {"cosine", "frechet", "fvd", "lpips", "src"}
        assert "resnet18-f37072fd.pth" in toolbox.left_out["src"]
        assert "too small" in toolbox.left_out["lpips"]
        assert "alexnet" in Toolbox.open(64).left_out["lpips"]


VALUES = {"psnr_revisit_db": 20.123456, "cosine_revisit": 0.5, "scene_cuts": 2}


class TestRows:
    def test_rows_are_on_disk_at_once_and_read_again(self, tmp_path):
        rows = MemoryRows(tmp_path, REVISIT)
        rows.add("no_temp_lora", 1, VALUES)
        rows.add("full", 0, {**VALUES, "cosine_revisit": None})
        again = MemoryRows(tmp_path, REVISIT)
        assert again.rows == rows.rows
        assert again.values("full", "cosine_revisit") == {}
        assert again.missing("full", range(2)) == [1]
        assert again.missing("full", range(2), ["cosine_revisit"]) == [0, 1]
        again.sort()
        lines = rows.path.read_text().splitlines()
        assert lines == [",".join(COLUMNS[REVISIT]), "full,0,20.12346,,2", "no_temp_lora,1,20.12346,0.5,2"]

    def test_a_torn_line_is_dropped(self, tmp_path):
        rows = MemoryRows(tmp_path, REVISIT)
        rows.add("full", 0, VALUES)
        rows.add("full", 1, VALUES)
        rows.path.write_text(rows.path.read_text()[:-9])
        again = MemoryRows(tmp_path, REVISIT)
        assert list(again.rows) == [("full", 0)]
        again.add("full", 1, VALUES)
        assert MemoryRows(tmp_path, REVISIT).rows == rows.rows

    def test_rows_made_otherwise_are_not_mixed(self, tmp_path):
        rows = MemoryRows(tmp_path, REVISIT)
        rows.claim("full", {"checkpoint": "a", "encoder": None})
        rows.add("full", 0, VALUES)
        again = MemoryRows(tmp_path, REVISIT)
        again.claim("no_loop", {"checkpoint": "b", "encoder": None})
        again.claim("full", {"checkpoint": "a", "encoder": "now"})
        with pytest.raises(UserError, match=r"checkpoint=a.*checkpoint=b"):
            again.claim("full", {"checkpoint": "b", "encoder": "now"})

    def test_something_else_is_there(self, tmp_path):
        (tmp_path / "memory_return.csv").write_text("a,b\n1,2\n")
        with pytest.raises(UserError, match="can't be used"):
            MemoryRows(tmp_path, RETURN)

    def test_targets(self, tmp_path):
        rows, returned = MemoryRows(tmp_path, REVISIT), MemoryRows(tmp_path, RETURN)
        for episode in range(3):
            rows.add("full", episode, {"psnr_revisit_db": 25.0, "cosine_revisit": 0.9, "scene_cuts": 0})
            rows.add("no_temp_lora", episode, {"psnr_revisit_db": 21.0, "cosine_revisit": 0.88, "scene_cuts": 2})
            returned.add("full", episode, {"distance_m": 0.03, "success_5cm": True})
            returned.add("no_temp_lora", episode, {"distance_m": 0.2, "success_5cm": False})
        quality, cuts, metres = verdicts(rows, returned)
        assert "4.00 [4.00, 4.00] dB, 2.00 [2.00, 2.00] points" in quality
        assert quality.endswith("met") and cuts.endswith("met") and metres.endswith("missed")
        full, without = distances(returned)
        assert full["distance_m"].mean == pytest.approx(0.03)
        assert (full["success_5cm"].mean, without["success_5cm"].mean) == (1.0, 0.0)


@pytest.fixture(scope="module")
def env():
    env = make_memory("memory/return", size=16, objects=1)
    yield env
    env.close()


class TestReturn:
    def test_the_expert_brings_objects_back(self, env):
        from sfvgen_plan.agents.memory_expert import MemoryExpert

        ((seed, scores),) = memory_return.play(MemoryExpert(), [env], [0])
        assert seed == 0
        assert scores.distance_m < 0.02
        assert scores.success_5cm

    def test_who_does_nothing_has_brought_nothing_back(self, env):
        class Idle:
            def __init__(self):
                self.seen = []

            def reset(self, lanes, tasks, seeds):
                assert (lanes, tasks, seeds) == ([0], ["memory/return"], [1])

            def act(self, lanes, frames):
                self.seen.append(frames.shape)
                return np.zeros((1, 4), np.float32)

            def stats(self, lane):
                raise AssertionError

        agent = Idle()
        ((seed, scores),) = memory_return.play(agent, [env], [1])
        assert seed == 1
        assert scores == memory_return.ReturnScores(0.17, False)
        assert agent.seen == [(1, 16, 16, 3)] * 60

    def test_lanes_change_nothing(self):
        """A hand that goes where the frame and its own count say, in two places and in one."""

        class Pusher:
            def __init__(self):
                self.counts, self.together = {}, []

            def reset(self, lanes, tasks, seeds):
                self.counts |= dict.fromkeys(lanes, 0)

            def act(self, lanes, frames):
                self.together.append(len(lanes))
                actions = np.zeros((len(lanes), 4), np.float32)
                for row, lane in enumerate(lanes):
                    self.counts[lane] += 1
                    actions[row] = [np.cos(self.counts[lane] / 5), frames[row].mean() / 128 - 0.5, -0.3, 1.0]
                return actions

            def stats(self, lane):
                raise AssertionError

        envs = [make_memory("memory/return", size=16, objects=1) for _ in range(2)]
        alone, together = Pusher(), Pusher()
        assert dict(memory_return.play(alone, envs[:1], [0, 1, 2])) == dict(
            memory_return.play(together, envs, [0, 1, 2])
        )
        assert set(alone.together) == {1}
        assert set(together.together) == {1, 2}
        for made in envs:
            made.close()

    def test_rows_become_the_agents_memory(self, checkpoint):
        full = memory_return.agent_of_row("cem", "full", checkpoint, {"samples": 4, "elites": 2})
        assert full.simulator.simulator.fast_learning.rank == 32
        assert (
            memory_return.agent_of_row("cem", "no_temp_lora", checkpoint, {}).simulator.simulator.fast_learning is None
        )
        with pytest.raises(UserError, match="no_chunk_input"):
            memory_return.agent_of_row("cem", "no_chunk_input", checkpoint, {})
        with pytest.raises(UserError, match="rows don't differ"):
            memory_return.agent_of_row("expert", "full", checkpoint, {})
        with pytest.raises(UserError, match="has no memory"):
            memory_return.agent_of_row("prior", "full", checkpoint, {})


def test_the_video_shows_four_pictures(episode):
    true, black = perfect(episode), Dream(np.zeros_like(perfect(episode).frames), perfect(episode).estimates)
    frames = list(comparison(episode, true, black))
    assert len(frames) == len(true.frames)
    side = frames[0].shape[1] // 2
    again = int(episode.known[-1, 1]) - episode.seen - 1
    picture = frames[again]
    bar = picture.shape[0] // 2 - side
    top, bottom = picture[bar : bar + side], picture[2 * bar + side :]
    assert np.abs(top[:, :side].astype(int) - top[:, side:]).max() <= 3, "first visit and revisit"
    assert np.array_equal(top[:, side:], bottom[:, :side])
    assert not bottom[:, side:].any()


def run(folder, out, *options):
    known = ["--checkpoint", str(folder), "--device", "cpu", "--sampler-steps", "1", "--out", str(out)]
    return main(["bench", "memory", *known, *options])


class TestCommand:
    CEM = (
        "--agent",
        "cem",
        "agent.samples=2",
        "agent.elites=1",
        "agent.iterations=1",
        "agent.horizon=1",
        "agent.knots=1",
        "agent.memory_every=32",
    )

    def test_both_tables(self, checkpoint_folder, encoder, tmp_path, capsys):
        rows = ("--row", "no_temp_lora", "--row", "full")
        options = (*rows, "--episodes", "1", "--seed", "23", "--chunk", "24", "--encoder", str(encoder), *self.CEM)
        assert run(checkpoint_folder, tmp_path, *options, "--json") == 0
        said = json.loads(capsys.readouterr().out)
        assert [line["row"] for line in said["consistency"]] == ["full", "no_temp_lora"]
        assert all(line["episodes"] == 1 and line["frechet"] > 0 for line in said["consistency"])
        assert [line["row"] for line in said["planning"]] == ["full", "no_temp_lora"]
        assert len(said["targets"]) == 3
        for name in (REVISIT, RETURN, VIDEO):
            with (tmp_path / f"{name}.csv").open() as file:
                lines = list(csv.DictReader(file))
            assert tuple(lines[0]) == COLUMNS[name]
            assert [(line["row"], line["episode"]) for line in lines] == [
                ("full", "23"),
                ("no_temp_lora", "23"),
            ]
        with (tmp_path / "memory_revisit.csv").open() as file:
            assert all(cell for line in csv.DictReader(file) for cell in line.values())
        assert (tmp_path / "memory_revisit_seed23.mp4").stat().st_size > 1000

    def test_rows_that_the_agent_can_not_play(self, checkpoint, checkpoint_folder, tmp_path, capsys):
        """Left out and said where all are asked for, refused where they are named."""
        from sfvgen_plan.benchmarks.memory_bench import ReturnBench
        from sfvgen_plan.cli.bench import playable
        from sfvgen_plan.cli.console import Output

        bench = ReturnBench(checkpoint, tmp_path, "cem", {"samples": 2, "elites": 1}, "cem")
        assert {"full", "no_loop", "no_temp_lora"} <= set(playable(bench, ROWS, False, Output())) < set(ROWS)
        assert "left out of memory/return: no_chunk_input" in capsys.readouterr().err
        with pytest.raises(UserError, match="no_chunk_input"):
            playable(bench, ("full", "no_chunk_input"), True, Output())
        bench.close()

    def test_stopped_and_gone_on_with(self, checkpoint_folder, tmp_path, capsys, monkeypatch):
        options = ("--row", "no_temp_lora", "--part", "revisit", "--videos", "0", "--chunk", "24")
        assert run(checkpoint_folder, tmp_path / "whole", *options, "--episodes", "2") == 0
        done = []

        def killed(self, row, seed, features):
            done.append(seed)
            if len(done) == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RevisitBench, "_save_features", killed)
            assert run(checkpoint_folder, tmp_path / "stopped", *options, "--episodes", "2") == 130
        assert list(MemoryRows(tmp_path / "stopped", REVISIT).rows) == [("no_temp_lora", 0)]
        capsys.readouterr()
        assert run(checkpoint_folder, tmp_path / "stopped", *options, "--episodes", "2") == 0
        captured = capsys.readouterr()
        assert "1 of 2 episodes are there already" in captured.err
        assert "no video encoder was given" in captured.err
        assert "Video consistency" in captured.out
        whole, stopped = ((tmp_path / name / "memory_revisit.csv").read_text() for name in ("whole", "stopped"))
        assert whole == stopped

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--row", "ful"), "full"),
            (("--chunk", "40"), "chunk=40"),
            (("--seed", "99999"), "training data"),
            (("--agent", "expert"), "rows don't differ"),
            (("--encoder", "nowhere"), "encoder='nowhere'"),
            (("--part", "revisit", "agent.samples=3"), "--part revisit"),
        ],
    )
    def test_bad_input_is_one_line(self, checkpoint_folder, tmp_path, capsys, options, message):
        assert run(checkpoint_folder, tmp_path / "out", *options) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ")
        assert message in error
        assert not (tmp_path / "out" / "memory_revisit.csv").exists()
