"""TorchRL's GymEnv over the imagined environment: python examples/torchrl_env.py (needs pip install torchrl)"""

import argparse

import sfvgen_plan.envs  # isort: skip # noqa: F401 - registers the environments; before torch, whose threads then sleep
import torch
from tensordict.nn import TensorDictModule
from torchrl.envs import GymEnv
from torchrl.envs.utils import check_env_specs

parser = argparse.ArgumentParser()
parser.add_argument("--task", default="reach-v3")
parser.add_argument("--checkpoint", help="default: the one in the package")
parser.add_argument("--decisions", type=int, default=20)
args = parser.parse_args()

env = GymEnv("sfvgen/Imagined-v0", task=args.task, checkpoint=args.checkpoint, obs_mode="state", device="cpu")
check_env_specs(env)
env.set_seed(0)
inputs, outputs = env.observation_spec["observation"].shape[0], env.action_spec.shape[0]
network = torch.nn.Sequential(torch.nn.Linear(inputs, outputs), torch.nn.Tanh())
policy = TensorDictModule(network, in_keys=["observation"], out_keys=["action"])
with torch.no_grad():
    episode = env.rollout(args.decisions, policy)
print(f"{len(episode)} decisions, return {episode['next', 'reward'].sum():.2f}")
