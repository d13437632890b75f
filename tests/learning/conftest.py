"""Trainings that may be killed anywhere."""

from functools import partial

import pytest

from sfvgen_plan.learning import train
from sfvgen_plan.settings import compose


@pytest.fixture(scope="session")
def train_in_steps():
    """Function that trains the recipe ``tiny`` with settings into a folder, and reports and saves after every step."""

    def run(data, out, *settings, on_progress=None):
        chosen = ["train=tiny", "train.text_steps=2", f"data={data}", f"out={out}", *settings]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train, "fit", partial(train.fit, log_every=1, save_every_seconds=0.0))
            return train.Training(compose("train", chosen), on_progress, settings).run()

    return run


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory, write_small_dataset):
    """Four episodes of ten decisions of each of the small tasks; don't change it."""
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 4, 10)
