"""Exact snapshots of a raw Metaworld environment.

MuJoCo's integration state alone is not enough: Metaworld keeps reward state in Python attributes, writes scene layout
into the model at reset, and lets some attributes alias simulation memory (``obj_init_pos`` is sometimes a live view of
``data.xpos``), which a deep copy would silently turn into constants.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_ALIASABLE = ("xpos", "xquat", "site_xpos", "geom_xpos", "qpos", "qvel", "mocap_pos", "mocap_quat")
_IMMUTABLE = (bool, int, float, str, bytes, type(None), np.generic)


@dataclass(frozen=True)
class DataView:
    """An attribute that is a live view of simulation memory: ``data.<field>`` flattened, from ``offset`` on."""

    field: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RawSnapshot:
    """Everything that decides how a raw environment goes on. Picklable; treat it as opaque and never write to it."""

    physics: np.ndarray
    body_pos: np.ndarray
    site_pos: np.ndarray
    attributes: dict[str, Any]
    random_state: Mapping[str, Any]


def capture(raw: Any) -> RawSnapshot:
    """Snapshot of ``raw`` (a ``SawyerXYZEnv``), sharing no memory with it."""
    attributes: dict[str, Any] = {}
    for name, value in vars(raw).items():
        if isinstance(value, _IMMUTABLE):
            attributes[name] = value
        elif isinstance(value, np.ndarray):
            attributes[name] = _data_view(raw.data, value) or value.copy()
        elif isinstance(value, (list, dict, tuple)):
            attributes[name] = copy.deepcopy(value)
    return RawSnapshot(
        physics_of(raw.model, raw.data),
        raw.model.body_pos.copy(),
        raw.model.site_pos.copy(),
        attributes,
        raw.np_random.bit_generator.state,
    )


def restore(raw: Any, snapshot: RawSnapshot) -> None:
    """Put ``raw``, an environment of the snapshot's task, into exactly the state ``snapshot`` was taken in."""
    attributes = vars(raw)
    for name, value in snapshot.attributes.items():
        if isinstance(value, _IMMUTABLE):
            attributes[name] = value
        elif isinstance(value, np.ndarray):
            attributes[name] = value.copy()
        elif isinstance(value, DataView):
            memory = getattr(raw.data, value.field).reshape(-1)
            attributes[name] = memory[value.offset : value.offset + int(np.prod(value.shape))].reshape(value.shape)
        else:
            attributes[name] = copy.deepcopy(value)
    raw.np_random.bit_generator.state = snapshot.random_state
    raw.model.body_pos[:] = snapshot.body_pos
    raw.model.site_pos[:] = snapshot.site_pos
    set_physics(raw.model, raw.data, snapshot.physics)


def physics_of(model: Any, data: Any) -> np.ndarray:
    """MuJoCo's integration state: all that decides how the simulation of a model goes on."""
    import mujoco  # what made the model has imported it already

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    physics = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, physics, kind)
    return physics


def set_physics(model: Any, data: Any, physics: np.ndarray) -> None:
    """Back to what ``physics_of`` gave; what follows is the same bit for bit."""
    import mujoco  # what made the model has imported it already

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    mujoco.mj_setState(model, data, physics, kind)
    mujoco.mj_forward(model, data)
    # The forward pass rewrites the solver's warm start, on which the next step's last bits depend.
    mujoco.mj_setState(model, data, physics, kind)


def _data_view(data: Any, array: np.ndarray) -> DataView | None:
    """Where in ``data`` the memory of ``array`` lies; None for ordinary arrays."""
    address = array.__array_interface__["data"][0]
    for field in _ALIASABLE:
        memory = getattr(data, field)
        offset = (address - memory.__array_interface__["data"][0]) // memory.itemsize
        if 0 <= offset < memory.size and array.dtype == memory.dtype:
            return DataView(field, offset, array.shape)
    return None
