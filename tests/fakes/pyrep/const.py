from enum import Enum

RenderMode = Enum("RenderMode", "OPENGL OPENGL3")
PrimitiveShape = Enum("PrimitiveShape", "CUBOID SPHERE CYLINDER CONE")
