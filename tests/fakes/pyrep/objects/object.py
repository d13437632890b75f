"""Scene objects are handles; what they are is in the simulator's table, which a shutdown empties."""

import itertools

import numpy as np

from pyrep.errors import ObjectAlreadyRemovedError, WrongObjectTypeError

IDENTITY = (0.0, 0.0, 0.0, 1.0)
TABLE = {}
_handles = itertools.count(100)


class Record:
    def __init__(self, kind):
        self.kind, self.parent = kind, -1
        self.position, self.quaternion = np.zeros(3), np.array(IDENTITY)
        self.size, self.color, self.primitive, self.mass, self.name = None, None, None, None, kind
        self.detectable = self.collidable = False


class Object:
    kind = "object"

    def __init__(self, name_or_handle):
        if isinstance(name_or_handle, int):
            self._handle = name_or_handle
            return
        found = [handle for handle, record in TABLE.items() if record.name == name_or_handle]
        if not found:
            raise RuntimeError("The call failed on the V-REP side. Return value: -1")
        (self._handle,) = found
        if self.record.kind != self.kind:
            raise WrongObjectTypeError(f"You requested object of type {self.kind}, but it is {self.record.kind}")

    @classmethod
    def _add(cls):
        handle = next(_handles)
        TABLE[handle] = Record(cls.kind)
        return cls(handle)

    def __eq__(self, other):
        return self._handle == other._handle

    @staticmethod
    def exists(name):
        return any(record.name == name for record in TABLE.values())

    @property
    def record(self):
        if self._handle not in TABLE:
            raise RuntimeError("The call failed on the V-REP side. Return value: -1")
        return TABLE[self._handle]

    def get_handle(self):
        return self._handle

    def still_exists(self):
        return self._handle in TABLE

    def remove(self):
        if not self.still_exists():
            raise ObjectAlreadyRemovedError("The object/model was already deleted.")
        del TABLE[self._handle]

    def get_name(self):
        return self.record.name

    def set_name(self, name):
        if Object.exists(name):
            raise RuntimeError("The call failed on the V-REP side. Return value: -1")
        self.record.name = name

    def get_position(self):
        return self.record.position.copy()

    def set_position(self, position):
        self.record.position = np.array(position, float)

    def get_orientation(self):
        return np.zeros(3)

    def get_pose(self):
        return np.concatenate([self.record.position, self.record.quaternion])

    def set_parent(self, parent, keep_in_place=True):
        self.record.parent = -1 if parent is None else parent.get_handle()

    def set_detectable(self, value):
        self.record.detectable = value

    def set_collidable(self, value):
        self.record.collidable = value

    def get_objects_in_tree(self, exclude_base=True):
        below = [Object(handle) for handle, record in TABLE.items() if record.parent == self._handle]
        return below if exclude_base else [self, *below]

    def get_configuration_tree(self):
        return b"tree"
