"""Scene objects are handles; what they are is in the simulator's table, which a shutdown empties."""

import itertools

import numpy as np

TABLE = {}
_handles = itertools.count(100)
FAILED = "The call failed on the V-REP side. Return value: -1"


class Record:
    def __init__(self, kind):
        self.name, self.parent, self.position = kind, -1, np.zeros(3)
        self.size = self.color = None
        self.detectable = self.collidable = False


class Object:
    kind = "object"

    def __init__(self, name_or_handle):
        if isinstance(name_or_handle, int):
            self._handle = name_or_handle
            return
        found = [handle for handle, record in TABLE.items() if record.name == name_or_handle]
        if not found:
            raise RuntimeError(FAILED)
        (self._handle,) = found

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
            raise RuntimeError(FAILED)
        return TABLE[self._handle]

    def get_handle(self):
        return self._handle

    def still_exists(self):
        return self._handle in TABLE

    def remove(self):
        if not self.still_exists():
            raise RuntimeError("The object/model was already deleted.")
        del TABLE[self._handle]

    def set_name(self, name):
        if Object.exists(name):
            raise RuntimeError(FAILED)
        self.record.name = name

    def get_position(self):
        return self.record.position.copy()

    def set_position(self, position):
        self.record.position = np.array(position, float)

    def get_pose(self):
        return np.concatenate([self.record.position, [0.0, 0.0, 0.0, 1.0]])

    def set_parent(self, parent):
        self.record.parent = parent.get_handle()

    def set_detectable(self, value):
        self.record.detectable = value

    def set_collidable(self, value):
        self.record.collidable = value

    def get_objects_in_tree(self):
        """Those below it."""
        return [Object(handle) for handle, record in TABLE.items() if record.parent == self._handle]
