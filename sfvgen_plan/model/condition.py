"""What is known of frames beside their pictures."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """What is known of F frames of B episodes beside their pictures.

    Attributes:
        actions: (B, F, A) in [-1, 1], what led into each frame.
        given: (B, F) in {0, 1}: whether the action is known; a video can be imagined from its text alone.
        place: (B, F, A) the sum of the actions since the episode began, this frame's included if it is known.
        text: (B, F, E) features of what is to be done by the decision that led into each frame, or (B, 1, E) of all.
    """

    actions: Tensor
    given: Tensor
    place: Tensor
    text: Tensor
