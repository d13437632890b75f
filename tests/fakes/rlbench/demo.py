import numpy as np


class Demo:
    def __init__(self, observations, random_seed=None):
        self._observations, self.random_seed = observations, random_seed

    def __len__(self):
        return len(self._observations)

    def __getitem__(self, index):
        return self._observations[index]

    def restore_state(self):
        np.random.set_state(self.random_seed)
