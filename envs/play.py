"""A task played by hand, real and imagined side by side: the game, and the page that shows it, made with Gradio.

Each action moves the real environment and the imagined one, and can be taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from sfvgen_plan.envs.decisions import DecisionEnv
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.rendering import ROTATED_CAMERAS
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import psnr
from sfvgen_plan.model.checkpoint import Checkpoint

ENDLESS = 2**31 - 1
"""Nothing is cut off: who plays decides when it is over."""

OPEN, CLOSED = -1.0, 1.0
"""The gripper's effort, last number of an action."""

BUTTONS = {
    "left": "← left", "away": "↑ away", "near": "↓ near", "right": "right →", "up": "⤒ up", "down": "⤓ down",
    "stay": "● stay", "grip": "gripper", "rewind": "⟲ rewind",
}  # fmt: skip
KEYS = {
    "KeyW": "away", "ArrowUp": "away", "KeyS": "near", "ArrowDown": "near", "KeyA": "left", "ArrowLeft": "left",
    "KeyD": "right", "ArrowRight": "right", "KeyE": "up", "KeyQ": "down", "KeyX": "stay", "Space": "grip",
    "Backspace": "rewind",
}  # fmt: skip
"""Keys by their place on the keyboard, and the buttons that they press."""

HELP = "`W` `A` `S` `D` or arrows move the hand, `E` `Q` up and down, `X` stays, `Space` grips, `Backspace` takes back"

LISTEN = f"""() => document.addEventListener("keydown", (event) => {{
  const name = {KEYS}[event.code];
  if (!name || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
  event.preventDefault();
  document.getElementById(`play-${{name}}`).click();
}})"""


@dataclass(frozen=True)
class Moment:
    """Both worlds after the same actions, and all that is needed to go on from here.

    Attributes:
        action: (4,) that led here; zeros at the start.
        real, imagined: frames (H, W, 3) uint8.
        rewards: of the decision that led here, real and imagined.
        solved: whether the real task is solved now; ``chance``: the imagined probability.
        states: exact states of the two environments.
    """

    action: np.ndarray
    real: np.ndarray
    imagined: np.ndarray
    rewards: tuple[float, float]
    solved: bool
    chance: float
    states: tuple[Any, Any]


class Session:
    """The game. Not for several threads: frames are drawn in the thread that made it.

    Args:
        task: one on MuJoCo that the checkpoint lists.
        checkpoint: folder, or a loaded checkpoint; None is the bundled one.
        seed: of the real scene, whose first frame both worlds begin with.
        settings: of ``ImaginedEnv``, such as ``sampler_steps`` and ``memory``.

    Raises:
        UserError: an unknown task, one that the checkpoint doesn't list, what the environments refuse.
    """

    def __init__(
        self, task: str, checkpoint: str | Path | Checkpoint | None = None, seed: int = 0, **settings: Any
    ) -> None:
        family = family_of(task)
        self.task = family.canonical(task)
        self.imagined = ImaginedEnv(self.task, checkpoint, max_decisions=ENDLESS, **settings)
        loaded = self.imagined.checkpoint
        frames = {"size": loaded.size, "camera": loaded.camera, "repeat": loaded.repeat}
        self.real: DecisionEnv = family.make(self.task, **frames, max_decisions=ENDLESS).unwrapped
        self.moments: list[Moment] = []
        try:
            self.reset(seed)
        except BaseException:
            self.close()
            raise

    @property
    def moment(self) -> Moment:
        """Where the game stands."""
        return self.moments[-1]

    def reset(self, seed: int) -> Moment:
        """Begin a new game with the scene of ``seed``."""
        frame, _ = self.real.reset(seed=seed)
        seen, info = self.imagined.reset(seed=seed, options={"frames": frame})
        self.seed, self.moments = seed, []
        start = np.array([0.0, 0.0, 0.0, OPEN], np.float32)
        return self._stand_at(start, (frame, seen), (0.0, 0.0), False, info)

    def move(self, name: str) -> Moment:
        """Take the action that one of ``BUTTONS`` means, at full strength; "grip" closes or opens the gripper, and
        "rewind" takes the last action back, unless there is none."""
        if name == "rewind":
            self.moments = self.moments[:-1] or self.moments
            return self._restored()
        grip = self.moment.action[3]
        if name == "grip":
            grip = OPEN if grip == CLOSED else CLOSED
        right, away = directions(self.real)
        ways = {"left": -right, "right": right, "away": away, "near": -away}
        x, y = ways.get(name, np.zeros(2))
        z = {"up": 1.0, "down": -1.0}.get(name, 0.0)
        # The largest number is 1, so that a diagonal takes no longer than it must.
        largest = max(abs(x), abs(y), abs(z)) or 1.0
        return self.step(np.array([x / largest, y / largest, z / largest, grip], np.float32))

    def step(self, action: np.ndarray) -> Moment:
        """Take an action (4,) in [-1, 1] in both worlds."""
        try:
            frame, reward, _, _, real = self.real.step(action)
            seen, expected, _, _, told = self.imagined.step(action)
        except BaseException:
            self._restored()  # one world may have moved without the other
            raise
        return self._stand_at(action, (frame, seen), (float(reward), float(expected)), bool(real["success"]), told)

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        self.real.close()

    def _stand_at(self, action: np.ndarray, frames: Any, rewards: Any, solved: bool, told: Any) -> Moment:
        states = self.real.snapshot(), self.imagined.get_state()
        chance = float(told.get("success_probability", 0.0))
        self.moments.append(Moment(action, frames[0], frames[1], rewards, solved, chance, states))
        return self.moment

    def _restored(self) -> Moment:
        """Put both environments where the game stands."""
        self.real.restore(self.moment.states[0])
        self.imagined.set_state(self.moment.states[1])
        return self.moment


def directions(env: DecisionEnv) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal unit vectors (2,), x and y: which way the hand goes to go right and away in the picture."""
    simulation = env._simulation
    camera = simulation.model.camera(env.camera).id
    axes = np.asarray(simulation.data.cam_xmat[camera]).reshape(3, 3)  # columns: right, up, backwards
    right = -axes[:2, 0] if env.camera in ROTATED_CAMERAS else axes[:2, 0]
    length = float(np.linalg.norm(right))
    # A camera that lies on its side has no horizontal right; any pair of axes will do.
    right = right / length if length > 0.1 else np.array([1.0, 0.0])
    away = np.array([-right[1], right[0]])
    # Turned with the picture, this way is away from the camera, unless it hangs upside down.
    return right, away if away @ -axes[:2, 2] >= 0 else -away


class Player:
    """The one game behind a page, and the one thread that it is played in: a renderer belongs to a thread.

    Args:
        make: makes the session, inside that thread.

    Raises:
        UserError: what ``make`` raises.
    """

    def __init__(self, make: Callable[[], Session]) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="game")
        try:
            self.session = self._thread.submit(make).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def do(self, what: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``what(session, *arguments)`` in the game's thread."""
        return self._thread.submit(what, self.session, *arguments).result()

    def close(self) -> None:
        """End the game."""
        self.do(Session.close)
        self._thread.shutdown()


def build(player: Player) -> gr.Blocks:
    """The page: two frames, what is known of them, buttons. Reloading it keeps the game; two tabs show the same one."""
    with gr.Blocks(title=f"{player.session.task} · sfvgen-plan", analytics_enabled=False) as page:
        gr.Markdown(f"### {player.session.task}: {player.session.imagined.instruction}")
        with gr.Row():
            real = gr.Image(label="Real", format="png", buttons=[])
            imagined = gr.Image(label="Imagined", format="png", buttons=[])
        said = gr.Markdown()
        with gr.Row():
            buttons = {name: gr.Button(text, elem_id=f"play-{name}", min_width=70) for name, text in BUTTONS.items()}
        with gr.Row():
            seed = gr.Number(player.session.seed, label="Seed of the scene", precision=0, minimum=0)
            restart = gr.Button("Start again")
        gr.Markdown(HELP)

        def on(event: Callable[..., Any], act: Callable[..., Any], *inputs: Any) -> None:
            """Let an event call ``act(session, *values)`` and show what came of it. Every one counts, in order."""

            def handle(*values: Any) -> list[Any]:
                try:
                    player.do(act, *values)
                except UserError as error:
                    gr.Warning(str(error), title="Not possible")
                return player.do(shown)

            quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
            in_order: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_id": "game", "concurrency_limit": 1}
            event(handle, list(inputs), [real, imagined, said], **quiet, **in_order)

        on(page.load, lambda session: None)
        for name, button in buttons.items():
            on(button.click, partial(Session.move, name=name))
        on(restart.click, lambda session, number: session.reset(int(number or 0)), seed)
    return page


def shown(session: Session) -> list[Any]:
    """Both frames, and what is known of them."""
    moment, decisions = session.moment, len(session.moments) - 1
    sums = [sum(past.rewards[world] for past in session.moments) for world in (0, 1)]
    text = (
        f"decision {decisions} · reward real {moment.rewards[0]:.2f}, imagined {moment.rewards[1]:.2f} (so far "
        f"{sums[0]:.1f}, {sums[1]:.1f}){' · **solved**' if moment.solved else ''} · imagined success "
        f"{100 * moment.chance:.0f} % · {float(psnr(moment.real, moment.imagined)):.1f} dB PSNR to the real frame"
    )
    return [moment.real, moment.imagined, text]


def serve(page: gr.Blocks, host: str, port: int | None, browser: bool) -> str:
    """Show the page at ``http://host:port`` until ``page.close()``; ``browser`` opens it there. Returns its address.

    Raises:
        UserError: something else has the port.
    """
    quiet: dict[str, Any] = {"quiet": True, "share": False, "footer_links": [], "enable_monitoring": False}
    try:
        address = page.launch(
            server_name=host, server_port=port, inbrowser=browser, prevent_thread_lock=True, js=LISTEN, **quiet
        )[1]
    except OSError as error:
        raise UserError(f"port={port} can't be used ({error}); give another with --port") from error
    return address
