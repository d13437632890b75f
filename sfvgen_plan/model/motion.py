"""Where actions take the robot: its state followed open loop, by the actions alone."""

from __future__ import annotations

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

from sfvgen_plan.model.heads import Trunk
from sfvgen_plan.simulation import STATE_NAMES


class Motion(ModelMixin, ConfigMixin):
    """A recurrent network that adds up what every action changes about the robot.

    A robot does not do all that an action says: it is at the end of its reach, at a joint's limit, or in touch with
    something. That depends on how all its joints stand, of which a frame shows little and the way it came tells much.
    What this network expects is told to the denoiser beside the actions, and is what an imagined state says of the
    robot: frames in which the hand is hidden or out of the picture tell nothing of it.

    Only for tasks all of whose read-outs are the robot's own, such as RLBench's. Not part of the paper.

    A track (B, D + H) is where a robot is: D read-outs in units of their spread, then H numbers of the network's own.

    Args:
        action_dim: A, numbers in an action.
        hidden: H.
        width: of the network that follows an action; ``trunk_width``: of the one that looks at the first frames.
        estimate_mean, estimate_std: of the read-outs, as for the heads.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        sample_size: int = 8,
        text_dim: int = 64,
        action_dim: int = 7,
        hidden: int = 32,
        width: int = 128,
        trunk_width: int = 24,
        estimate_mean: tuple[float, ...] = (0.0,) * len(STATE_NAMES),
        estimate_std: tuple[float, ...] = (1.0,) * len(STATE_NAMES),
    ) -> None:
        super().__init__()
        self.readouts = len(STATE_NAMES)
        self.trunk = Trunk(2 * latent_channels, text_dim, trunk_width, sample_size)
        self.first = nn.Linear(4 * trunk_width, self.readouts)
        self.begin = nn.Linear(self.readouts + text_dim, hidden)
        self.follow = nn.Sequential(
            nn.Linear(self.readouts + hidden + action_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        # What a free robot does: it is shifted whatever its pose is, and turned from the directions it has.
        self.obeyed = nn.Linear(action_dim * (1 + self.readouts), self.readouts, bias=False)
        self.change = nn.Linear(width, self.readouts)
        self.cell = nn.GRUCell(width, hidden)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def start(self, latents: Tensor, text: Tensor) -> Tensor:
        """The track at the newer frame of pairs (B, 2, C, h, w), older first; pooled text (B, E). At the start of an
        episode both are the same."""
        units = self.first(self.trunk(latents.flatten(1, 2), text))
        # The rest knows no more of the frames: it would soon know by heart which episode begins with which picture.
        return torch.cat([units, self.begin(torch.cat([units.detach(), text], dim=1)).tanh()], dim=1)

    def forward(self, track: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Follow actions (B, G, A).

        Returns:
            The tracks (B, G, D + H) after each, and how each changed the D read-outs, in units of their spread.
        """
        tracks, before = [], track
        for action in actions.unbind(1):
            track = self._after(track, action)
            tracks.append(track)
        after = torch.stack(tracks, dim=1)
        units = torch.cat([before[:, None], after], dim=1)[..., : self.readouts]
        return after, units.diff(dim=1)

    def estimates(self, track: Tensor) -> Tensor:
        """The read-outs (..., D) of tracks (..., D + H), in the units of the checkpoint's card."""
        mean, std = (track.new_tensor(getattr(self.config, f"estimate_{name}")) for name in ("mean", "std"))
        return track[..., : self.readouts] * std + mean

    def _after(self, track: Tensor, action: Tensor) -> Tensor:
        units, hidden = track.split([self.readouts, self.cell.hidden_size], dim=1)
        features = self.follow(torch.cat([track, action], dim=1))
        turned = (action[:, :, None] * units[:, None]).flatten(1)
        obeyed = self.obeyed(torch.cat([action, turned], dim=1))
        return torch.cat([units + obeyed + self.change(features), self.cell(features, hidden)], dim=1)


def followed(motion: Motion, track: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """What the denoiser is told of actions (B, G, A): (B, G, A + D) with the changes that they are expected to bring;
    and the tracks (B, G, D + H). Exact whatever the precision around it: errors would add up."""
    with torch.autocast(track.device.type, enabled=False):
        tracks, changes = motion(track.float(), actions.float())
    return torch.cat([actions, changes], dim=-1), tracks
