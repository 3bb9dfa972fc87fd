"""A network that calls one of its layers twice."""

import flax.linen as nn


class Net(nn.Module):
    """Three dense layers, the second called twice."""

    def setup(self):
        self.one, self.two, self.three = nn.Dense(5), nn.Dense(5), nn.Dense(3)

    def __call__(self, x):
        x = nn.tanh(self.one(x))
        return self.three(nn.tanh(self.two(nn.tanh(self.two(x)))))
