"""Writes staged episodes as a dataset in Minari's HDF5 layout."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
from minari import __version__ as minari_version
from minari.serialization import serialize_space

from sfvgen_plan.data.staging import COMPRESSION_LEVEL, StagedEpisode, chunk_offsets, chunk_shape
from sfvgen_plan.io import atomic
from sfvgen_plan.registration import register_envs

DATA_FILE = "main_data.hdf5"
METADATA_FILE = "metadata.json"
COLLECTION_KEY = "collection"  # where metadata.json keeps the settings a dataset was collected with


def write_dataset(folder: Path, name: str, episodes: Iterable[StagedEpisode], settings: Mapping[str, Any]) -> None:
    """Write ``episodes``, all of one frame size, in their order, as a dataset that ``minari.MinariDataset(folder)``
    reads, as a whole or not at all. Minari's own writer compresses frames lossily or not at all, so the file is written
    here; the frames' chunks, which are compressed already, go in as they are. Raises UserError: it can't be written.
    ValueError: no episodes.

    Args:
        name: becomes the dataset's id, made to fit Minari's rules.
        settings: of the collection, with at least "camera", "size", "repeat" and "source"; with "env_id" Minari can
            make the environment again, of the first task unless told otherwise.
    """
    with atomic(folder, "out") as staged:
        staged.mkdir()
        metadata = _write_episodes(staged / DATA_FILE, episodes, settings)
        metadata["dataset_id"] = f"{re.sub(r'[^-_A-Za-z0-9]+', '-', name) or 'episodes'}-v0"
        (staged / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")


def _write_episodes(path: Path, episodes: Iterable[StagedEpisode], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write the HDF5 file; what Minari is to know of it."""
    steps, count, first = 0, 0, None
    with h5py.File(path, "w") as file:
        for count, episode in enumerate(episodes, start=1):
            first = first or episode
            _write_episode(file.create_group(f"episode_{count - 1}"), count - 1, episode, settings)
            steps += len(episode.actions)
    if first is None:
        raise ValueError("episodes is empty; a dataset needs at least one")
    pixels = gym.spaces.Box(0, 255, first.frame_shape[1:], np.uint8)
    state = gym.spaces.Box(-np.inf, np.inf, first.state.shape[1:], np.float64)
    metadata = {
        "minari_version": minari_version,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "total_episodes": count,
        "total_steps": steps,
        "dataset_size": round(path.stat().st_size / 1e6, 1),
        "observation_space": serialize_space(gym.spaces.Dict({"pixels": pixels, "state": state})),
        "action_space": serialize_space(gym.spaces.Box(-1.0, 1.0, first.actions.shape[1:], np.float32)),
        COLLECTION_KEY: dict(settings),
    }
    if "env_id" in settings:
        register_envs()
        spec = gym.spec(settings["env_id"])
        frames = {name: settings[name] for name in ("camera", "size", "repeat")}
        metadata["env_spec"] = replace(spec, kwargs={**spec.kwargs, "task": first.task, **frames}).to_json()
    return metadata


def _write_episode(group: h5py.Group, index: int, episode: StagedEpisode, settings: Mapping[str, Any]) -> None:
    decisions = len(episode.actions)
    group.attrs.update(
        {
            "id": index, "total_steps": decisions, "task": episode.task, "instruction": episode.instruction,
            "description": episode.description or episode.instruction, "kind": episode.kind, "seed": episode.seed,
            "camera": settings["camera"], "size": settings["size"], "repeat": settings["repeat"],
        }
    )  # fmt: skip
    observations = group.create_group("observations")
    shape, chunk = episode.frame_shape, chunk_shape(episode.frame_shape)
    pixels = observations.create_dataset(
        "pixels", shape, np.uint8, chunks=chunk, compression="gzip", compression_opts=COMPRESSION_LEVEL
    )
    for offset, packed in zip(chunk_offsets(shape, chunk), episode.chunks, strict=True):
        pixels.id.write_direct_chunk(offset, packed)
    observations["state"] = episode.state
    group["actions"] = episode.actions
    group["rewards"] = episode.rewards
    last = np.arange(decisions) == decisions - 1
    group["terminations"], group["truncations"] = last & episode.terminated, last & (not episode.terminated)
    infos = group.create_group("infos")
    infos["expert_action"] = episode.expert_actions
    infos["success"] = episode.success
    infos["estimates"] = episode.estimates
    if episode.sub_goals:
        group.attrs["sub_goals"] = json.dumps(episode.sub_goals)
        infos["sub_goal"] = episode.sub_goal
