"""Settings of agents as the command line takes them."""

from __future__ import annotations

import pytest

from sfvgen_plan.benchmarks.contestants import compose_settings
from sfvgen_plan.errors import UserError


def test_an_agent_is_named_after_what_differs_from_its_defaults() -> None:
    settings, label = compose_settings("oracle", ["agent.samples=8", "agent.objective.value=0.5", "agent.elites=8"])
    assert settings["objective"]["value"] == 0.5 and settings["iterations"] == 2
    assert label == "oracle+samples=8+objective.value=0.5"


def test_agents_from_outside_take_any_settings() -> None:
    settings, label = compose_settings("math:sin", ["agent.gain=2", "agent.net.widths=[4,8]"])
    assert settings == {"gain": 2, "net": {"widths": [4, 8]}}
    assert label == "math:sin+gain=2+net.widths=[4, 8]"


@pytest.mark.parametrize("agent", ["oracle", "math:sin"])
@pytest.mark.parametrize("value", ["[1", "{a", "'x"])
def test_a_value_that_cannot_be_read_is_named(agent: str, value: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_settings(agent, ["agent.horizon=6", f"agent.samples={value}"])
    assert str(caught.value).startswith(f"override {f'agent.samples={value}'!r} can't be read; close every bracket")
