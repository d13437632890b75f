CAMERAS = ("left_shoulder", "right_shoulder", "overhead", "wrist", "front")
IMAGES = ("rgb", "depth", "mask", "point_cloud")
NUMBERS = ("joint_velocities", "joint_positions", "joint_forces", "gripper_open", "gripper_pose", "task_low_dim_state")


class Observation:
    """Fields that are off are None."""

    def __init__(self, **fields):
        for camera in CAMERAS:
            for image in IMAGES:
                setattr(self, f"{camera}_{image}", fields.pop(f"{camera}_{image}", None))
        for name in (*NUMBERS, "misc"):
            setattr(self, name, fields.pop(name, None))
        assert not fields
