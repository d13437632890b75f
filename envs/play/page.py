"""The page of a game, made with Gradio: two frames, a pad, keys, sliders, branches and a timeline."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from typing import Any

import gradio as gr

from sfvgen_plan.envs.play.controls import CLOSED, OPEN, Controls
from sfvgen_plan.envs.play.drawing import curves, headline, stage
from sfvgen_plan.envs.play.session import Session
from sfvgen_plan.errors import UserError

PAD = {
    "up": "⤒ up", "away": "↑ away", "left": "← left", "stay": "● stay",
    "right": "right →", "down": "⤓ down", "near": "↓ near",
}  # fmt: skip

KEYS = (
    "`W` `A` `S` `D` or arrows: away, left, near, right · `E` `Q`: up, down · `X`: stay · `Space`: gripper · "
    "`Backspace`: rewind · `F`: fork · `M`: memory"
)


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
        head, frames = gr.HTML(), gr.HTML()
        with gr.Row(elem_id="play-bar", equal_height=True):
            fork = gr.Button("Fork", elem_id="play-fork", size="sm", min_width=70, scale=0)
            branch = gr.Radio(label="Branch", show_label=False, container=False, elem_id="play-branch", min_width=120)
            memory = gr.Checkbox(label="Memory", elem_id="play-memory", container=False, min_width=90, scale=0)
        with gr.Row(elem_id="play-controls"):
            with gr.Column(min_width=280, scale=3, elem_id="play-pad"):
                pad = {move: gr.Button(text, elem_id=f"play-{move}", min_width=60) for move, text in PAD.items()}
                grip = gr.Button(elem_id="play-grip", min_width=60)
                back = gr.Button("⟲ rewind", elem_id="play-rewind", min_width=60)
            with gr.Column(min_width=280, scale=2):
                strength = gr.Slider(0.1, 1, 1, step=0.1, label="Strength of a move", buttons=[])
                times = gr.Slider(1, 10, 1, step=1, label="Decisions per move", buttons=[], elem_id="play-times")
        chart = gr.HTML()
        timeline = gr.Slider(0, 1, step=1, label="Decision", buttons=[], elem_id="play-timeline")
        with gr.Accordion("Exact action", open=False, elem_id="play-exact"):
            with gr.Row():
                axes = [_axis(name, value) for name, value in {"x": 0, "y": 0, "z": 0, "gripper": OPEN}.items()]
            send = gr.Button("Take this action", elem_id="play-send", size="sm")
        with gr.Accordion("Another scene", open=False, elem_id="play-scene"):
            seed = gr.Number(player.session.seed, label="Seed", precision=0, elem_id="play-seed")
            restart = gr.Button("Start again", elem_id="play-restart", size="sm")
        gr.Markdown(KEYS, elem_id="play-keys")
        shown = [head, frames, chart, timeline, branch, memory, grip, back]

        def on(event: Callable[..., Any], act: Callable[..., Any], *inputs: Any) -> None:
            """Let an event call ``act(session, *values)`` and show what came of it."""

            def handle(*values: Any) -> list[Any]:
                try:
                    player.do(act, *values)
                except UserError as error:
                    gr.Warning(str(error), title="Not possible")
                return player.do(_shown)

            event(handle, list(inputs), shown, show_progress="hidden", api_visibility="private")

        on(page.load, lambda session: None)
        for move, button in pad.items():
            on(button.click, partial(_move, move), strength, times)
        on(grip.click, _grip, times)
        on(send.click, lambda session, count, *action: session.step(action, int(count)), times, *axes)
        on(back.click, lambda session: session.rewind())
        on(fork.click, lambda session: session.fork())
        on(memory.input, lambda session, wanted: session.set_memory(bool(wanted)), memory)
        on(branch.input, lambda session, name: session.switch(name), branch)
        on(timeline.release, lambda session, decision: session.go_to(int(decision)), timeline)
        on(restart.click, lambda session, number: session.reset(number), seed)
    return page


def serve(page: gr.Blocks, host: str, port: int, browser: bool) -> str:
    """Show the page at ``http://host:port`` until ``page.close()``; ``browser`` opens it there. Returns its address.

    Raises:
        UserError: something else has the port.
    """
    folder = files("sfvgen_plan.envs.play")
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            theme=_theme(),
            css=(folder / "page.css").read_text("utf-8"),
            js=(folder / "page.js").read_text("utf-8"),
        )
    except OSError as error:
        raise UserError(f"port={port} can't be used ({error}); give another with --port") from error
    return address


def _theme() -> gr.themes.Base:
    """Fonts of the system: the page needs no network."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "monospace"]
    theme = gr.themes.Soft(primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=mono)
    plain = {"block_title_background_fill": "transparent", "block_title_text_color": "*body_text_color"}
    dark = {f"{name}_dark": value for name, value in plain.items()}
    return theme.set(**plain, **dark, block_title_padding="0", block_title_text_weight="500")


def _axis(name: str, value: float) -> gr.Slider:
    return gr.Slider(-1, 1, value, step=0.01, label=name, min_width=200, buttons=[], elem_id=f"play-axis-{name}")


def _move(move: str, session: Session, strength: float, times: float) -> None:
    action = Controls.of(session.real).action(move, float(strength), CLOSED if _gripping(session) else OPEN)
    session.step(action, int(times))


def _grip(session: Session, times: float) -> None:
    """Close the gripper, or open it, and hold still meanwhile."""
    session.step(Controls.of(session.real).action("stay", gripper=OPEN if _gripping(session) else CLOSED), int(times))


def _gripping(session: Session) -> bool:
    """Whether the last action closed the gripper."""
    action = session.moment.action
    return action is not None and float(action[-1]) > 0.0


def _shown(session: Session) -> list[Any]:
    """What the page shows of the game, in the order of its outputs."""
    branch, moment = session.branch, session.moment
    last = len(branch.moments) - 1
    return [
        headline(session),
        stage(session),
        curves(branch.moments, branch.at),
        gr.Slider(maximum=max(last, 1), value=moment.decision, interactive=last > 0),
        gr.Radio(choices=session.branches, value=session.name),
        gr.Checkbox(value=moment.memory),
        gr.Button("◂ ▸ open" if _gripping(session) else "▸ ◂ close"),
        gr.Button(interactive=branch.at > 0),
    ]
