"""Solvers of stable-worldmodel plan in the learned simulator: python examples/stable_worldmodel_solvers.py (needs pip
install stable-worldmodel)"""

import argparse

import gymnasium as gym

import sfvgen_plan  # isort: skip # registers the environments; before torch, whose threads then sleep
import torch
from stable_worldmodel import PlanConfig
from stable_worldmodel.solver import CEMSolver, GradientSolver

parser = argparse.ArgumentParser()
parser.add_argument("--task", default="reach-v3")
parser.add_argument("--checkpoint", help="default: the one in the package")
parser.add_argument("--decisions", type=int, default=5)
args = parser.parse_args()
simulator = sfvgen_plan.load(args.checkpoint, "cpu").simulator()


class Cost:
    """What solvers of stable-worldmodel ask a model for."""

    def get_cost(self, info: dict, candidates: torch.Tensor) -> torch.Tensor:
        """Frames (1, S, H, W, 3) and actions (1, S, G, A) of S candidates -> (1, S), minus the reward imagined."""
        frames, count = info["frame"][0, :1, None].byte().numpy(), candidates.shape[1]
        start = simulator.fork(simulator.begin(frames, [args.task], [0]), count)
        return -simulator.imagine(start, candidates[0])[1].reward.sum(1)[None]


env = gym.make_vec("sfvgen/Metaworld-v0", 1, task=args.task, size=simulator.checkpoint.size)
for solver in (CEMSolver(Cost(), num_samples=16, n_steps=2, topk=4), GradientSolver(Cost(), n_steps=2)):
    solver.configure(action_space=env.action_space, n_envs=1, config=PlanConfig(args.decisions, args.decisions))
    frame, _ = env.reset(seed=0)
    plan = solver({"frame": torch.from_numpy(frame)})["actions"]  # (1, G, A)
    rewards = [float(env.step(action[None].numpy())[1][0]) for action in plan[0].clamp(-1, 1)]
    print(f"{type(solver).__name__}: reward of {args.decisions} planned decisions {sum(rewards):.2f}")
env.close()
