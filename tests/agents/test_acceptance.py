"""A plan is played for a gain that imagination can be believed."""

from __future__ import annotations

import pytest
import torch

from sfvgen_plan.agents.acceptance import Acceptance, broken_promises


def test_promises_are_broken_when_their_decision_has_passed() -> None:
    promises = [(4, 0.2), (6, 0.9), (9, 2.0)]
    assert broken_promises(promises, decision=3) == 0.0
    assert broken_promises(promises, decision=4) == pytest.approx(0.2)
    assert broken_promises(promises, decision=6) == pytest.approx(0.9)


def test_broken_promises_are_forgiven_with_time() -> None:
    promises = [(4, 0.8)]
    assert broken_promises(promises, decision=14, half_life=10) == pytest.approx(0.4)
    assert broken_promises(promises, decision=24, half_life=10) == pytest.approx(0.2)


def test_doubt_raises_the_margin_of_the_lanes_that_were_disappointed() -> None:
    gain = torch.full((2, 1), 0.5)
    candidates = torch.zeros(2, 8)
    broken = torch.tensor([0.0, 0.6])
    assert Acceptance(doubt=1.0).accept(gain, candidates, broken).tolist() == [True, False]
    assert Acceptance(doubt=0.5).accept(gain, candidates, broken).tolist() == [True, True]
    assert Acceptance(doubt=0.0).accept(gain, candidates, broken).tolist() == [True, True]
