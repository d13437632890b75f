"""The policies whose scores are compared, agents as they are or made worse on purpose, and the rules they play by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sfvgen_plan.benchmarks.protocols import Protocol, chosen
from sfvgen_plan.benchmarks.running.contestant import Entry
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import Settings, setting


@dataclass(frozen=True)
class FidelitySettings(Settings):
    """How policies are played and judged."""

    threshold: float = setting(0.5, "probability above which an imagined decision is a success", 0, 0.99, above=True)
    sampler_steps: int = setting(1, "denoising steps of an imagined decision", 1)
    noise: float = setting(0.0, "deviation of Gaussian noise on the agents' actions", 0)
    random: float = setting(0.0, "probability of a random action instead of the agents'", 0, 1)


def standard_policies() -> list[Entry]:
    """Eleven of different strength."""
    few = ["agent.candidates=8"]
    return [
        Entry.of("prior"),
        Entry.of("prior", noise=0.5),
        Entry.of("prior", noise=1.0),
        Entry.of("prior", random=0.5),
        Entry.of("prior10"),
        Entry.of("prior", random=0.25),
        Entry.of("prior10", noise=0.5),
        Entry.of("random"),
        Entry.of("cem", ["agent.candidates=16", "agent.elites=4"]),
        Entry.of("default", few),
        Entry.of("default", [*few, "agent.prior=prior10"]),
    ]


def named_policies(agents: Sequence[str], overrides: Sequence[str], settings: FidelitySettings) -> list[Entry]:
    """The agents, each with the same settings and disturbance; without any, the standard ones. Raises UserError: see
    ``Entry``; settings without an agent, an agent twice, or one that needs the real environment."""
    if not agents:
        if overrides or settings.noise or settings.random:
            raise UserError("settings of agents, noise and random need an agent; add --agent NAME")
        return standard_policies()
    entries = [Entry.of(agent, overrides, noise=settings.noise, random=settings.random) for agent in agents]
    for entry in entries:
        if agents.count(entry.agent) > 1:
            raise UserError(f"agent={entry.agent!r} is named twice; give it once")
        entry.check_sees_frames()
    return entries


def rules(
    suite: str,
    tasks: Sequence[str],
    max_decisions: int | None,
    first_seed: int,
    episodes: int,
    checkpoint: str | None = None,
) -> Protocol:
    """The rules that episodes are played by, with the tasks to play, which end with their first success: those of
    ``tasks``, or else of a suite; in frames of the ``checkpoint`` where no protocol says which. Raises UserError:
    unknown task or suite, tasks of several protocols, or seeds that belong to training data."""
    protocol, tasks = chosen(suite, tasks, checkpoint)
    changed = protocol.variant(max_decisions=max_decisions, first_seed=first_seed, episodes=episodes)
    return replace(changed, id=protocol.id, linger=0, tasks=tuple(tasks))
