from enum import Enum


class RenderMode(Enum):
    OPENGL = 0
    OPENGL_AUXILIARY = 1
    OPENGL3 = 5
    OPENGL3_WINDOWED = 6


class PrimitiveShape(Enum):
    CUBOID = 3
    SPHERE = 4
    CYLINDER = 5
    CONE = 6
