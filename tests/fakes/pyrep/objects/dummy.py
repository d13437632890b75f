from pyrep.objects.object import Object


class Dummy(Object):
    kind = "dummy"

    @staticmethod
    def create(size=0.01):
        return Dummy._add()
