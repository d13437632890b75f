"""Agents for tests of the runner. In a module of their own, because worker processes import them."""

import os
import time

import numpy as np

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.behaviour import ExpertAgent
from sfvgen_plan.errors import UserError


class Stumbling(ExpertAgent):
    """The expert, but its third decision on seed 1 is an error."""

    def reset(self, task, seed):
        super().reset(task, seed)
        self.seed, self.decisions = seed, 0

    def act(self, env):
        self.decisions += 1
        if self.seed == 1 and self.decisions == 3:
            self.stumble()
        return super().act(env)

    def stumble(self):
        raise RuntimeError("lost\nmy way")


class Dying(Stumbling):
    """The same, but it takes its process with it."""

    def stumble(self):
        os._exit(3)


class Refusing(Stumbling):
    """The same, but it blames the user."""

    def stumble(self):
        raise UserError("agent='refusing' will not; give another")


class Dancing:
    """A batch agent: actions depend on the episode and its decision only. Notes who was asked together."""

    def __init__(self, action_dim=4, fails_on=None, error=RuntimeError):
        self.action_dim, self.fails_on, self.error = action_dim, fails_on, error
        self.batches = []
        self._episodes = {}
        self._decisions = {}

    def reset(self, lanes, tasks, seeds):
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            self._episodes[lane], self._decisions[lane] = (task, seed), 0

    def act(self, lanes, frames):
        assert (len(frames), frames.ndim) == (len(lanes), 4)
        assert frames.dtype == np.uint8
        self.batches.append(list(lanes))
        actions = []
        for lane in lanes:
            self._decisions[lane] += 1
            if self._episodes[lane] == self.fails_on and self._decisions[lane] == 2:
                raise self.error("tripped")
            generator = np.random.default_rng([self._episodes[lane][1], self._decisions[lane]])
            actions.append(generator.uniform(-1, 1, self.action_dim))
        return np.array(actions)

    def stats(self, lane):
        decisions = self._decisions[lane]
        return PlanCost(plan_seconds=0.5 * decisions, denoiser_calls=3 * decisions, imagined_decisions=40 * decisions)


class Unhurried(Dancing):
    """Gives a second lane, whose process starts later on busy cores, the time to join before all jobs are played."""

    def act(self, lanes, frames):
        if len(lanes) == 1 and [0, 1] not in self.batches:
            time.sleep(0.5)
        return super().act(lanes, frames)


class Slow(ExpertAgent):
    """The expert, thinking long enough to be interrupted."""

    def act(self, env):
        time.sleep(0.02)
        return super().act(env)


def unusable(observation):
    """A policy whose actions are no numbers."""
    return [float("nan")] * 4


def still(observation):
    """Does nothing."""
    return np.zeros(4, np.float32)
