"""Protocols: what is comparable with what."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sfvgen_plan.benchmarks.protocols import (
    known_rules_hash,
    load_protocol,
    protocol_for_task,
    protocol_names,
)
from sfvgen_plan.envs.memory.family import LONGEST
from sfvgen_plan.envs.memory.family import TASKS as MEMORY_TASKS
from sfvgen_plan.envs.metaworld.family import TASKS
from sfvgen_plan.errors import UserError

PAGES = Path(__file__).resolve().parents[2] / "benchmarks" / "protocols"


def test_metaworld_10_plays_the_suite_on_twenty_seeds() -> None:
    protocol = load_protocol("metaworld-10")
    assert len(protocol.tasks) == 10
    assert list(protocol.seeds) == list(range(20))


def test_every_protocol_is_named_like_its_file() -> None:
    assert [load_protocol(name).id for name in protocol_names()] == protocol_names()


def test_the_rules_behind_committed_rows_do_not_change() -> None:
    # A new hash means that the rows in benchmarks/results were made under other rules: choose a new id instead.
    assert load_protocol("metaworld-10").hash == "6f6632a677e3"


def test_every_metaworld_task_has_a_protocol_and_suites_come_first() -> None:
    assert {protocol_for_task(task).id for task in load_protocol("metaworld-10").tasks} == {"metaworld-10"}
    assert {protocol_for_task(task).id for task in TASKS} == {"metaworld-10", "mt50"}


@pytest.mark.parametrize(
    ("task", "protocol"),
    [("open_drawer", "rlbench-data"), ("stack_cups", "rlbench-wiw4"), ("turn_tap", "rlbench-18")],
)
def test_a_task_of_rlbench_is_played_under_the_rules_of_its_first_suite(task: str, protocol: str) -> None:
    assert protocol_for_task(f"rlbench/{task}").id == protocol


def test_a_task_of_no_protocol_is_played_as_it_is_collected() -> None:
    protocol = protocol_for_task("rlbench/lamp_on")
    assert (protocol.id, protocol.camera, protocol.max_decisions) == ("rlbench", "front", 50)
    assert load_protocol("rlbench") == protocol
    with pytest.raises(UserError, match="rlbench/lamp_on"):
        protocol_for_task("rlbench/lamp_onn")


def test_any_change_changes_the_hash() -> None:
    protocol = load_protocol("metaworld-10")
    changes = {"camera": "corner2", "size": 64, "repeat": 4, "linger": 0, "episodes": 10, "env_version": "metaworld 4"}
    hashes = {dataclasses.replace(protocol, **{key: value}).hash for key, value in changes.items()}  # type: ignore[arg-type]
    assert len(hashes | {protocol.hash}) == len(changes) + 1


def test_fewer_of_the_same_seeds_stay_comparable() -> None:
    protocol = load_protocol("metaworld-10")
    assert protocol.variant(first_seed=5, episodes=3).id == "metaworld-10"
    assert list(protocol.variant(first_seed=5, episodes=3).seeds) == [5, 6, 7]


def test_other_seeds_or_limits_get_an_id_of_their_own() -> None:
    protocol = load_protocol("metaworld-10")
    shorter, unseen, more = (
        protocol.variant(max_decisions=50),
        protocol.variant(first_seed=100),
        protocol.variant(episodes=50),
    )
    assert len({protocol.id, shorter.id, unseen.id}) == 3
    assert unseen.id == more.id
    assert shorter.id.startswith("metaworld-10~")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"episodes": 0}, "episodes=0"),
        ({"max_decisions": 0}, "max_decisions=0"),
        ({"first_seed": -1}, "seed=-1"),
        ({"first_seed": 100_000}, "training data"),
        ({"first_seed": 99_990, "episodes": 11}, "training data"),
    ],
)
def test_impossible_variants_are_refused(change: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        load_protocol("metaworld-10").variant(**change)


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UserError, match="metaworld-10"):
        load_protocol("metaworld10")
    with pytest.raises(UserError, match="reach-v3"):
        protocol_for_task("raech-v3")


def test_every_protocol_has_a_page_with_its_rules() -> None:
    for name in protocol_names():
        protocol, page = load_protocol(name), (PAGES / f"{name}.md").read_text()
        assert page.startswith(f"# `{name}`\n")
        if protocol.env_id != "sfvgen/Metaworld-v0":
            continue
        for rule in (
            f"{protocol.size} × {protocol.size}",
            f"`{protocol.camera}`",
            f"{protocol.max_decisions} decisions",
        ):
            assert rule in page, (name, rule)
        assert f"{protocol.max_decisions * protocol.repeat} raw steps" in page
        assert f"seeds 0 to {protocol.episodes - 1}" in page
        assert f"--suite {name}" in page


def test_protocols_are_what_they_are_named_after() -> None:
    assert len(load_protocol("avdc11-v3").tasks) == 11
    assert load_protocol("avdc11-v3").episodes == 75
    assert (len(load_protocol("mt50").tasks), load_protocol("mt50").episodes) == (50, 50)
    assert set(load_protocol("mt50").tasks) == set(TASKS)
    for protocol in map(load_protocol, protocol_names()):
        assert protocol.env_id != "sfvgen/Metaworld-v0" or set(protocol.tasks) <= set(TASKS)
    small = load_protocol("ivideogpt6")
    assert (len(small.tasks), small.size, small.repeat, small.camera) == (6, 64, 2, "corner")


def test_memory_plays_both_tasks_on_fifty_seeds() -> None:
    protocol = load_protocol("memory")
    assert protocol.tasks == tuple(MEMORY_TASKS)
    assert list(protocol.seeds) == list(range(50))
    assert protocol.max_decisions == LONGEST
    assert {protocol_for_task(task).id for task in protocol.tasks} == {"memory"}


def test_rules_do_not_depend_on_the_seeds_but_on_everything_else() -> None:
    protocol = load_protocol("metaworld-10")
    assert protocol.rules_hash == protocol.variant(first_seed=5, episodes=3).rules_hash == known_rules_hash(protocol.id)
    assert protocol.rules_hash != dataclasses.replace(protocol, size=64).rules_hash
    assert protocol.rules_hash != dataclasses.replace(protocol, id="other").rules_hash
    assert known_rules_hash("metaworld-10~12345678") == ""
