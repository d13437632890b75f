"""Sub-goals for the agent `video` from a language model behind an OpenAI-compatible endpoint: cd examples &&
OPENAI_BASE_URL=http://localhost:8000/v1 OPENAI_MODEL=NAME sfvgen-plan eval --task memory/return --agent video \
--checkpoint CHECKPOINT agent.sub_goals=language_sub_goals:LanguageSubGoals"""

import json
import os
import urllib.request

DECISIONS = 30  # of every sub-goal


class LanguageSubGoals:
    """Splits an episode into the orders that the checkpoint was trained with."""

    def __init__(self, checkpoint) -> None:
        self.card = checkpoint.card

    def split(self, task: str, seed: int, picture) -> tuple[tuple[str, int], ...]:
        """(text, decisions) of each sub-goal; ``picture()`` would give the first frame (H, W, 3)."""
        known = "\n".join(self.card.sub_goals) or "any short order"
        answer = ask(
            f"A robot arm at a table is told: {self.card.tasks[task]}\nOrders that it knows:\n{known}\n"
            "Split the task into such orders. Answer with a JSON list of strings and nothing else."
        )
        texts = json.loads(answer[answer.index("[") : answer.rindex("]") + 1])
        return tuple((text, DECISIONS) for text in texts)


def ask(question: str) -> str:
    """The answer of the model."""
    key = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"} if "OPENAI_API_KEY" in os.environ else {}
    body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": question}]}
    url = f"{os.environ['OPENAI_BASE_URL'].rstrip('/')}/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"} | key)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["choices"][0]["message"]["content"]
