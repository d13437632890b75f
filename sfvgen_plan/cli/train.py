"""``sfvgen-plan train``: slow learning from a dataset to a checkpoint."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.arguments import add_overrides
from sfvgen_plan.catalogue import find_checkpoint
from sfvgen_plan.console import Output, StageBars
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import compose

HELP = "train a checkpoint on a dataset: autoencoder, then video with all heads"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="dataset written by `sfvgen-plan collect`")
    parser.add_argument("--out", metavar="DIR", help="checkpoint folder; a run that was stopped goes on from it")
    text = "go on from the weights of this one (folder or name), on the data's tasks"
    parser.add_argument("--checkpoint", metavar="PATH", help=text)
    add_overrides(parser)


def explain(args: Namespace) -> str:
    """The recipes, as their files introduce themselves."""
    import sfvgen_plan.configs

    files = sorted((Path(sfvgen_plan.configs.__path__[0]) / "train").glob("*.yaml"))
    first = [file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for file in files]
    lines = [f"  train={file.stem:<8} {line}" for file, line in zip(files, first, strict=True)]
    return "\n".join(
        ["recipes, whose settings are changed by train.KEY=value (train=default if none is named):", *lines]
    )


def run(args: Namespace) -> int:
    """Train all stages and write the checkpoint."""
    from sfvgen_plan.learning.recipe import Recipe, filled

    config = compose("train", args.overrides)
    config |= {key: value for key in ("data", "out", "checkpoint") if (value := getattr(args, key))}
    filled(Recipe, config["train"], "train")  # a bad number is told before torch is imported
    if not config["data"]:
        raise UserError("data=None: give the dataset's folder with --data DIR (make one with sfvgen-plan collect)")
    if not Path(config["data"]).is_dir():
        raise UserError(f"data={config['data']!r} is no folder; make a dataset with sfvgen-plan collect --out DIR")
    if config["checkpoint"]:
        config["checkpoint"] = str(find_checkpoint(config["checkpoint"]))
    first = os.environ.get("RANK", "0") == "0"  # of several processes one speaks
    args.quiet = args.quiet or not first
    out = Output.of(args)
    with StageBars(out, f"reading {config['data']}") as stages:
        from sfvgen_plan.learning.train import Training

        training = Training(config, stages.update, args.overrides)
        folder = training.run()
        training.accelerator.end_training()  # here: the same process may train again, but not after this
    if first:
        out.result({"checkpoint": str(folder)}, f"checkpoint written to {folder}")
    return 0
