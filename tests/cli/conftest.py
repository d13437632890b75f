"""An untrained checkpoint: small, but complete and of the real frames' size. And command lines and what they say."""

import json

import pytest

from sfvgen_plan import cli


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys):
    """Function that runs a command line and gives what it says as JSON."""

    def run(*argv):
        assert cli.main([*argv, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(capsys):
    """Function that gives the one line that bad input ends in."""

    def run(*argv):
        assert cli.main([*argv]) == 2, argv
        captured = capsys.readouterr()
        line = captured.err.removesuffix("\n")
        assert captured.out == "" and line.startswith("error: ") and "\n" not in line, captured
        return line

    return run


@pytest.fixture(scope="session")
def untrained_checkpoint(tmp_path_factory):
    """Function that saves one for tasks (name -> instruction) with a card of these further facts; its folder."""
    import torch

    from sfvgen_plan.envs.sawyer import READOUTS
    from sfvgen_plan.model.build import build_pipeline
    from sfvgen_plan.model.checkpoint import CheckpointCard, save_checkpoint

    def save(tasks, **facts):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        usual = {"raw_steps_per_second": 80, "reward_scale": 10.0, "readouts": list(READOUTS)}
        card = CheckpointCard(tasks, size=128, **usual | facts)
        pipeline = build_pipeline(
            list(tasks.values()),
            action_dim=card.action_dim,
            readouts=len(card.readouts),
            autoencoder_widths=(8, 8, 8, 8, 8),
            latent_channels=4,
            text_dim=16,
            cameras=card.frame_shape[0] // card.size,
            transformer={"dim": 32, "depth": 2, "heads": 2, "window": 3, "conditioning": 16, "squeezed": 4},
        )
        folder = tmp_path_factory.mktemp("checkpoint")
        save_checkpoint(
            folder, pipeline, card, {task: torch.zeros(1, 4, card.frame_shape[0] // 16, 8) for task in tasks}
        )
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_checkpoint(untrained_checkpoint):
    """Folder of a checkpoint of two tasks."""
    from sfvgen_plan.envs.metaworld.family import TASKS

    tasks = {task: TASKS[task] for task in ("reach-v3", "drawer-close-v3")}
    return untrained_checkpoint(tasks, camera="corner4", repeat=5)
