"""How each agent of the registry is built from its settings. Imported only when an agent is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfvgen_plan.agents.acceptance import Acceptance
from sfvgen_plan.agents.cem import CEM, Optimiser
from sfvgen_plan.agents.guided import GuidedPlanner, TrustRegion
from sfvgen_plan.agents.language import LanguageModel
from sfvgen_plan.agents.mppi import MPPI
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.agents.planning import Planner, PlanningAgent
from sfvgen_plan.agents.prior import PriorAgent
from sfvgen_plan.agents.random import RandomAgent
from sfvgen_plan.agents.search import SearchPlanner
from sfvgen_plan.agents.settings import make
from sfvgen_plan.errors import UserError, unknown_name

Settings = Mapping[str, Any]


def build_random(checkpoint: Any, device: str, seed: int, settings: Settings) -> RandomAgent:
    """Uniformly random actions."""
    return RandomAgent(settings["action_dim"], seed)


def build_prior(checkpoint: Any, device: str, seed: int, settings: Settings) -> PriorAgent:
    """The prior alone."""
    loaded = _load(checkpoint, device)
    prior = loaded.prior(settings["prior"])
    return PriorAgent(loaded.simulator(), prior, context=loaded.card.context_frames, seed=seed)


def build_readout(checkpoint: Any, device: str, seed: int, settings: Settings) -> Any:
    """Metaworld's scripted policies on the checkpoint's read-outs."""
    from sfvgen_plan.agents.readout import ReadoutExpert

    loaded = _load(checkpoint, device)
    return ReadoutExpert(loaded.simulator(), context=loaded.card.context_frames)


def build_cem(checkpoint: Any, device: str, seed: int, settings: Settings) -> PlanningAgent:
    """Free search by the cross-entropy method."""
    return _build_search(make(CEM, settings), checkpoint, device, seed, settings)


def build_mppi(checkpoint: Any, device: str, seed: int, settings: Settings) -> PlanningAgent:
    """Free search by path integral control."""
    return _build_search(make(MPPI, settings), checkpoint, device, seed, settings)


def build_guided(checkpoint: Any, device: str, seed: int, settings: Settings) -> PlanningAgent:
    """Planning around the prior."""
    if settings["feedback"] and settings["replan_every"] > 1:
        raise UserError("feedback=true plans one decision at a time; use replan_every=1")
    loaded = _load(checkpoint, device)
    planner = make(
        GuidedPlanner,
        settings,
        prior=loaded.prior(settings["prior"]),
        objective=make(Objective, settings["objective"]),
        trust=make(TrustRegion, settings["trust"]),
        acceptance=make(Acceptance, settings["acceptance"]),
    )
    return _planning_agent(loaded, planner, seed, settings)


def build_video(checkpoint: Any, device: str, seed: int, settings: Settings) -> PlanningAgent:
    """Video planning: sub-goal, imagined video, inverse dynamics."""
    from sfvgen_plan.agents.sub_goals import LanguageSubGoals, RuleSubGoals, SubGoals
    from sfvgen_plan.agents.video import VideoPlanner
    from sfvgen_plan.memory.rows import simulator_of_row
    from sfvgen_plan.synthesis import Synthesis

    loaded, language = _load(checkpoint, device), settings["language_model"]
    simulator = simulator_of_row(loaded, settings["row"], settings["sampler_steps"])
    if not settings["memory"]:
        simulator = loaded.simulator(settings["sampler_steps"], context_frames=simulator.context_frames)
    learning = simulator.fast_learning
    sub_goals: SubGoals
    if settings["sub_goals"] == "language_model":
        model = make(LanguageModel, language)
        sub_goals = LanguageSubGoals(model, loaded, language["decisions"], language["picture"])
    elif settings["sub_goals"] == "rule":
        sub_goals = RuleSubGoals(loaded)
    else:
        raise unknown_name("sub_goals", settings["sub_goals"], ("rule", "language_model"))
    return PlanningAgent(
        simulator,
        make(VideoPlanner, settings, synthesis=Synthesis(simulator, loaded.inverse()), sub_goals=sub_goals),
        context=loaded.card.context_frames,
        replan_every=settings["replan_every"],
        memory_every=settings["memory_every"] if learning is not None else None,
        memory_whole=learning is not None and learning.keeps_all,
        seed=seed,
    )


def build_expert(checkpoint: Any, device: str, seed: int, settings: Settings) -> Any:
    """Metaworld's scripted policies."""
    from sfvgen_plan.agents.expert import ExpertAgent

    return ExpertAgent()


def build_oracle(checkpoint: Any, device: str, seed: int, settings: Settings) -> Any:
    """Free search in the true simulator."""
    from sfvgen_plan.agents.oracle import OracleAgent

    objective = make(Objective, settings["objective"])
    planner = make(SearchPlanner, settings, optimiser=make(CEM, settings), objective=objective, prior=None)
    return OracleAgent(planner, seed)


def _build_search(optimiser: Optimiser, checkpoint: Any, device: str, seed: int, settings: Settings) -> PlanningAgent:
    loaded = _load(checkpoint, device)
    prior = None if settings["prior"] is None else loaded.prior(settings["prior"])
    objective = make(Objective, settings["objective"])
    planner = make(SearchPlanner, settings, optimiser=optimiser, objective=objective, prior=prior)
    return _planning_agent(loaded, planner, seed, settings)


def _planning_agent(loaded: Any, planner: Planner, seed: int, settings: Settings) -> PlanningAgent:
    return PlanningAgent(
        loaded.simulator(sampler_steps=settings["sampler_steps"], memory=_fast_learning(settings)),
        planner,
        context=loaded.card.context_frames,
        replan_every=settings["replan_every"],
        revisits=settings["revisits"],
        memory_every=settings["memory_every"] if settings["memory"] else None,
        seed=seed,
    )


def _fast_learning(settings: Settings) -> Any:
    """Hyperparameters of fast learning, or None for an agent that plays without memory."""
    if not settings["memory"]:
        return None
    from sfvgen_plan.memory.learning import FastLearning

    return make(FastLearning, settings["fast_learning"], targets=tuple(settings["fast_learning"]["targets"]))


def _load(checkpoint: Any, device: str) -> Any:
    """A checkpoint given by its folder, by None (the bundled one), or loaded already."""
    if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
        return checkpoint
    from sfvgen_plan.model.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint, device)
