"""Where the sub-goals of an episode come from: a rule, which knows our tasks, or a language model, which needs none."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from sfvgen_plan.agents.language import LanguageModel
from sfvgen_plan.envs.memory.sub_goals import TASKS, Schedule, sub_goals_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import Checkpoint


class SubGoals(Protocol):
    """Splits an episode into sub-goals."""

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        """Texts with their decisions, for the episode of ``seed``; ``picture`` gives its first frame (H, W, 3)."""


def text_at(schedule: Schedule, decision: int) -> str:
    """The text of the decision after ``decision`` others; the last one stays."""
    for text, decisions in schedule:
        if decision < decisions:
            return text
        decision -= decisions
    return schedule[-1][0]


class RuleSubGoals:
    """Tasks with sub-goals: what the environment's ``info`` says, too. Others: their one instruction.

    Raises:
        UserError: a checkpoint of such tasks that was not trained on their sub-goals.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.instructions, self.repeat = checkpoint.card.tasks, checkpoint.repeat
        if not checkpoint.card.sub_goals and any(task in TASKS for task in checkpoint.tasks):
            raise UserError(
                f"checkpoint={str(checkpoint.path)!r} was trained without the texts of sub-goals; collect its data "
                "again, which then has them, and train on it"
            )

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        """See ``SubGoals``."""
        if task in TASKS:
            return sub_goals_of(task, seed, self.repeat)
        return ((self.instructions[task], 1),)


class LanguageSubGoals:
    """A language model is told the task's instruction and the texts of training, and shown the first frame.

    Args:
        model: the endpoint.
        checkpoint: whose texts it is told.
        decisions: of every sub-goal.
        picture: whether the frame is sent, too; not every model takes pictures.
    """

    def __init__(self, model: LanguageModel, checkpoint: Checkpoint, decisions: int = 30, picture: bool = True) -> None:
        if decisions < 1:
            raise UserError(f"language_model.decisions={decisions} must be at least 1")
        self.model, self.card, self.decisions, self.picture = model, checkpoint.card, decisions, picture

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        """See ``SubGoals``.

        Raises:
            UserError: no answer, or one that is no list of texts.
        """
        known = "\n".join(f"- {text}" for text in self.card.sub_goals) or "- (none: any short order will do)"
        question = (
            f"The task of a robot arm at a table: {self.card.tasks[task]}\n"
            f"It has learned these orders; use their words:\n{known}\n"
            "Split the task into the orders to give, one after the other. "
            "Answer with a JSON list of strings and nothing else."
        )
        content: list[dict[str, Any]] = [{"type": "text", "text": question}]
        if self.picture:
            content.append({"type": "image_url", "image_url": {"url": data_url(picture())}})
        answer = self.model.complete([{"role": "user", "content": content if self.picture else question}])
        return tuple((text, self.decisions) for text in _texts_of(answer))


def data_url(frame: np.ndarray) -> str:
    """A frame (H, W, 3) uint8 as a PNG in a URL."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _texts_of(answer: str) -> list[str]:
    """The list in an answer, which may have words around it."""
    try:
        texts = json.loads(answer[answer.index("[") : answer.rindex("]") + 1])
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(f"the language model answered {answer[:200]!r}, no list of sub-goals; try another model")
    return [text.strip() for text in texts]
