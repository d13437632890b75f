"""Trainings that may be killed anywhere."""

from functools import partial

import pytest

from sfvgen_plan.learning import fitting, train


@pytest.fixture(scope="session")
def train_in_steps():
    """``Training(...).run()``, which saves the state of a stage and reports after every step."""

    def run(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitting, "fit", partial(fitting.fit, log_every=1, save_every_seconds=0.0))
            return train.Training(*arguments).run()

    return run
