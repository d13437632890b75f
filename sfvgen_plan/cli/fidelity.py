"""``sfvgen-plan fidelity``: does the learned simulator rank policies as the real one does?"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int, positive_int

HELP = "score policies in the real and in the learned simulator from the same starts, and compare the scores"
SETTINGS = "sfvgen_plan.benchmarks.fidelity.policies:FidelitySettings"


def add_arguments(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--suite", default="metaworld-10", help="all tasks of a protocol (default: metaworld-10)")
    what.add_argument("--task", action="append", help="one task, such as reach-v3; may be given several times")
    text = "a policy, as in eval; several, also with other settings into the same --out (default: eleven)"
    parser.add_argument("--agent", action="append", default=[], help=text)
    parser.add_argument("--episodes", type=positive_int, default=5, help="per task (default: 5)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the first episode (default: 0)")
    parser.add_argument("--max-decisions", type=positive_int, default=50, help="limit (default: 50)")
    add_model_arguments(parser)
    parser.add_argument("--lanes", type=positive_int, help="real episodes side by side (default: as many as fit)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/fidelity-<checkpoint>; goes on there")
    add_overrides(parser, "agent")


def run(args: Namespace) -> int:
    """Play what is missing and report, also of what there is after Ctrl-C."""
    from sfvgen_plan.benchmarks.fidelity.policies import FidelitySettings, named_policies, rules
    from sfvgen_plan.catalogue import check_covers
    from sfvgen_plan.console import Output
    from sfvgen_plan.envs.family import family_of
    from sfvgen_plan.settings import configured, of_group

    agent, own = of_group(args.overrides, "agent")
    settings = configured(FidelitySettings, own)
    policies = named_policies(args.agent, agent, settings)
    protocol = rules(args.suite, args.task or (), args.max_decisions, args.seed, args.episodes, args.checkpoint)
    check_covers(args.checkpoint, protocol.tasks, protocol)
    family_of(protocol.tasks[0]).check_drawing()

    out = Output.of(args)
    with out.progress("loading"):
        from sfvgen_plan.benchmarks.fidelity.compare import study
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(args.checkpoint, args.device)
    study(out, protocol, checkpoint, policies, settings, args.out, args.lanes)
    return 0
