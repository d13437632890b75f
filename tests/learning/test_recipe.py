"""Recipes: what they say, what they may be told, and that `sfvgen-plan train` names them."""

from itertools import pairwise
from pathlib import Path

import pytest

import sfvgen_plan.configs
from sfvgen_plan import cli
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.recipe import Recipe, StageSettings, VideoSettings, filled
from sfvgen_plan.settings import compose

RECIPES = sorted(path.stem for path in (Path(sfvgen_plan.configs.__path__[0]) / "train").glob("*.yaml"))


def recipe(*overrides):
    return filled(Recipe, compose("train", overrides)["train"], "train")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_whole(name):
    made = recipe(f"train={name}")
    assert made.video.learning.dream_from < made.video.fit.steps
    assert (made.base is not None) == (name == "paper")


def test_what_no_recipe_says_can_still_be_changed():
    made = recipe("train.video.learning.gamma=0.9", "train.model.transformer.window=31", "train.video.fit.clip=2")
    assert made.video.learning.gamma == 0.9
    assert made.model.transformer.chosen() == {"window": 31}
    assert made.video.fit.clip == 2.0
    assert made.video.learning.expectile == VideoSettings().expectile
    with pytest.raises(UserError, match=r"names no setting; did you mean train\.model\.transformer\.depth"):
        recipe("train.model.transformer.deph=3")


def test_the_help_names_every_recipe(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  train=")] == [
        f"train={name}" for name in RECIPES
    ]


def test_learning_rate_warms_up_and_decays():
    settings = StageSettings(steps=100, batch=1, learning_rate=1.0, warmup=10)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] < 0.001
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
    assert StageSettings(steps=100, batch=1, learning_rate=1.0, warmup=10, constant=True).rate(99) == 1.0


@pytest.mark.parametrize(
    "wrong",
    ["steps=-1", "batch=0", "batch=-4", "learning_rate=0.0", "learning_rate=inf", "learning_rate=nan",
     "weight_decay=-0.1", "weight_decay=nan", "ema=-0.1", "ema=1.1", "clip=0.0", "clip=nan"],
)  # fmt: skip
def test_numbers_that_make_no_sense(wrong):
    name, value = wrong.split("=")
    values = compose("train")["train"]
    values["video"]["fit"][name] = float(value) if "." in value or value in ("inf", "nan") else int(value)
    with pytest.raises(UserError, match=rf"^train\.video\.fit\.{wrong} must be "):
        filled(Recipe, values, "train")
