"""A task played by hand, real and imagined side by side: the game, and the page that shows it, made with Gradio."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.envs.controls import Controls
from sfvgen_plan.envs.family import family_of, resolve
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import psnr
from sfvgen_plan.model.checkpoint import Checkpoint

ENDLESS = 2**31 - 1  # nothing is cut off: who plays decides when it is over


class Session:
    """The game: each action moves the real environment and the imagined one. Not for several threads: frames are drawn
    in the thread that made it. ``seed``: of the real scene, whose first frame both worlds begin with; ``settings``: of
    ``ImaginedEnv``. Raises UserError: an unknown task, one that the checkpoint doesn't list, what the environments
    refuse.

    Attributes:
        action: the last one, (A,) in [-1, 1].
        frames: the real one and the imagined one, (H, W, 3) uint8.
        rewards, sums: (2,) of the last decision and of all, real and imagined.
        solved: whether the real task is solved now; ``chance``: the imagined probability.
        over: whether the real episode has ended by itself, or was cut off by its own limit.
    """

    def __init__(
        self, task: str, checkpoint: str | Path | Checkpoint | None = None, seed: int = 0, **settings: Any
    ) -> None:
        family = family_of(task)
        self.task = family.canonical(task)
        self.imagined = ImaginedEnv(self.task, checkpoint, max_decisions=ENDLESS, **settings)
        loaded = self.imagined.checkpoint
        self.real: Any = family.make(self.task, **loaded.frames, max_decisions=ENDLESS).unwrapped
        self.actions = Actions(self.real.action_space)
        try:
            self.real.reset(seed=seed)
            self.controls: Controls = resolve(family.controls)(self.real)
            self.reset(seed)
        except BaseException:
            self.close()
            raise

    def reset(self, seed: int) -> None:
        """Begin a new game with the scene of ``seed``."""
        frame, _ = self.real.reset(seed=seed)
        seen, _ = self.imagined.reset(seed=seed, options={"frames": frame})
        self.seed, self.decisions, self.action = seed, 0, self.controls.start
        self.frames, self.rewards, self.sums = (frame, seen), np.zeros(2), np.zeros(2)
        self.solved, self.chance, self.over = False, 0.0, False

    def move(self, name: str) -> None:
        """Take the action that a button means, in both worlds. Raises UserError: the real episode is over."""
        if self.over:
            raise UserError("the episode is over; start again")
        self.action = self.controls.action(name, self.action)
        held = self.actions.outside(self.action)
        frame, reward, ended, cut, real = self.real.step(held)
        seen, expected, _, _, told = self.imagined.step(held)
        self.decisions += 1
        self.frames, self.rewards = (frame, seen), np.array([reward, expected])
        self.sums = self.sums + self.rewards
        self.solved, self.chance = bool(real["success"]), float(told["success_probability"])
        self.over = bool(ended or cut)

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        self.real.close()


class Player:
    """The one game behind a page, and the one thread that it is made and played in: a renderer belongs to a thread."""

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
            buttons = {
                name: gr.Button(text, elem_id=f"play-{name}", min_width=70) for name, text in controls.buttons.items()
            }
        with gr.Row():
            seed = gr.Number(player.session.seed, label="Seed of the scene", precision=0, minimum=0)
            restart = gr.Button("Start again")
        gr.Markdown(controls.help)

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
    flags = "".join(f" · **{word}**" for word, holds in (("solved", session.solved), ("over", session.over)) if holds)
    (reward, expected), (real, imagined) = session.rewards, session.sums
    text = (
        f"decision {session.decisions} · reward real {reward:.2f}, imagined {expected:.2f} (so far "
        f"{real:.1f}, {imagined:.1f}){flags} · imagined success {100 * session.chance:.0f} % · "
        f"{float(psnr(*session.frames)):.1f} dB PSNR to the real frame"
    )
    return [*session.frames, text]


def listening(controls: Controls) -> str:
    """JavaScript that has keys press their buttons."""
    return f"""() => document.addEventListener("keydown", (event) => {{
  const name = {controls.keys}[event.code];
  if (!name || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
  event.preventDefault();
  document.getElementById(`play-${{name}}`).click();
}})"""


def serve(page: gr.Blocks, js: str, host: str, port: int | None, browser: bool) -> str:
    """Show the page, which runs ``js``, at ``http://host:port`` until ``page.close()``; ``browser`` opens it there.
    Returns its address. Raises UserError: something else has the port."""
    quiet: dict[str, Any] = {"quiet": True, "share": False, "footer_links": [], "enable_monitoring": False}
    try:
        address = page.launch(
            server_name=host, server_port=port, inbrowser=browser, prevent_thread_lock=True, js=js, **quiet
        )[1]
    except OSError as error:
        raise UserError(f"port={port} can't be used ({error}); give another with --port") from error
    return address
