from pyrep.objects.object import Object


class Shape(Object):
    kind = "shape"

    @staticmethod
    def create(
        type,
        size,
        mass=1.0,
        backface_culling=False,
        visible_edges=False,
        smooth=False,
        respondable=True,
        static=False,
        renderable=True,
        position=None,
        orientation=None,
        color=None,
    ):
        shape = Shape._add()
        record = shape.record
        record.name, record.primitive, record.size, record.mass = f"Shape{shape.get_handle()}", type, list(size), mass
        record.color = color
        if position is not None:
            shape.set_position(position)
        return shape
