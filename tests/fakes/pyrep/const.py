from enum import Enum


class RenderMode(Enum):
    OPENGL = 0
    OPENGL_AUXILIARY = 1
    OPENGL3 = 5
    OPENGL3_WINDOWED = 6
