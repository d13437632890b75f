from pyrep.objects.object import Object


class Shape(Object):
    kind = "shape"

    @staticmethod
    def create(type, size, mass=1.0, respondable=True, static=False, position=None, color=None):
        shape = Shape._add()
        record = shape.record
        record.name, record.size, record.color = f"Shape{shape.get_handle()}", list(size), color
        shape.set_position(position)
        return shape
