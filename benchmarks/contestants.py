"""From ``--agent``, ``--checkpoint``, ``--device`` and ``agent.key=value`` to somebody who can play."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.agents.base import BatchAgent, EnvAgent
    from sfvgen_plan.benchmarks.protocols import Protocol
    from sfvgen_plan.benchmarks.running.runner import Contestant
    from sfvgen_plan.model.checkpoint import Checkpoint


def make_contestant(
    agent: str,
    label: str,
    settings: Mapping[str, Any],
    checkpoint: str | None,
    device: str,
    protocol: Protocol,
    tasks: Sequence[str],
) -> Contestant:
    """Load what the agent needs and make it.

    Raises:
        UserError: unusable checkpoint or device, or a checkpoint for other tasks or frames than the protocol's.
    """
    from functools import partial

    from sfvgen_plan.agents.adapters import kind_of
    from sfvgen_plan.agents.registry import acts_on_env, make_agent, needs_checkpoint
    from sfvgen_plan.benchmarks.running.runner import Contestant
    from sfvgen_plan.devices import device_name, resolve_device
    from sfvgen_plan.envs.simulators import simulator_of

    if acts_on_env(agent):
        # Made in the workers; a checkpoint, if it takes one, is loaded there.
        factory = partial(make_agent, agent, checkpoint, "cpu", 0, dict(settings))
        return Contestant(label, env_agent=cast("Callable[[], EnvAgent]", factory), device=device_name("cpu"))
    outside, loaded = ":" in agent, None
    device = resolve_device(device) if outside or needs_checkpoint(agent) else "cpu"
    if needs_checkpoint(agent) or (outside and checkpoint is not None):
        loaded = checkpoint_for(protocol, tasks, checkpoint, device)
    made = make_agent(agent, loaded, device, 0, settings, simulator_of(tasks[0]).action_dim)
    if kind_of(made) != "batch":
        raise UserError(
            f"agent={agent!r} makes an agent that acts on the environment; give its factory acts_on_env = True"
        )
    return Contestant(
        label,
        agent=cast("BatchAgent", made),
        checkpoint=loaded.hash if loaded else "",
        device=device_name(device),
        learning=learning_cost(agent, loaded),
    )


def learning_cost(agent: str, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What the records of the checkpoint and of an ``sb3:`` agent say of their training: ``checkpoint`` (seconds,
    device, episodes of data) and ``agent`` (algorithm, decisions imagined, seconds)."""
    import json
    from pathlib import Path

    from sfvgen_plan.agents.registry import POLICY_PREFIX

    cost: dict[str, Any] = {}
    if checkpoint is not None:
        record = checkpoint.card.training
        stages, data = record.get("seconds"), record.get("data")
        own = {
            # "this run" leaves out what was trained before an interruption; the stages don't.
            "seconds": sum(v for name, v in stages.items() if name != "this run") if isinstance(stages, dict) else None,
            "device": record.get("device"),
            "episodes": data.get("episodes") if isinstance(data, dict) else None,
        }
        cost["checkpoint"] = {name: value for name, value in own.items() if value is not None}
    if agent.startswith(POLICY_PREFIX):
        file = Path(agent.removeprefix(POLICY_PREFIX)).with_name("train.json")
        try:
            record = json.loads(file.read_text())
            own = {
                "algorithm": record.get("algo"),
                "decisions": record.get("decisions", record.get("settings", {}).get("decisions")),
                "seconds": record.get("seconds"),
            }
            cost["agent"] = {name: value for name, value in own.items() if value is not None}
        except (OSError, ValueError, AttributeError):
            pass  # A zip that was trained elsewhere has no such file.
    return {name: value for name, value in cost.items() if value}


def checkpoint_for(protocol: Protocol, tasks: Sequence[str], path: str | None, device: str) -> Checkpoint:
    """Load a checkpoint and make sure that it was trained for these tasks and frames.

    Raises:
        UserError: it can't be loaded or was trained for something else.
    """
    from sfvgen_plan.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path, device)
    checkpoint.check_fits(tasks, protocol, f"protocol {protocol.id!r}", "give a checkpoint trained with the latter")
    return checkpoint
