"""The row that is kept of an episode."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator
from pydantic.dataclasses import dataclass

from sfvgen_plan.benchmarks.results.files import columns_of
from sfvgen_plan.errors import UserError


def _storable(text: str) -> str:
    text.encode()  # surrogates can't be
    return text


Text = Annotated[str, AfterValidator(_storable)]
Count = Annotated[int, Field(ge=0, lt=2**63)]  # what SQLite can hold
Number = Annotated[float, Field(allow_inf_nan=False)]
OneLine = Annotated[str, AfterValidator(lambda text: " ".join(text.encode(errors="replace").decode().split()))]


class EpisodeKey(NamedTuple):
    """What makes an episode the same one in another run."""

    protocol: str
    task: str
    agent: str
    seed: int
    checkpoint: str


@dataclass(frozen=True)
class EpisodeRow:
    """Result of one episode. Values are checked when it is made, and texts (of a CSV file) become numbers. Raises
    ValidationError: a value of another kind, a number that is not finite, too large, or negative where none can be, or
    values that contradict each other."""

    FORMATS: ClassVar[dict[str, str]] = {"return_": ".4f", "plan_seconds": ".5f"}
    protocol: Text  # id of the protocol it was played under
    # what was played, by whom, from which start
    task: Text
    agent: Text
    seed: Count
    success_any: bool  # the success flag was up at some raw step
    success_final: bool  # the success flag was up in the last decision (see Protocol)
    # sum over decisions of the reward per decision (mean of its raw steps)
    return_: Annotated[Number, Field(validation_alias=AliasChoices("return", "return_"))]
    decisions: Count  # decisions played
    plan_seconds: Annotated[Number, Field(ge=0)]  # wall time per decision spent choosing it, on device
    denoiser_calls: Count  # forward passes of the denoiser in the whole episode
    imagined_decisions: Count  # decisions imagined in the whole episode
    error: OneLine = ""  # what ended the episode early, or empty. Such an episode counts as a failure
    first_success: Count | None = None  # the decision that first succeeded, counted from 1, or None
    checkpoint: Text = ""  # hash of the checkpoint behind the agent, or empty
    device: Text = ""  # where the agent computed
    protocol_hash: Text = ""  # Protocol.rules_hash of the rules it was played under
    run: Text = ""  # id of the run that played it, or empty

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.success_final and not self.success_any:
            raise ValueError("success_final=1 without success_any=1")
        if self.first_success is not None and not 1 <= self.first_success <= max(1, self.decisions):
            raise ValueError(f"first_success={self.first_success} lies outside the {self.decisions} decisions")
        if self.error and self.success_any:
            raise ValueError("an episode that broke off counts as a failure, this one has success_any=1")
        return self

    @property
    def key(self) -> EpisodeKey:
        """The episode, whatever came of it."""
        return EpisodeKey(self.protocol, self.task, self.agent, self.seed, self.checkpoint)

    def values(self) -> dict[str, Any]:
        return dict(zip(COLUMNS, vars(self).values(), strict=True))


COLUMNS = columns_of(EpisodeRow)


def settled(rows: Iterable[EpisodeRow]) -> list[EpisodeRow]:
    """Of each episode the row that counts: the first that was played to its end, else the newest."""
    kept: dict[tuple[EpisodeKey, str], EpisodeRow] = {}
    for row in rows:
        known = kept.get((row.key, row.protocol_hash))
        if known is None or known.error:
            kept[row.key, row.protocol_hash] = row
    return list(kept.values())


def check_same_rules(rows: Iterable[EpisodeRow], where: str) -> None:
    """Raises UserError, naming ``where``: the rules of a protocol were changed between these rows."""
    hashes = sorted({row.protocol_hash for row in rows})
    if len(hashes) > 1:
        raise UserError(f"{where} has rows under other rules of the same name ({', '.join(hashes)}); keep those apart")
