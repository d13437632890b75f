"""The page of a game, made with Gradio: two frames, buttons and keys, and the rewards so far."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import gradio as gr
import pandas as pd

from sfvgen_plan.envs.play.session import Session
from sfvgen_plan.errors import UserError

BUTTONS = {
    "left": "← left",
    "away": "↑ away",
    "near": "↓ near",
    "right": "right →",
    "up": "⤒ up",
    "down": "⤓ down",
    "stay": "● stay",
    "grip": "gripper",
    "rewind": "⟲ rewind",
}
KEYS = {
    "KeyW": "away", "ArrowUp": "away", "KeyS": "near", "ArrowDown": "near", "KeyA": "left", "ArrowLeft": "left",
    "KeyD": "right", "ArrowRight": "right", "KeyE": "up", "KeyQ": "down", "KeyX": "stay", "Space": "grip",
    "Backspace": "rewind",
}  # fmt: skip
"""Keys by their place on the keyboard, and the buttons that they press."""

HELP = "`W` `A` `S` `D` or arrows move the hand, `E` `Q` up and down, `X` stays, `Space` grips, `Backspace` takes back"

LISTEN = f"""() => {{
  document.addEventListener("keydown", (event) => {{
    const name = {KEYS}[event.code];
    if (!name || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
    event.preventDefault();
    document.getElementById(`play-${{name}}`).click();
  }});
  document.body.dataset.keys = "heard";
}}"""


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
        self._thread.submit(self.session.close).result()
        self._thread.shutdown()


def build(player: Player) -> gr.Blocks:
    """The page. Reloading it keeps the game; two tabs show the same one."""
    with gr.Blocks(title=f"{player.session.task} · sfvgen-plan", analytics_enabled=False) as page:
        gr.Markdown(f"### {player.session.task}: {player.session.imagined.instruction}")
        with gr.Row():
            real = gr.Image(label="Real", format="png", buttons=[], elem_id="play-real")
            imagined = gr.Image(label="Imagined", format="png", buttons=[], elem_id="play-imagined")
        said = gr.Markdown(elem_id="play-said")
        with gr.Row():
            buttons = {name: gr.Button(text, elem_id=f"play-{name}", min_width=70) for name, text in BUTTONS.items()}
        chart = gr.LinePlot(x="decision", y="reward", color="world", height=160, y_lim=[0, 10], buttons=[])
        with gr.Row():
            seed = gr.Number(player.session.seed, label="Seed of the scene", precision=0, minimum=0)
            restart = gr.Button("Start again", elem_id="play-restart")
        gr.Markdown(HELP)

        def on(event: Callable[..., Any], act: Callable[..., Any], *inputs: Any) -> None:
            """Let an event call ``act(session, *values)`` and show what came of it. Every one counts, in order."""

            def handle(*values: Any) -> list[Any]:
                try:
                    player.do(act, *values)
                except UserError as error:
                    gr.Warning(str(error), title="Not possible")
                return player.do(shown)

            event(
                handle,
                list(inputs),
                [real, imagined, said, chart],
                show_progress="hidden",
                api_visibility="private",
                trigger_mode="multiple",
                concurrency_id="game",
                concurrency_limit=1,
            )

        on(page.load, lambda session: None)
        for name, button in buttons.items():
            on(button.click, partial(act, name))
        on(restart.click, lambda session, number: session.reset(int(number or 0)), seed)
    return page


def act(name: str, session: Session) -> None:
    """What a button does."""
    session.rewind() if name == "rewind" else session.move(name)


def shown(session: Session) -> list[Any]:
    """Both frames, what is known of them, and the rewards so far."""
    moment = session.moment
    solved = " · **solved**" if moment.solved else ""
    text = (
        f"decision {len(session.moments) - 1} · real reward {moment.rewards[0]:.2f}{solved} · imagined reward "
        f"{moment.rewards[1]:.2f}, success {100 * moment.chance:.0f} % · {moment.psnr:.1f} dB PSNR to the real frame"
    )
    rows = [
        (decision, past.rewards[world], name)
        for decision, past in enumerate(session.moments[1:], 1)
        for world, name in enumerate(("real", "imagined"))
    ]
    return [moment.real, moment.imagined, text, pd.DataFrame(rows, columns=["decision", "reward", "world"])]


def serve(page: gr.Blocks, host: str, port: int | None, browser: bool) -> str:
    """Show the page at ``http://host:port`` until ``page.close()``; ``browser`` opens it there. Returns its address.

    Raises:
        UserError: something else has the port.
    """
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            footer_links=[],
            enable_monitoring=False,
            js=LISTEN,
        )
    except OSError as error:
        raise UserError(f"port={port} can't be used ({error}); give another with --port") from error
    return address
