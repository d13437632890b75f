"""Test options, the process-wide settings that must be made before torch and MuJoCo are imported, and what
most tests begin with: command lines, a small model, a small dataset, stand-ins for simulators."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sfvgen_plan import cli
from sfvgen_plan.errors import UserError

# Software rendering and torch's thread pool fight over the cores; one thread each is several times faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A job that a script put into the background ignores Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

OPT_IN = {
    "slow": "takes minutes",
    "gpu": "needs a CUDA device",
    "rlbench": "needs CoppeliaSim and RLBench",
}
"""Markers of tests that the default run skips: `--run-<marker>` or `-m <marker>` brings them in."""


def pytest_addoption(parser):
    for marker, reason in OPT_IN.items():
        parser.addoption(f"--run-{marker}", action="store_true", help=f"run tests marked {marker}: {reason}")


def pytest_configure(config):
    for marker, reason in OPT_IN.items():
        config.addinivalue_line("markers", f"{marker}: {reason}; skipped unless --run-{marker} or -m {marker}")
    # Registers the environments. Without a graphics library tests that draw fail one by one, with this same message.
    with suppress(UserError):
        from sfvgen_plan.envs.rendering import gl_backend

        gl_backend()


def pytest_collection_modifyitems(config, items):
    for marker, reason in OPT_IN.items():
        if config.getoption(f"--run-{marker}") or marker in config.option.markexpr:
            continue
        skip = pytest.mark.skip(reason=f"{reason}: add --run-{marker}")
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(skip)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys):
    """Function that runs a command line and gives what it says as JSON."""

    def run(*argv):
        capsys.readouterr()
        assert cli.main([*argv, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(capsys):
    """Function that gives the one line that bad input ends in."""

    def run(*argv):
        capsys.readouterr()
        assert cli.main([*argv]) == 2, argv
        captured = capsys.readouterr()
        line = captured.err.removesuffix("\n")
        assert captured.out == "" and line.startswith("error: ") and "\n" not in line, captured
        return line

    return run


SMALL_TASKS = {"reach-v3": "reach the red goal", "push-v3": "push the puck to the green goal"}
SMALL = {"size": 32, "autoencoder_widths": (8, 8, 16), "latent_channels": 4, "text_dim": 16}
NETWORK = {"dim": 32, "depth": 2, "heads": 2, "window": 3, "conditioning": 16, "squeezed": 4}
"""Sizes of ``build_pipeline`` for frames of 32 pixels and latents of (4, 8, 8), and of its transformer."""


@pytest.fixture(scope="session")
def make_pipeline():
    """Function that makes an untrained pipeline of ``SMALL`` sizes; the same seed gives the same weights. Most layers
    begin with zeros, which hide what they are told; with ``std`` the transformer's weights have that deviation."""
    import torch

    from sfvgen_plan.model.build import build_pipeline

    torch.set_num_threads(1)

    def make(texts=None, seed=0, std=None, transformer=None, **sizes):
        torch.manual_seed(seed)
        pipeline = build_pipeline(
            list(texts or SMALL_TASKS.values()), **SMALL | sizes, transformer=NETWORK | (transformer or {})
        )
        pipeline.set_progress_bar_config(disable=True)
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                component.eval()
        if std is not None:
            for name, parameter in pipeline.transformer.named_parameters():
                # Priors' actions would all be at the bounds.
                torch.nn.init.normal_(parameter, std=0.03 if name.startswith("prior.") else std)
        return pipeline

    return make


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory, make_pipeline):
    """Function that saves an untrained checkpoint of tasks (name -> instruction), and gives its folder; don't change
    it. ``std`` and ``transformer``: see ``make_pipeline``; ``facts``: what its card says besides."""
    import torch

    from sfvgen_plan.envs.sawyer import READOUTS
    from sfvgen_plan.model.checkpoint import CheckpointCard, save_checkpoint

    def make(tasks=SMALL_TASKS, std=None, transformer=None, seed=0, **facts):
        usual = {"size": 32, "camera": "corner4", "repeat": 5, "reward_scale": 10.0, "readouts": list(READOUTS)}
        card = CheckpointCard(dict(tasks), **{**usual, "training": {"seed": seed}, **facts})
        cameras = card.frame_shape[0] // card.size
        sizes = {"size": card.size, "autoencoder_widths": {32: (8, 8, 16), 128: (8,) * 5}[card.size]}
        sizes |= {"action_dim": card.action_dim, "readouts": len(card.readouts), "cameras": cameras}
        pipeline = make_pipeline(tasks.values(), seed, std, transformer, **sizes)
        folder = tmp_path_factory.mktemp("untrained") / "checkpoint"
        save_checkpoint(folder, pipeline, card, {task: torch.randn(2, 4, 8 * cameras, 8) for task in tasks})
        return folder

    return make


@pytest.fixture(scope="session")
def small_checkpoint(make_checkpoint):
    """Folder of one of ``SMALL_TASKS``."""
    return make_checkpoint()


@pytest.fixture(scope="session")
def modelscope(tmp_path_factory):
    """A tiny text-to-video pipeline of ModelScope's classes, and its folder, as diffusers writes it."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
    from transformers import CLIPTokenizer

    from sfvgen_plan.model.build import tiny_text_encoder, tiny_tokenizer

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("modelscope")
    tokenizer = tiny_tokenizer(list(SMALL_TASKS.values()), folder / "words")
    unet = UNet3DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(32, 32),
        norm_num_groups=8,
        cross_attention_dim=16,
        attention_head_dim=8,
    )
    for parameter in unet.parameters():  # temporal layers end in zeros, which would hide them
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    original = TextToVideoSDPipeline(
        vae=AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=16,
                          down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        text_encoder=tiny_text_encoder(tokenizer, 16),
        tokenizer=CLIPTokenizer.from_pretrained(str(folder / "words"), model_max_length=32),
        unet=unet.eval(),
        scheduler=DDIMScheduler(clip_sample=False, beta_schedule="scaled_linear"),
    )  # fmt: skip
    original.save_pretrained(folder / "tiny-t2v")
    return original, folder / "tiny-t2v"


@pytest.fixture(scope="session")
def make_episode():
    """Function that makes the frames of an episode of ``SMALL_TASKS``, and the episode as it is staged: a square that
    the first two numbers of random actions push about."""
    import numpy as np

    from sfvgen_plan.data.staging import StagedEpisode

    def make(seed, decisions=6, task="reach-v3", kind="clean"):
        random = np.random.default_rng([seed, len(task)])
        actions = random.uniform(-1, 1, (decisions, 4)).astype(np.float32)
        steps = np.concatenate([random.uniform(8, 24, (1, 2)), 2 * actions[:, :2]])
        places = np.cumsum(steps, axis=0).clip(0, 28)
        frames = np.full((decisions + 1, 32, 32, 3), 90, np.uint8)
        for frame, (x, y) in zip(frames, places.astype(int), strict=True):
            frame[y : y + 5, x : x + 5] = (200, 30, 30)
        estimates = np.zeros((decisions + 1, 10), np.float32)
        estimates[:, 4:6] = places / 100
        return frames, StagedEpisode.from_frames(
            frames,
            task=task,
            instruction=SMALL_TASKS[task],
            kind=kind,
            seed=seed,
            state=random.normal(size=(decisions + 1, 39)),
            estimates=estimates,
            actions=actions,
            expert_actions=np.clip((16 - places) / 8, -1, 1)[:, [0, 1, 0, 1]].astype(np.float32),
            rewards=places[1:, 0] / 3,
            success=places[:, 0] > 20,
        )

    return make


@pytest.fixture(scope="session")
def write_small_dataset(make_episode):
    """Function that writes staged episodes into a folder, or as many as are asked for of each of ``SMALL_TASKS``."""
    from sfvgen_plan.data.minari_writer import write_dataset
    from sfvgen_plan.envs.sawyer import SOURCE

    def write(folder, episodes_per_task=4, decisions=12, tasks=(), episodes=()):
        made = episodes or [
            make_episode(100_000 + n, decisions, task, "clean" if n % 2 == 0 else "random")[1]
            for task in tasks or SMALL_TASKS
            for n in range(episodes_per_task)
        ]
        settings = {"camera": "corner4", "size": 32, "repeat": 5, "source": SOURCE.as_dict()}
        write_dataset(folder, "small set", made, settings)
        return folder

    return write


@pytest.fixture(scope="session")
def coppelia(tmp_path_factory):
    """What passes for the folder of CoppeliaSim."""
    root = tmp_path_factory.mktemp("CoppeliaSim")
    (root / "libcoppeliaSim.so").touch()
    return root


def _play_rlbench(patch, root):
    patch.setenv("PYTHONPATH", str(Path(__file__).parent / "fakes"))
    patch.setenv("COPPELIASIM_ROOT", str(root))
    patch.setenv("DISPLAY", ":0")
    for name in ("SFVGEN_RLBENCH_PYTHON", "QT_QPA_PLATFORM", "FAKE_RLBENCH_FAULTS", "FAKE_RLBENCH_ONCE"):
        patch.delenv(name, raising=False)
    return patch


@pytest.fixture
def fake_rlbench(coppelia, monkeypatch):
    """RLBench workers started in this test find the stand-ins of ``tests/fakes``; returned to change variables with."""
    return _play_rlbench(monkeypatch, coppelia)


@pytest.fixture(scope="module")
def fake_rlbench_for_all(coppelia):
    """The same for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        _play_rlbench(patch, coppelia)
        yield


@pytest.fixture(scope="module")
def toy():
    """The simulator of ``toy_simulator`` in this process and in those that it starts; an episode takes milliseconds."""
    from sfvgen_plan.envs import family

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, "_registered", {})
        patch.delitem(sys.modules, "toy_simulator", raising=False)
        patch.setenv(family.VARIABLE, "toy_simulator")
        here = str(Path(__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))
        yield
