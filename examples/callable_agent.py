"""A hand-written function of the observation, first in imagination, then in the real simulator with no change:
python examples/callable_agent.py"""

import argparse

import gymnasium as gym
import numpy as np

import sfvgen_plan.envs  # noqa: F401 - registers the environments

parser = argparse.ArgumentParser()
parser.add_argument("--task", default="reach-v3")
parser.add_argument("--checkpoint", help="default: the one in the package")
parser.add_argument("--decisions", type=int, default=20)
args = parser.parse_args()


def towards_the_goal(observation: np.ndarray) -> np.ndarray:
    """Move the hand to where the model sees the goal; observations are read-outs of the frame in unit scale."""
    metres = observation[:10] * np.array(units.estimate_std) + np.array(units.estimate_mean)
    return np.append(np.clip(10 * (metres[7:10] - metres[:3]), -1, 1), 0.0).astype(np.float32)


for env_id in ("sfvgen/Imagined-v0", "sfvgen/Metaworld-v0"):
    env = gym.make(env_id, task=args.task, checkpoint=args.checkpoint, obs_mode="state")
    units = env.get_wrapper_attr("checkpoint").pipeline.transformer.config
    observation, info = env.reset(seed=0)
    for _ in range(args.decisions):
        observation, reward, terminated, truncated, info = env.step(towards_the_goal(observation))
    print(f"{env_id}: solved {info['success_latched']}, reward of the last decision {reward:.2f}")
    env.close()
