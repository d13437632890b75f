"""Configs and their overrides."""

from dataclasses import dataclass

import pytest

from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import compose, configured, explained, setting

PLAY = """
defaults:
  - agent: cem
  - _self_
episodes: 2
rate: 0.5
name: first
loud: false
folder: null
widths: [32, 64]
"""
AGENTS = {"cem": "samples: 32\nhorizon: 8\n", "mppi": "samples: 16\ntemperature: 0.1\n"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "play.yaml").write_text(PLAY)
    (tmp_path / "agent").mkdir()
    for name, text in AGENTS.items():
        (tmp_path / "agent" / f"{name}.yaml").write_text(text)
    return tmp_path


def refusal(folder, *overrides):
    with pytest.raises(UserError) as caught:
        compose("play", overrides, folder)
    return str(caught.value)


def test_defaults_are_plain_values_and_overrides_choose_groups_and_set_values(folder):
    plain = {"episodes": 2, "rate": 0.5, "name": "first", "loud": False, "folder": None, "widths": [32, 64]}
    assert compose("play", config_dir=folder) == {"agent": {"samples": 32, "horizon": 8}, **plain}
    settings = compose("play", ["agent.temperature=2", "agent=mppi", "episodes=5", "widths=[1,2,3]"], folder)
    assert settings["agent"] == {"samples": 16, "temperature": 2.0}
    assert isinstance(settings["agent"]["temperature"], float)
    assert (settings["episodes"], settings["widths"]) == (5, [1, 2, 3])
    # A null default takes anything.
    assert [compose("play", [f"folder={value}"], folder)["folder"] for value in ("out/run", "3")] == ["out/run", 3]


def test_a_setting_without_default_has_to_be_given(folder):
    (folder / "learn.yaml").write_text("data: ???\nsteps: 3\n")
    assert compose("learn", ["data=runs/play"], folder) == {"data": "runs/play", "steps": 3}
    with pytest.raises(UserError, match="setting data has no default; add data="):
        compose("learn", ["steps=4"], folder)


def test_unknown_keys_and_choices_name_the_nearest(folder):
    assert refusal(folder, "epsodes=3") == "override 'epsodes=3' names no setting; did you mean episodes?"
    assert "did you mean agent.samples?" in refusal(folder, "samples=3")
    assert "did you mean agent.horizon" in refusal(folder, "agent.horizn=3")
    assert "names no setting" in refusal(folder, "episodes.more=3")
    assert "names no setting" in refusal(folder, "hydra.run.dir=x")
    assert refusal(folder, "agent=mpi") == "agent='mpi' is unknown; did you mean mppi?"


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("episodes=many", "a whole number, such as 2"),
        ("episodes=2.5", "a whole number"),
        ("episodes=true", "a whole number"),
        ("episodes=null", "a whole number"),
        ("rate=fast", "a number, such as 0.5"),
        ("name=3", "text, such as first"),
        ("loud=1", "true or false, such as false"),
        ("widths=3", "a list"),
        ("widths=[a]", "a list"),
    ],
)
def test_a_value_of_another_type_is_refused(folder, override, wanted):
    message = refusal(folder, override)
    assert override in message
    assert wanted in message


def test_only_plain_assignments_with_closed_brackets_are_overrides_and_other_text_is_taken_as_it_is(folder):
    for override in ("episodes", "+new=1", "~episodes=2", "=3", "a b=3"):
        assert "is not of the form key=value" in refusal(folder, override)
    for value in ("[1", "{a", "'x", "${x"):
        message = refusal(folder, "rate=1", f"name={value}")
        assert message == f"override {f'name={value}'!r} can't be read; close every bracket and quotation mark"
    for value in ("a b]", "(", "x=y", "module:factory", "a,b"):
        assert compose("play", [f"name={value}"], folder)["name"] == value


@dataclass(frozen=True)
class Search:
    """Settings as an agent has them."""

    horizon: int = setting(4, "decisions of a plan")
    sigma: float = setting(0.5, "deviation")
    prior: str | None = setting(None, "where it begins")


def test_a_dataclass_of_settings_is_changed_in_the_same_way():
    changes = ["agent.sigma=2", "agent.prior=prior10"]
    assert configured(Search, changes, "agent") == configured(Search, {"sigma": 2, "prior": "prior10"}, "agent")
    assert configured(Search, changes, "agent") == Search(4, 2.0, "prior10")
    assert explained(Search, "agent.") == [
        "agent.horizon=4   decisions of a plan",
        "agent.sigma=0.5   deviation",
        "agent.prior=null  where it begins",
    ]
    for given in (["agent.sigm=2"], {"sigm": 2}):
        with pytest.raises(UserError, match=r"'agent\.sigm=2' names no setting; did you mean agent\.sigma"):
            configured(Search, given, "agent")
