from pyrep.objects.dummy import Dummy
from pyrep.objects.object import Object
from pyrep.objects.shape import Shape

__all__ = ["Dummy", "Object", "Shape"]
