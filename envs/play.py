"""A task played by hand, real and imagined side by side: the game, and the page that shows it, made with Gradio.

Each action moves the real environment and the imagined one, and can be taken back: by going back where a simulator can,
else by playing again what came before.
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

from sfvgen_plan.actions import Actions
from sfvgen_plan.envs.controls import REWIND, Controls
from sfvgen_plan.envs.family import family_of, resolve
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import psnr
from sfvgen_plan.model.checkpoint import Checkpoint

ENDLESS = 2**31 - 1
"""Nothing is cut off: who plays decides when it is over."""


@dataclass(frozen=True)
class Moment:
    """Both worlds after the same actions, and all that is needed to go on from here.

    Attributes:
        action: (A,) in [-1, 1] that led here.
        real, imagined: frames (H, W, 3) uint8.
        rewards: of the decision that led here, real and imagined.
        solved: whether the real task is solved now; ``chance``: the imagined probability.
        over: whether the real episode has ended by itself, or was cut off by its own limit.
        states: exact states of the two environments, of the real one if it has any.
    """

    action: np.ndarray
    real: np.ndarray
    imagined: np.ndarray
    rewards: tuple[float, float]
    solved: bool
    chance: float
    over: bool
    states: tuple[Any, Any]


class Session:
    """The game. Not for several threads: frames are drawn in the thread that made it.

    Args:
        task: one that the checkpoint lists, of a family with ``controls``.
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
        self.real: Any = family.make(self.task, **frames, max_decisions=ENDLESS).unwrapped
        self.actions = Actions(self.real.action_space)
        self.moments: list[Moment] = []
        try:
            frame, _ = self.real.reset(seed=seed)
            self.controls: Controls = resolve(family.controls)(self.real)
            self._begin(seed, frame)
        except BaseException:
            self.close()
            raise

    @property
    def moment(self) -> Moment:
        """Where the game stands."""
        return self.moments[-1]

    def reset(self, seed: int) -> Moment:
        """Begin a new game with the scene of ``seed``."""
        return self._begin(seed, self.real.reset(seed=seed)[0])

    def _begin(self, seed: int, frame: np.ndarray) -> Moment:
        seen, info = self.imagined.reset(seed=seed, options={"frames": frame})
        self.seed, self.moments = seed, []
        return self._stand_at(self.controls.start, (frame, seen), (0.0, 0.0), (False, False), info)

    def move(self, name: str) -> Moment:
        """Take the action that a button means; "rewind" takes the last action back, unless there is none."""
        if name == REWIND:
            self.moments = self.moments[:-1] or self.moments
            return self._restored()
        return self.step(self.controls.action(name, self.moment.action))

    def step(self, action: np.ndarray) -> Moment:
        """Take an action (A,) in [-1, 1] in both worlds.

        Raises:
            UserError: the real episode is over.
        """
        if self.moment.over:
            raise UserError("the episode is over; take the last action back, or start again")
        held = self.actions.outside(action)
        try:
            frame, reward, ended, cut, real = self.real.step(held)
            seen, expected, _, _, told = self.imagined.step(held)
        except BaseException:
            self._restored()  # one world may have moved without the other
            raise
        rewards, flags = (float(reward), float(expected)), (bool(real["success"]), bool(ended or cut))
        return self._stand_at(action, (frame, seen), rewards, flags, told)

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        self.real.close()

    def _stand_at(self, action: np.ndarray, frames: Any, rewards: Any, flags: tuple[bool, bool], told: Any) -> Moment:
        states = self.real.snapshot() if hasattr(self.real, "snapshot") else None, self.imagined.get_state()
        chance = float(told.get("success_probability", 0.0))
        self.moments.append(Moment(action, frames[0], frames[1], rewards, flags[0], chance, flags[1], states))
        return self.moment

    def _restored(self) -> Moment:
        """Put both environments where the game stands."""
        if self.moment.states[0] is not None:
            self.real.restore(self.moment.states[0])
        else:
            self.real.replay(self.seed, [self.actions.outside(moment.action) for moment in self.moments[1:]])
        self.imagined.set_state(self.moment.states[1])
        return self.moment


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
        controls = player.session.controls
        gr.Markdown(f"### {player.session.task}: {player.session.imagined.instruction}")
        with gr.Row():
            real = gr.Image(label="Real", format="png", buttons=[])
            imagined = gr.Image(label="Imagined", format="png", buttons=[])
        said = gr.Markdown()
        with gr.Row():
            labels = {**controls.buttons, REWIND: "⟲ rewind"}
            buttons = {name: gr.Button(text, elem_id=f"play-{name}", min_width=70) for name, text in labels.items()}
        with gr.Row():
            seed = gr.Number(player.session.seed, label="Seed of the scene", precision=0, minimum=0)
            restart = gr.Button("Start again")
        gr.Markdown(f"{controls.help}, `Backspace` takes back")

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
    flags = "".join(f" · **{word}**" for word, holds in (("solved", moment.solved), ("over", moment.over)) if holds)
    text = (
        f"decision {decisions} · reward real {moment.rewards[0]:.2f}, imagined {moment.rewards[1]:.2f} (so far "
        f"{sums[0]:.1f}, {sums[1]:.1f}){flags} · imagined success {100 * moment.chance:.0f} % · "
        f"{float(psnr(moment.real, moment.imagined)):.1f} dB PSNR to the real frame"
    )
    return [moment.real, moment.imagined, text]


def listening(controls: Controls) -> str:
    """JavaScript that has keys press their buttons."""
    keys = {**controls.keys, "Backspace": REWIND}
    return f"""() => document.addEventListener("keydown", (event) => {{
  const name = {keys}[event.code];
  if (!name || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
  event.preventDefault();
  document.getElementById(`play-${{name}}`).click();
}})"""


def serve(page: gr.Blocks, js: str, host: str, port: int | None, browser: bool) -> str:
    """Show the page, which runs ``js``, at ``http://host:port`` until ``page.close()``; ``browser`` opens it there.
    Returns its address.

    Raises:
        UserError: something else has the port.
    """
    quiet: dict[str, Any] = {"quiet": True, "share": False, "footer_links": [], "enable_monitoring": False}
    try:
        address = page.launch(
            server_name=host, server_port=port, inbrowser=browser, prevent_thread_lock=True, js=js, **quiet
        )[1]
    except OSError as error:
        raise UserError(f"port={port} can't be used ({error}); give another with --port") from error
    return address
