"""Fast off-screen pictures of a MuJoCo scene."""

import atexit
import ctypes.util
import functools
import importlib
import os
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from sfvgen_plan.envs.forks import opening
from sfvgen_plan.errors import UserError, unknown_name

ROTATED_CAMERAS = frozenset({"corner", "corner2", "corner3", "corner4"})
"""Metaworld mounts these upside down: their pictures have to be rotated by 180 degrees."""

SUPERSAMPLING = 2
"""Each pixel is the mean of 2x2 rendered ones. Averaging on our side costs half of what MSAA 4 does under a software
rasteriser, and gives small goal markers sub-pixel positions."""

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_MAX_GEOMS = 2000
_REMEDY = "install one with: sudo apt-get install -y libegl1 libgl1-mesa-dri libopengl0"


def gl_backend() -> str:
    """The OpenGL backend to render with: "egl" or "osmesa" on Linux, or whatever ``MUJOCO_GL`` already asks for; "cgl"
    / "wgl" on macOS / Windows. Also sets ``MUJOCO_GL`` to it where that is unset. MuJoCo's import fails when that names
    a library that is missing, so the libraries are looked up first. Raises UserError: no usable library; the message
    names the apt command."""
    if not sys.platform.startswith("linux"):
        return os.environ.get("MUJOCO_GL") or {"darwin": "cgl"}.get(sys.platform, "wgl")
    wanted = os.environ.get("MUJOCO_GL", "").strip().lower()
    if wanted in ("disable", "disabled", "off", "false", "0"):
        raise UserError(f"MUJOCO_GL={wanted!r} switches rendering off; unset it, or use pixels=False")
    if wanted and wanted not in _LIBRARIES:
        return wanted
    candidates = [wanted] if wanted else list(_LIBRARIES)
    for backend in candidates:
        if _has_library(_LIBRARIES[backend]):
            os.environ["MUJOCO_GL"] = backend
            return backend
    libraries = " or ".join(f"lib{_LIBRARIES[backend]}" for backend in candidates)
    raise UserError(f"MUJOCO_GL={wanted!r}: no OpenGL library ({libraries}) found; {_REMEDY}")


@functools.cache
def _has_library(name: str) -> bool:
    return ctypes.util.find_library(name) is not None


def import_mujoco() -> ModuleType:
    """MuJoCo, imported so that a missing OpenGL library only matters once something is rendered. Raises UserError:
    ``MUJOCO_GL`` names a library that is missing, with which MuJoCo cannot be imported at all."""
    if "mujoco" not in sys.modules:
        try:
            gl_backend()
        except UserError:
            if os.environ.get("MUJOCO_GL", "").strip().lower() in _LIBRARIES:
                raise
    return importlib.import_module("mujoco")


def examine() -> list[tuple[str, bool, str]]:
    """Whether a frame can really be drawn: a library may be there without a driver behind it."""
    try:
        backend, mujoco = gl_backend(), import_mujoco()
        renderer = mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 16, 16)
        renderer.render()
        renderer.close()
    except Exception as error:  # whatever is broken, in whatever way
        reason = " ".join(str(error).split()) or type(error).__name__
        return [("graphics", False, reason if _REMEDY in reason else f"{reason}; {_REMEDY}")]
    return [("graphics", True, f"MUJOCO_GL={backend}")]


def check_camera(model: Any, camera: str) -> list[str]:
    """The names of a ``mujoco.MjModel``'s cameras. Raises UserError: ``camera`` is none of them."""
    cameras = [model.camera(i).name for i in range(model.ncam)]
    if camera not in cameras:
        raise unknown_name("camera", camera, cameras)
    return cameras


class FrameRenderer:
    """Renders one camera of one ``mujoco.MjModel`` in pictures of ``size`` pixels a side: no shadows, no reflections,
    2x2 box-averaged, upright. Raises UserError: size below 1, unknown camera, no OpenGL library, or a process forked
    from one that has drawn.

    Compared to ``mujoco.Renderer`` with its defaults this skips a 4096x4096 shadow map and multisampling. Each renderer
    owns an OpenGL context; one per process is safe with every backend (OSMesa mixes several up), and processes have to
    be spawned, never forked. Call ``close`` when done.
    """

    def __init__(self, model: Any, size: int, camera: str) -> None:
        if size < 1:
            raise UserError(f"size={size} is not a picture size; give a number of pixels of at least 1")
        backend = gl_backend()
        self._mujoco = mujoco = import_mujoco()
        cameras = check_camera(model, camera)
        self._flip = (slice(None), slice(None, None, -1)) if camera in ROTATED_CAMERAS else slice(None, None, -1)
        raw = size * SUPERSAMPLING
        opening("an OpenGL context")
        self._gl = _gl_context(backend, raw)
        self._stays_open = close_at_exit(self)
        self._gl.make_current()
        self._context = _render_context(mujoco, model, raw)
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = cameras.index(camera)
        self._rect = mujoco.MjrRect(0, 0, raw, raw)
        self._pixels = np.empty((raw, raw, 3), np.uint8)
        self._model = model

    def render(self, data: Any) -> np.ndarray:
        """Picture of ``data`` (a ``mujoco.MjData`` of the model): (size, size, 3) uint8 RGB, a fresh array."""
        mujoco = self._mujoco
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        # OpenGL's rows start at the bottom, so a rotated camera needs only its columns reversed.
        return np.ascontiguousarray(_halve(self._pixels)[self._flip])

    def close(self) -> None:
        """Free the OpenGL context. Closing twice is fine."""
        if self._gl is not None:
            atexit.unregister(self._stays_open)
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None


def close_at_exit(drawing: Any) -> Callable[[], None]:
    """Have what draws closed when the process ends: EGL shuts down before the garbage collector gets there, and then
    complains about every open context. What is returned undoes it: ``atexit.unregister(it)``."""
    close = functools.partial(_close_if_alive, weakref.ref(drawing))
    atexit.register(close)
    return close


def _close_if_alive(reference: weakref.ref[Any]) -> None:
    drawing = reference()
    if drawing is not None:
        drawing.close()


def _gl_context(backend: str, size: int) -> Any:
    """An OpenGL context of ``backend``, whatever backend MuJoCo chose when it was imported."""
    try:
        if backend in _LIBRARIES:
            return importlib.import_module(f"mujoco.{backend}").GLContext(size, size)
        return import_mujoco().GLContext(size, size)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise UserError(f"MUJOCO_GL={backend!r}: no OpenGL context ({error}); {_REMEDY}") from error


def _render_context(mujoco: ModuleType, model: Any, size: int) -> Any:
    """MuJoCo's GPU resources with an exact-size buffer, no multisampling, no shadow map; ``model`` stays as it was."""
    visual = model.vis
    before = (visual.quality.offsamples, visual.quality.shadowsize, visual.global_.offwidth, visual.global_.offheight)
    try:
        visual.quality.offsamples = visual.quality.shadowsize = 0
        visual.global_.offwidth = visual.global_.offheight = size
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    finally:
        visual.quality.offsamples, visual.quality.shadowsize = before[:2]
        visual.global_.offwidth, visual.global_.offheight = before[2:]
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    return context


def _halve(pixels: np.ndarray) -> np.ndarray:
    """Mean of 2x2 blocks, rounded: (2H, 2W, 3) uint8 -> (H, W, 3) uint8."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    rows = np.add(pixels[::2], pixels[1::2], dtype=np.uint16).reshape(height, width, 6)
    blocks = rows[..., :3] + rows[..., 3:]
    blocks += 2
    blocks >>= 2
    return blocks.astype(np.uint8)
