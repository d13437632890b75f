"""The video encoder: what its features tell, training, and its folder."""

import json

import numpy as np
import pytest
import torch

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.encoder import VideoEncoder
from sfvgen_plan.metrics.places import cosine
from sfvgen_plan.metrics.train_encoder import EncoderObjective, disturbed, main, train


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    torch.set_num_threads(1)
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 4, 16)


@pytest.fixture(scope="module")
def trained(dataset):
    """Thirty steps on moving squares, and the losses on the way."""
    seen = []
    encoder = train(load_episodes(dataset), 30, batch=4, on_step=lambda step, losses: seen.append(losses["loss"]))
    return encoder, seen


def square(x, y, colour=(200, 30, 30)):
    frame = np.full((32, 32, 3), 90, np.uint8)
    frame[y : y + 5, x : x + 5] = colour
    return frame


def test_training_learns(trained):
    _, seen = trained
    assert len(seen) == 30
    assert np.mean(seen[-10:]) < 0.9 * np.mean(seen[:10])


def test_places_are_told_apart_and_noise_is_not(trained):
    encoder, _ = trained
    noise = np.random.default_rng(0).normal(0, 4, (32, 32, 3))
    here, again = square(6, 6), np.clip(square(6, 6) + noise, 0, 255).astype(np.uint8)
    features = encoder.frame_features(np.stack([here, again, square(22, 22)]))
    assert cosine(features[0], features[1]) > cosine(features[0], features[2]) + 0.1


def test_features_do_not_depend_on_the_batch(trained):
    encoder, _ = trained
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(
        encoder.frame_features(frames, batch=4), encoder.frame_features(frames), rtol=1e-4, atol=1e-5
    )


def test_views_keep_the_picture_but_not_its_pixels():
    picture = torch.from_numpy(square(10, 10)).movedim(-1, 0)[None].float() / 127.5 - 1
    one, other = (disturbed(picture.repeat(8, 1, 1, 1)) for _ in range(2))
    assert one.shape == (8, 3, 32, 32)
    assert not torch.allclose(one, other)
    assert (one.mean(0) - picture[0]).abs().mean() < 0.15


def test_losses_of_an_encoder_that_knows_nothing():
    torch.manual_seed(0)
    encoder = VideoEncoder()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        encoder.frame_out.bias.fill_(1.0)
        frames, actions = torch.zeros(2, 3, 32, 32, 3, dtype=torch.uint8), torch.full((2, 2, 4), 0.5)
        losses = EncoderObjective(encoder)(frames, actions)
    assert losses["found"] == pytest.approx(np.log(6))
    assert losses["told"] == pytest.approx(0.25)


def test_the_command(dataset, tmp_path, capsys):
    out = tmp_path / "encoder"
    options = ["--data", str(dataset), "--device", "cpu", "--steps", "2", "--batch", "2", "--json"]
    assert main([*options, "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    loaded = VideoEncoder.load(out)
    assert said["digest"] == loaded.digest
    assert sorted(file.suffix for file in out.iterdir()) == [".json", ".safetensors"]
    assert sum(value.numel() for value in loaded.parameters()) < 500_000
    assert main([*options, "--out", str(tmp_path / "again")]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == loaded.digest, "the same seed, the same weights"
    assert main([*options, "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_bad_folders(tmp_path, write_small_dataset):
    with pytest.raises(UserError, match="is no encoder's folder"):
        VideoEncoder.load(tmp_path)
    VideoEncoder().save_pretrained(tmp_path / "broken")
    next((tmp_path / "broken").glob("*.safetensors")).write_bytes(b"no")
    with pytest.raises(UserError, match="can't be loaded"):
        VideoEncoder.load(tmp_path / "broken")
    short = load_episodes(write_small_dataset(tmp_path / "set", 1, 3))
    with pytest.raises(UserError, match="7 decisions"):
        train(short, 1)
