from pyrep.const import RenderMode

CAMERAS = ("left_shoulder_camera", "right_shoulder_camera", "overhead_camera", "wrist_camera", "front_camera")
LOW_DIM = ("joint_velocities", "joint_positions", "joint_forces", "gripper_open", "gripper_pose")


class CameraConfig:
    def __init__(
        self,
        rgb=True,
        depth=True,
        point_cloud=True,
        mask=True,
        image_size=(128, 128),
        render_mode=RenderMode.OPENGL3,
    ):
        self.rgb, self.depth, self.point_cloud, self.mask = rgb, depth, point_cloud, mask
        self.image_size, self.render_mode = image_size, render_mode

    def set_all(self, value):
        self.rgb = self.depth = self.point_cloud = self.mask = value


class ObservationConfig:
    def __init__(
        self,
        left_shoulder_camera=None,
        right_shoulder_camera=None,
        overhead_camera=None,
        wrist_camera=None,
        front_camera=None,
        joint_velocities=True,
        joint_positions=True,
        joint_forces=True,
        gripper_open=True,
        gripper_pose=True,
        task_low_dim_state=False,
    ):
        self.left_shoulder_camera = left_shoulder_camera or CameraConfig()
        self.right_shoulder_camera = right_shoulder_camera or CameraConfig()
        self.overhead_camera = overhead_camera or CameraConfig()
        self.wrist_camera = wrist_camera or CameraConfig()
        self.front_camera = front_camera or CameraConfig()
        self.joint_velocities, self.joint_positions = joint_velocities, joint_positions
        self.joint_forces, self.gripper_open, self.gripper_pose = joint_forces, gripper_open, gripper_pose
        self.task_low_dim_state = task_low_dim_state

    def set_all(self, value):
        self.set_all_high_dim(value)
        self.set_all_low_dim(value)

    def set_all_high_dim(self, value):
        for camera in CAMERAS:
            getattr(self, camera).set_all(value)

    def set_all_low_dim(self, value):
        for name in (*LOW_DIM, "task_low_dim_state"):
            setattr(self, name, value)
