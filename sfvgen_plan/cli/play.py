"""``sfvgen-plan play``: a task by hand in the browser, the real environment and the imagined one side by side."""

from __future__ import annotations

import socket
from argparse import ArgumentParser, Namespace

from sfvgen_plan.arguments import add_model_arguments, non_negative_int, positive_int
from sfvgen_plan.errors import UserError

HELP = "step a task of Metaworld by hand in the browser, real and imagined frames side by side; Ctrl-C ends it"

HOST = "127.0.0.1"
"""Only this machine: whoever opens the page moves the one game behind it."""

PORT = 7860
LARGEST_PORT = 65535


def add_arguments(parser: ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--task", required=True, help="a task of Metaworld that the checkpoint lists, such as reach-v3")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the scene (default: 0)")
    parser.add_argument("--memory", action="store_true", help="begin with fast learning; the page turns it on and off")
    parser.add_argument(
        "--sampler-steps", type=positive_int, default=3, help="denoising steps of a decision (default: 3)"
    )
    parser.add_argument(
        "--port", type=non_negative_int, default=PORT, help=f"of the page (default: {PORT}; 0: any that is free)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only serve the page, don't open it")
    add_model_arguments(parser)


def run(args: Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from sfvgen_plan.console import Output
    from sfvgen_plan.devices import resolve_device
    from sfvgen_plan.envs.family import family_of

    out = Output.of(args)
    family = family_of(args.task)
    task = family.canonical(args.task)
    if not family.true_simulator:
        raise UserError(
            f"task={task!r}: play needs a simulator that can go back, unlike {family.title}; give a task like reach-v3"
        )
    _need_package()
    port = free_port(args.port)
    family.check_drawing()

    from sfvgen_plan.envs.play.page import Player, build, serve
    from sfvgen_plan.envs.play.session import Session
    from sfvgen_plan.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    checkpoint.task_index(task)
    out.note(f"{task} with checkpoint {checkpoint.hash}; Ctrl-C ends it")
    player = Player(lambda: Session(task, checkpoint, args.memory, args.seed, sampler_steps=args.sampler_steps))
    try:
        page = build(player)
        try:
            address = serve(page, HOST, port, browser=not args.no_browser)
            data = {"url": address, "task": task, "seed": args.seed, "checkpoint": checkpoint.hash}
            out.result(data, f"playing at {address}")
            _wait()
        finally:
            page.close(verbose=False)
    finally:
        player.close()
    return 0


def free_port(port: int) -> int:
    """``port`` if it can be had, for 0 any that can.

    Raises:
        UserError: there is no such port, or something else has it.
    """
    if port > LARGEST_PORT:
        raise UserError(f"port={port} is no port; give one up to {LARGEST_PORT}, or 0 for any that is free")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left may be taken
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(f"port={port} can't be used ({reason}); give another one, or 0 for any") from error
        return probe.getsockname()[1]


def _need_package() -> None:
    """UserError without Gradio."""
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise UserError("play needs gradio; pip install 'sfvgen-plan[play]'")


def _wait() -> None:
    """Until Ctrl-C, which is how a game ends; SIGTERM unwinds as everywhere."""
    import sys
    import time

    sys.stdout.flush()
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
