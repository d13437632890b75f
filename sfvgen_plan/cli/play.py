"""``sfvgen-plan play``: a task by hand in the browser, the real environment and the imagined one side by side."""

from argparse import ArgumentParser, Namespace
from contextlib import suppress
from dataclasses import asdict, dataclass
from threading import Event

from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int, positive_int
from sfvgen_plan.errors import UserError, need_package
from sfvgen_plan.settings import Settings, configured, setting

HELP = (
    "step a task of Metaworld or gym:ID by hand in the browser, real and imagined frames side by side; Ctrl-C ends it"
)

SETTINGS = f"{__name__}:PlaySettings"
HOST = "127.0.0.1"  # only this machine: whoever opens the page moves the one game behind it


@dataclass(frozen=True)
class PlaySettings(Settings):
    """How the game is imagined."""

    sampler_steps: int = setting(1, "denoising steps of a decision", 1)
    memory: bool | None = setting(None, "whether episodes remember; null: where the checkpoint has memory layers")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--task", required=True, help="a task that the checkpoint lists, such as reach-v3")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the scene (default: 0)")
    parser.add_argument("--port", type=positive_int, help="of the page (default: the first free one from 7860 on)")
    parser.add_argument("--no-browser", action="store_true", help="only serve the page, don't open it")
    add_model_arguments(parser)
    add_overrides(parser)


def run(args: Namespace) -> int:
    """Serve the page until Ctrl-C."""
    import sys

    from sfvgen_plan.catalogue import check_covers
    from sfvgen_plan.console import Output
    from sfvgen_plan.devices import resolve_device
    from sfvgen_plan.envs.family import family_of

    settings = asdict(configured(PlaySettings, args.overrides))
    family = family_of(args.task)
    task = family.canonical(args.task)
    if not family.controls:
        raise UserError(
            f"task={task!r}: {family.title} can't be played by hand; give a task of Metaworld, like reach-v3, or gym:ID"
        )
    need_package("gradio", "play")
    check_covers(args.checkpoint, [task])
    device = resolve_device(args.device)
    family.check_drawing()

    out = Output.of(args)
    with out.progress("loading"):
        from sfvgen_plan.envs.play import Player, Session, build, listening, serve
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(args.checkpoint, device)
    player = Player(lambda: Session(task, checkpoint, args.seed, **settings))
    try:
        page = build(player)
        address = serve(page, listening(player.session.controls), HOST, args.port, browser=not args.no_browser)
        try:
            data = {"url": address, "task": task, "seed": args.seed, "checkpoint": checkpoint.hash}
            out.result(data, f"playing at {address}; Ctrl-C ends it")
            sys.stdout.flush()
            with suppress(KeyboardInterrupt):  # which is how a game ends; SIGTERM unwinds as everywhere
                Event().wait()
        finally:
            page.close(verbose=False)
    finally:
        player.close()
    return 0
