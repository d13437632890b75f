"""A policy-gradient loop without a library, in imagination alone: python examples/plain_loop.py --updates 200"""

import argparse

import gymnasium as gym

import sfvgen_plan.envs  # isort: skip # noqa: F401 - registers the environments; before torch, whose threads then sleep
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--task", default="reach-v3")
parser.add_argument("--checkpoint", help="default: the one in the package")
parser.add_argument("--envs", type=int, default=8)
parser.add_argument("--horizon", type=int, default=10)
parser.add_argument("--updates", type=int, default=3)
args = parser.parse_args()
torch.manual_seed(0)
settings = {"checkpoint": args.checkpoint, "max_decisions": args.horizon, "obs_mode": "state"}
envs = gym.make_vec("sfvgen/Imagined-v0", args.envs, task=args.task, autoreset_mode="SameStep", **settings)
inputs, outputs = envs.single_observation_space.shape[0], envs.single_action_space.shape[0]
policy = torch.nn.Sequential(torch.nn.Linear(inputs, 64), torch.nn.Tanh(), torch.nn.Linear(64, outputs))
spread = torch.nn.Parameter(torch.full((outputs,), -0.5))
optimiser = torch.optim.Adam([*policy.parameters(), spread], lr=3e-3)

observation, _ = envs.reset(seed=0)
for update in range(args.updates):
    chances, rewards = [], []
    for _ in range(args.horizon):
        choices = torch.distributions.Normal(policy(torch.as_tensor(observation)), spread.exp())
        actions = choices.sample()
        observation, reward, _, _, _ = envs.step(actions.numpy())
        chances.append(choices.log_prob(actions).sum(1))
        rewards.append(torch.as_tensor(reward, dtype=torch.float32))
    returns = torch.stack(rewards).flip(0).cumsum(0).flip(0)  # what is still to come, (decisions, envs)
    advantage = (returns - returns.mean(1, keepdim=True)) / (returns.std() + 1e-6)
    loss = -(torch.stack(chances) * advantage).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    print(f"update {update} return {returns[0].mean():.2f}")
