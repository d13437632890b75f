"""Protocols: what is comparable with what."""

from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import pytest

from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_for_task, protocol_names
from sfvgen_plan.cli import collect
from sfvgen_plan.envs.memory.family import LONGEST
from sfvgen_plan.envs.memory.family import TASKS as MEMORY_TASKS
from sfvgen_plan.envs.metaworld.family import TASKS
from sfvgen_plan.envs.rlbench.family import FORK_ONLY
from sfvgen_plan.errors import UserError

PAGES = Path(__file__).resolve().parents[2] / "benchmarks" / "protocols"
MAIN = load_protocol("metaworld-10")


def test_protocols_are_what_they_are_named_after_and_the_rules_behind_committed_rows_do_not_change():
    assert len(MAIN.tasks) == 10 and list(MAIN.seeds) == list(range(20))
    assert (len(load_protocol("avdc11-v3").tasks), load_protocol("avdc11-v3").episodes) == (11, 75)
    assert (set(load_protocol("metaworld-50").tasks), load_protocol("metaworld-50").episodes) == (set(TASKS), 50)
    small = load_protocol("ivideogpt6")
    assert (len(small.tasks), small.size, small.repeat, small.camera) == (6, 64, 2, "corner")
    memory = load_protocol("memory")
    assert (memory.tasks, memory.max_decisions) == (tuple(MEMORY_TASKS), LONGEST)
    assert list(memory.seeds) == list(range(50))
    for protocol in map(load_protocol, protocol_names()):
        assert protocol.env_id != "sfvgen/Metaworld-v0" or set(protocol.tasks) <= set(TASKS)
    # A new hash means that the rows in benchmarks/rows were made under other rules: choose a new id instead.
    assert MAIN.hash == "6f6632a677e3"


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_is_named_like_its_file_and_has_a_page_with_its_rules(name):
    protocol, page = load_protocol(name), (PAGES / f"{name}.md").read_text()
    assert protocol.id == name
    assert page.startswith(f"# `{name}`\n")
    if protocol.env_id == "sfvgen/Metaworld-v0":
        rules = (f"{protocol.size} × {protocol.size}", f"`{protocol.camera}`", f"{protocol.max_decisions} decisions",
                 f"{protocol.max_decisions * protocol.repeat} raw steps", f"seeds 0 to {protocol.episodes - 1}",
                 f"--suite {name}")  # fmt: skip
        assert [rule for rule in rules if rule not in page] == []
    if protocol.env_id == "sfvgen/RLBench-v0":
        assert "omparable" in page
        assert all(task in page for task in FORK_ONLY if f"rlbench/{task}" in protocol.tasks)


def test_a_task_is_played_under_the_rules_of_its_first_suite():
    assert {protocol_for_task(task).id for task in MAIN.tasks} == {"metaworld-10"}
    assert {protocol_for_task(task).id for task in TASKS} == {"metaworld-10", "metaworld-50"}
    assert {protocol_for_task(task).id for task in MEMORY_TASKS} == {"memory"}
    for task, protocol in (("open_drawer", "rlbench-data"), ("stack_cups", "rlbench-wiw4"), ("turn_tap", "rlbench-18")):
        assert protocol_for_task(f"rlbench/{task}").id == protocol
    # A task of no protocol is played as it is collected.
    protocol = protocol_for_task("rlbench/lamp_on")
    assert (protocol.id, protocol.camera, protocol.max_decisions) == ("rlbench", "front+wrist", 50)
    assert load_protocol("rlbench") == protocol


def test_data_is_collected_in_the_frames_of_a_protocol_or_else_in_the_usual_ones_of_the_simulator():
    usual = dict.fromkeys(protocol_names(), ("corner4", 128, 5, 50))
    usual |= {name: ("front+wrist", 128, 1, 50) for name in usual if name.startswith("rlbench")}
    usual |= {"memory": ("own", 128, 5, 200), "ivideogpt6": ("corner", 64, 2, 50)}
    asked = {f"--suite {name}": frames for name, frames in usual.items()} | {
        "--suite ivideogpt6 --size 32 --repeat 3": ("corner", 32, 3, 50),
        "--suite ivideogpt6 --camera corner2 --decisions 9": ("corner2", 64, 2, 9),
        "--task hammer-v3": ("corner4", 128, 5, 50),
    }
    parser = ArgumentParser()
    collect.add_arguments(parser)
    for options, frames in asked.items():
        args = parser.parse_args(["--out", "set", *options.split()])
        assert tuple(collect.chosen(args)[1].values()) == frames, options


def test_another_build_of_the_simulator_is_named_by_id_and_version():
    built = MAIN.played_in("source-built core, other scene")
    assert built.id == "metaworld-10~source-built-core-other-scene"
    assert built.env_version == f"{MAIN.env_version}, source-built core, other scene"
    assert built.rules_hash != MAIN.rules_hash
    shorter = built.variant(max_decisions=7).variant(max_decisions=8)
    assert shorter.id.startswith(f"{built.id}~") and shorter.id.count("~") == 2
    assert MAIN.played_in("") == MAIN


def test_any_change_changes_the_hash_but_fewer_of_the_same_seeds_stay_comparable():
    changes = {"camera": "corner2", "size": 64, "repeat": 4, "linger": 0, "id": "other"}
    changed = [replace(MAIN, **{name: value}) for name, value in changes.items()]
    assert len({MAIN.hash, replace(MAIN, episodes=10).hash, *(protocol.hash for protocol in changed)}) == 7
    assert len({MAIN.rules_hash, replace(MAIN, episodes=10).rules_hash, *(p.rules_hash for p in changed)}) == 6
    fewer, shorter = MAIN.variant(first_seed=5, episodes=3), MAIN.variant(max_decisions=50)
    unseen, more = MAIN.variant(first_seed=100), MAIN.variant(episodes=50)
    assert (fewer.id, fewer.rules_hash, list(fewer.seeds)) == ("metaworld-10", MAIN.rules_hash, [5, 6, 7])
    assert len({MAIN.id, shorter.id, unseen.id}) == 3
    assert unseen.id == more.id
    assert shorter.id.startswith("metaworld-10~")


def test_impossible_variants_are_refused_and_unknown_names_come_with_the_nearest():
    for change, named in (
        ({"episodes": 0}, "episodes=0"),
        ({"max_decisions": 0}, "max_decisions=0"),
        ({"first_seed": -1}, "seed=-1"),
        ({"first_seed": 100_000}, "training data"),
        ({"first_seed": 99_990, "episodes": 11}, "training data"),
    ):
        with pytest.raises(UserError, match=named):
            MAIN.variant(**change)
    for call, name, nearest in (
        (load_protocol, "metaworld10", "metaworld-10"),
        (protocol_for_task, "raech-v3", "reach-v3"),
        (protocol_for_task, "rlbench/lamp_onn", "rlbench/lamp_on"),
    ):
        with pytest.raises(UserError, match=nearest):
            call(name)
