from pyrep.objects.object import Object


class Dummy(Object):
    kind = "dummy"

    @staticmethod
    def create():
        return Dummy._add()
