"""Agents by name."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from sfvgen_plan.agents import registry
from sfvgen_plan.agents.adapters import kind_of
from sfvgen_plan.agents.registry import AGENTS, acts_on_env, check_agent, make_agent
from sfvgen_plan.agents.settings import packaged_settings
from sfvgen_plan.errors import UserError

FRAMES = np.zeros((1, 1, 2, 3), np.uint8)


@pytest.fixture
def checkpoint(world):
    """Looks like a loaded checkpoint of the point world."""
    return SimpleNamespace(
        card=SimpleNamespace(context_frames=2),
        asked=[],
        simulator=lambda sampler_steps=3, memory=None: world.PointMass(),
        prior=lambda name="prior": world.Towards(gain={"prior": 1.0, "prior10": -1.0}[name]),
    )


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the user's into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text("import numpy as np\n" + text)

    return write


@pytest.mark.parametrize("name", sorted(set(AGENTS) - {"video"}))  # that one needs a real model, see test_video.py
def test_every_agent_is_made_from_its_packaged_settings(name, checkpoint):
    agent = make_agent(name, checkpoint)
    assert kind_of(agent) == ("env" if acts_on_env(name) else "batch")


@pytest.mark.parametrize("name", ["prior", "prior10", "cem", "mppi", "default", "default10"])
def test_agents_on_a_checkpoint_play(name, checkpoint):
    agent = make_agent(name, checkpoint, settings={"samples": 16} if name in ("cem", "mppi") else None)
    agent.reset([0], ["point"], [1])
    actions = agent.act([0], FRAMES)
    assert actions.shape == (1, 2) and np.abs(actions).max() <= 1.0


@pytest.mark.parametrize("name", AGENTS)
def test_packaged_settings_compose_with_hydra(name):
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    import sfvgen_plan.configs

    with initialize_config_dir(config_dir=str(sfvgen_plan.configs.__path__[0]), version_base="1.3"):
        composed = compose(overrides=[f"+agent={name}"])
    assert OmegaConf.to_container(composed).get("agent", {}) == packaged_settings(name)


def test_all_settings_of_the_default_agent_are_in_its_file():
    """Each ingredient has its switch, so that each can be measured alone."""
    from dataclasses import fields

    from sfvgen_plan.agents.acceptance import Acceptance
    from sfvgen_plan.agents.guided import GuidedPlanner, TrustRegion
    from sfvgen_plan.agents.objective import Objective

    settings = packaged_settings("default")
    assert {item.name for item in fields(GuidedPlanner)} <= set(settings)
    for group, kind in (("objective", Objective), ("trust", TrustRegion), ("acceptance", Acceptance)):
        assert {item.name for item in fields(kind)} == set(settings[group])


def test_default10_differs_by_its_prior_only():
    default, default10 = packaged_settings("default"), packaged_settings("default10")
    assert default10.pop("prior") == "prior10" and default.pop("prior") == "prior"
    assert default10 == default


def test_settings_reach_the_agent(checkpoint):
    agent = make_agent("default", checkpoint, settings={"horizon": 3, "trust": {"radius": 0.25}, "replan_every": 2})
    assert (agent.planner.horizon, agent.planner.trust.radius, agent.replan_every) == (3, 0.25, 2)
    assert agent.planner.trust.wide_radius == packaged_settings("default")["trust"]["wide_radius"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizont": 3}, "agent.horizont.*agent.horizon"),
        ({"trust": {"radios": 1.0}}, "agent.trust.radios.*agent.trust.radius"),
        ({"horizon": "long"}, "horizon='long' must be of type int"),
        ({"candidates": 4}, "candidates=4"),
        ({"feedback": True, "replan_every": 2}, "replan_every=1"),
        ({"replan_every": 9}, "replan_every=9"),
    ],
)
def test_bad_settings_are_refused(settings, message, checkpoint):
    with pytest.raises(UserError, match=message):
        make_agent("default", checkpoint, settings=settings)


def test_unknown_agents_are_refused_with_the_nearest_names():
    for call in (check_agent, acts_on_env, make_agent):
        with pytest.raises(UserError, match=r"agent='defualt' is unknown; did you mean default"):
            call("defualt")


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="seed=-1"):
        make_agent("random", seed=-1)


def test_agents_of_the_users_own_module_play(module):
    module("mine_class", "class A:\n  def reset(s, task, seed): s.seed = seed\n"
           "  def act(s, observation): return np.full(4, s.seed / 10)\n"
           "  def stats(s):\n    from sfvgen_plan.agents.base import PlanCost\n    return PlanCost()\n")  # fmt: skip
    agent = make_agent("mine_class:A")
    agent.reset([0, 1], ["t", "t"], [1, 2])
    assert agent.act([0, 1], np.repeat(FRAMES, 2, 0))[:, 0].tolist() == pytest.approx([0.1, 0.2])


def test_factories_get_what_they_name(module):
    module("mine_factory", "def make(seed, settings, checkpoint=None):\n"
           "  return lambda observation: np.full(4, seed / 10 + settings['plus'])\n")  # fmt: skip
    agent = make_agent("mine_factory:make", seed=3, settings={"plus": 0.2})
    agent.reset([0], ["t"], [0])
    assert agent.act([0], FRAMES)[0, 0] == pytest.approx(0.5)


def test_a_policy_function_or_model_needs_no_factory(module):
    module("mine_policy", "def policy(frame): return np.zeros(4)\n"
           "class Model:\n  def predict(self, observation, deterministic): return np.ones(4), None\n"
           "model = Model()\n")  # fmt: skip
    for name, expected in (("policy", 0.0), ("model", 1.0), ("Model", 1.0)):
        agent = make_agent(f"mine_policy:{name}")
        agent.reset([0], ["t"], [0])
        assert agent.act([0], FRAMES)[0, 0] == expected


def test_env_agents_of_the_user_are_recognised_before_they_are_made(module):
    module("mine_env", "class Peeking:\n  def reset(s, task, seed): pass\n"
           "  def act(s, env): return np.zeros(4)\n  def stats(s): pass\n"
           "class Blind(Peeking):\n  def act(s, observation): return np.zeros(4)\n")  # fmt: skip
    assert acts_on_env("mine_env:Peeking") and not acts_on_env("mine_env:Blind")
    assert kind_of(make_agent("mine_env:Peeking")) == "env"


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere_at_all:make", "can't be imported"), ("math:sinn", "sin"), (":make", "can't be imported")],
)
def test_agents_that_cannot_be_imported_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        make_agent(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:\n", r"SyntaxError: invalid syntax \(.*mine_broken0.py, line 2\)"),
        ("\nweights = open('nowhere.pt')\n", r"FileNotFoundError: .*nowhere.pt'?, .*mine_broken1.py line 3"),
        ("raise RuntimeError\n", r"RuntimeError, .*mine_broken2.py line 2"),
        ("import nowhere_at_all\n", r"ModuleNotFoundError: No module named 'nowhere_at_all', .*line 2"),
    ],
)
def test_what_a_module_raises_is_told_in_a_line(module, request, text, message):
    name = f"mine_broken{request.node.callspec.indices['text']}"
    module(name, text)
    line = rf"^agent='{name}:make' can't be imported \({message}.*; give module:factory of a module that can be$"
    for call in (check_agent, acts_on_env, make_agent):
        with pytest.raises(UserError, match=line):
            call(f"{name}:make")


def test_what_a_factory_raises_is_told_in_a_line(module):
    module("mine_failing", "from sfvgen_plan.errors import UserError\n"
           "def make():\n  return {}['gain']\n"
           "def refuse(settings):\n  raise UserError('gain=None is missing; give agent.gain=1')\n")  # fmt: skip
    message = r"^agent='mine_failing:make' can't be made \(KeyError: 'gain', .*py line 4\); mend its factory$"
    with pytest.raises(UserError, match=message):
        make_agent("mine_failing:make")
    with pytest.raises(UserError, match=r"^gain=None is missing; give agent\.gain=1$"):
        make_agent("mine_failing:refuse")


def test_nothing_heavy_is_imported_to_look_agents_up():
    code = (
        "import sys; from sfvgen_plan.agents import registry; registry.check_agent('default');"
        "registry.acts_on_env('oracle'); print({'torch', 'mujoco', 'metaworld', 'diffusers'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_every_builder_exists():
    from sfvgen_plan.agents import builders

    assert all(callable(getattr(builders, builder)) for builder in registry.AGENTS.values())
