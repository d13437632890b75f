"""Everything is on by default."""

from pyrep.const import RenderMode

CAMERAS = ("left_shoulder", "right_shoulder", "overhead", "wrist", "front")
LOW_DIM = ("joint_velocities", "joint_positions", "joint_forces", "gripper_open", "gripper_pose", "task_low_dim_state")


class CameraConfig:
    def __init__(self, rgb=True, image_size=(128, 128), render_mode=RenderMode.OPENGL3):
        self.rgb, self.image_size, self.render_mode = rgb, image_size, render_mode

    def set_all(self, value):
        self.rgb = value


class ObservationConfig:
    def __init__(self, **cameras):
        for name in (camera + "_camera" for camera in CAMERAS):
            setattr(self, name, cameras.pop(name, None) or CameraConfig())
        assert not cameras
        self.set_all_low_dim(True)

    def set_all_low_dim(self, value):
        for name in LOW_DIM:
            setattr(self, name, value)
