"""Agents by name, and their settings."""

import sys
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from points import PointMass, Towards

from sfvgen_plan.agents import players, registry
from sfvgen_plan.agents.base import AgentSettings, kind_of
from sfvgen_plan.errors import UserError

FRAMES = np.zeros((1, 1, 2, 3), np.uint8)


@pytest.fixture
def checkpoint():
    """Looks like a loaded checkpoint of the point"""
    return SimpleNamespace(
        card=SimpleNamespace(reward_scale=10.0, sub_goals=[]),
        simulator=lambda *settings, **more: PointMass(),
        prior=lambda name="prior": Towards(gain={"prior": 1.0, "prior10": -1.0}[name]),
    )


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the user's into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text("import numpy as np\n" + text)

    return write


@pytest.mark.parametrize("name", sorted(set(registry.agent_names()) - {"video"}))  # that one needs a model
def test_every_agent_is_explained_made_from_its_settings_and_plays(name, checkpoint):
    kind = registry.settings_of(name)
    assert kind.__doc__.count("\n") == 0 and len(kind.__doc__) > 15
    assert all(item.metadata["text"] for item in fields(kind))
    agent = registry.make_agent(name, checkpoint)
    assert kind_of(agent) == ("env" if registry.settings_of(name).acts_on_env else "batch")
    if registry.settings_of(name).needs_checkpoint and not registry.settings_of(name).needs:
        agent.reset([0], ["point"], [1])
        actions = agent.act([0], FRAMES)
        assert actions.shape == (1, 2) and np.abs(actions).max() <= 1.0


def test_adding_an_agent_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "held.py").write_text(
        "from dataclasses import dataclass\nimport numpy as np\n"
        "from sfvgen_plan.agents.adapters import CallableAgent, LanesOfAgents\n"
        "from sfvgen_plan.agents.base import AgentSettings\n"
        "from sfvgen_plan.settings import setting\n"
        "@dataclass(frozen=True)\nclass Held(AgentSettings, name='held', needs_checkpoint=False):\n"
        "  'The same action for ever.'\n  push: float = setting(0.5, 'every number')\n"
        "  def build(self, given):\n"
        "    action = np.full(given.action_dim, self.push)\n"
        "    return LanesOfAgents(lambda: CallableAgent(lambda frame: action), given.action_dim)\n"
    )
    monkeypatch.setattr(players, "__path__", [*players.__path__, str(tmp_path)])
    monkeypatch.setattr(AgentSettings, "known", dict(AgentSettings.known))
    assert "held" in registry.agent_names() and "held" in registry.table_order()
    assert registry.explain_settings("held").splitlines()[1:] == ["agent.push=0.5  every number"]
    agent = registry.make_agent("held", settings=registry.agent_settings("held", ["agent.push=1"])[0], action_dim=2)
    agent.reset([0], ["t"], [0])
    assert agent.act([0], FRAMES).tolist() == [[1.0, 1.0]]


def test_an_agent_is_named_after_what_differs_from_its_defaults():
    settings, label = registry.agent_settings("oracle", ["agent.candidates=8", "agent.sigma=0.5", "agent.elites=8"])
    assert (settings["sigma"], settings["iterations"]) == (0.5, 2)
    assert label == "oracle+candidates=8+sigma=0.5"
    changes = ["agent.gain=2", "agent.net.widths=[4,8]", "agent.net.deep=true"]
    settings, label = registry.agent_settings("math:sin", changes)
    assert settings == {"gain": 2, "net": {"widths": [4, 8], "deep": True}}  # from outside, and so any
    assert label == "math:sin+gain=2+net.widths=[4, 8]+net.deep=True"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizont": 3}, "agent.horizont=3' names no setting; did you mean agent.horizon"),
        ({"horizon": "long"}, "agent.horizon takes a whole number, such as 5"),
        ({"candidates": 1}, "candidates=1"),
    ],
)
def test_settings_reach_the_agent_and_bad_ones_are_refused(settings, message, checkpoint):
    agent = registry.make_agent("default", checkpoint, settings={"horizon": 3, "sigma": 0.25, "replan_every": 2})
    assert (agent.horizon, agent.planner.args[0].sigma, agent.replan_every) == (3, 0.25, 2)
    with pytest.raises(UserError, match=message):
        registry.make_agent("default", checkpoint, settings=settings)


def test_unknown_agents_and_tasks_of_other_simulators_are_refused():
    for call in (registry.settings_of, registry.make_agent, registry.agent_settings):
        with pytest.raises(UserError, match=r"agent='defualt' is unknown; did you mean default"):
            call("defualt")
    with pytest.raises(UserError, match="agent='planners' is unknown"):
        registry.settings_of("planners")
    registry.check_plays("oracle", ["reach-v3"])
    registry.check_plays("expert", ["rlbench/reach_target"])
    missing = "can't play 'rlbench/reach_target', as RLBench has no true simulator; give --agent expert"
    with pytest.raises(UserError, match=missing):
        registry.check_plays("oracle", ["rlbench/reach_target"])
    with pytest.raises(UserError, match=r"can't play 'goals/lift', as .* has no expert; give --agent random"):
        registry.check_plays("expert", ["goals/lift"])
    for name, message in (("nowhere_at_all:make", "can't be imported"), ("math:sinn", "sin"), (":make", "can't be")):
        with pytest.raises(UserError, match=message):
            registry.make_agent(name)
    with pytest.raises(UserError, match="seed=-1"):
        registry.make_agent("random", seed=-1)


CLASS = (
    "from sfvgen_plan.agents.base import PlanCost\n"
    "class A:\n  def reset(s, task, seed): s.seed = seed\n"
    "  def act(s, observation): return np.full(4, s.seed / 10)\n"
    "  def stats(s): return PlanCost()\n"
)


def test_agents_of_the_users_own_module_play(module):
    module("mine", CLASS
           + "def make(seed, settings, checkpoint=None):\n"
           "  return lambda observation: np.full(4, seed / 10 + settings['plus'])\n"
           "def policy(frame): return np.zeros(4)\n"
           "class Model:\n  def predict(self, observation, deterministic): return np.ones(4), None\n"
           "model = Model()\n"
           "class Peeking(A):\n  def act(s, env): return np.zeros(4)\n")  # fmt: skip
    played = {"A": [0.1, 0.2], "make": [0.5, 0.5], "policy": [0, 0], "model": [1, 1], "Model": [1, 1]}
    for name, expected in played.items():
        agent = registry.make_agent(f"mine:{name}", seed=3, settings={"plus": 0.2} if name == "make" else None)
        agent.reset([0, 1], ["t", "t"], [1, 2])
        assert agent.act([0, 1], np.repeat(FRAMES, 2, 0))[:, 0].tolist() == pytest.approx(expected)
    # One that acts on the environment is recognised before it is made.
    assert registry.settings_of("mine:Peeking").acts_on_env and not registry.settings_of("mine:A").acts_on_env
    assert kind_of(registry.make_agent("mine:Peeking")) == "env"


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
    for call in (registry.settings_of, registry.make_agent):
        with pytest.raises(UserError, match=line):
            call(f"{name}:make")


def test_what_a_factory_raises_is_told_in_a_line(module):
    module("mine_failing", "from sfvgen_plan.errors import UserError\n"
           "def make():\n  return {}['gain']\n"
           "def refuse(settings):\n  raise UserError('gain=None is missing; give agent.gain=1')\n")  # fmt: skip
    message = r"^agent='mine_failing:make' can't be made \(KeyError: 'gain', .*py line 4\); mend its factory$"
    with pytest.raises(UserError, match=message):
        registry.make_agent("mine_failing:make")
    with pytest.raises(UserError, match=r"^gain=None is missing; give agent\.gain=1$"):
        registry.make_agent("mine_failing:refuse")
