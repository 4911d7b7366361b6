"""Networks that shrinking must follow: each is small and odd in one way."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def unit(
    inputs: int, outputs: int, kernel: int = 3, *, groups: int = 1, act: nn.Module | None = None
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        act or nn.ReLU(inplace=True),
    )


def head(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


class Odd(nn.Module):
    shapes: tuple[tuple[int, ...], ...] = ((3, 8, 8),)


class Residual(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = unit(3, 12), unit(12, 12), unit(12, 12, act=nn.Identity())
        self.down, self.head = nn.Conv2d(12, 20, 1, stride=2), head(20)
        self.side = nn.Conv2d(12, 20, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.two(self.one(x)))
        return self.head(self.down(x) + self.side(x))


class Dense(Odd):
    """Every layer reads the concatenation of all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(unit(3 + 6 * i, 6) for i in range(4))
        self.head = head(27)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(x)


class Inverted(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8, act=nn.ReLU6())
        self.block = nn.Sequential(
            unit(8, 24, 1, act=nn.ReLU6()),
            unit(24, 24, groups=24, act=nn.Hardswish()),
            unit(24, 8, 1, act=nn.Identity()),
        )
        self.multiplied = nn.Conv2d(8, 16, 3, groups=8)
        self.head = head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.multiplied(x + self.block(x)))


class Grouped(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            unit(3, 16), unit(16, 24, groups=4), nn.Conv2d(24, 12, 3, groups=2), nn.ReLU()
        )
        self.head = head(12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


class Shuffled(Odd):
    """ShuffleNetV2's block: half of the channels pass by, then all are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 16)
        self.right = nn.Sequential(unit(8, 8, 1), unit(8, 8, groups=8, act=nn.Identity()), unit(8, 8, 1))
        self.last, self.head = unit(16, 10), head(10)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, dim=1)
        x = torch.cat([left, self.right(right)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(self.last(x))


class BuiltInShuffle(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.shuffle, self.two = unit(3, 12), nn.ChannelShuffle(3), unit(12, 12, groups=3)
        self.head = head(12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.shuffle(self.one(x))))


class Squeezed(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 16)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 6, 1), nn.SiLU(), nn.Conv2d(6, 16, 1), nn.Hardsigmoid()
        )
        self.last, self.head = nn.Conv2d(16, 9, 1), head(9)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.leaky_relu(self.last(x * self.gate(x)), 0.1))


class Reused(Odd):
    """Two inputs go through the same layers, and one layer is applied twice in a row."""

    shapes = ((3, 8, 8), (3, 8, 8))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.both = unit(3, 10), nn.Conv2d(10, 10, 3, padding=1), nn.Linear(10, 7)
        self.join = nn.Linear(14, 4)

    def one(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.twice(F.relu(self.twice(x))))
        return F.gelu(self.both(x.mean((2, 3))))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.join(torch.cat([self.one(x), self.one(y)], 1))


class Flattened(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3)
        self.classifier = nn.Sequential(
            nn.Linear(12 * 9, 20), nn.BatchNorm1d(20), nn.Tanh(), nn.Linear(20, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.two(torch.relu_(self.one(x)))), 2)
        return self.classifier(x.flatten(1))


class UNet(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = unit(3, 8), unit(8, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.smooth = nn.ConvTranspose2d(8, 6, 3, padding=1)
        self.mix, self.out = unit(14, 8, act=nn.Mish()), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        coarse = self.down2(F.avg_pool2d(fine, 2))
        joined = torch.cat([self.smooth(F.relu(self.up(coarse))), fine], 1)
        resized = F.interpolate(F.max_pool2d(fine, 2), scale_factor=2, mode="bilinear")
        return self.out(torch.cat([self.mix(joined), resized], 1))


class Gated(Odd):
    """One convolution makes values and their gates."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.both, self.last, self.head = (
            unit(3, 8),
            nn.Conv2d(8, 24, 3),
            nn.Conv2d(12, 6, 1),
            head(6),
        )

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.both(self.stem(x)).split(12, dim=1)
        return self.head(self.last(value * gate.sigmoid()))


class Sliced(Odd):
    """Halves by slices, sizes read from the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.head = unit(3, 16), unit(8, 8), head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        half = x.shape[1] // 2
        return self.head(torch.cat([x[:, half:], self.one(x[:, :half])], 1))


class FixedSizes(Odd):
    """Code that knows its own widths."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.free, self.last = unit(3, 16), unit(16, 8), unit(8, 12), nn.Conv2d(12, 8, 3)
        self.linear = nn.Linear(8 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x = self.two(torch.cat([x[:, 4:], x[:, :4]], 1))
        return self.linear(self.last(self.free(x)).view(-1, 8 * 36))


class FixedHeads(Odd):
    """A reshape whose inner size is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = unit(3, 16), nn.Linear(4, 4)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).mean((2, 3))
        return self.head(F.relu(self.two(x.unflatten(1, (-1, 4)))).flatten(1))


class Volumes(Odd):
    shapes = ((2, 6, 6, 6), (4, 20))

    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Sequential(
            nn.Conv3d(2, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2)
        )
        self.line = nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.PReLU(8), nn.AdaptiveMaxPool1d(1))
        self.head = nn.Linear(16, 3)

    def forward(self, volume: Tensor, line: Tensor) -> Tensor:
        return self.head(torch.cat([self.volume(volume).mean((2, 3, 4)), self.line(line).squeeze(2)], 1))


class RawParameters(Odd):
    """Scales, positions and products by parameters that no module owns; buffers along channels."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.scale = nn.Parameter(torch.rand(10, 1, 1) + 0.5)
        self.places = nn.Parameter(torch.randn(1, 10, 8, 8))
        self.register_buffer("mean", torch.randn(1, 10, 1, 1))
        self.table = nn.Parameter(torch.randn(10, 6))
        self.last = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x) - self.mean) * self.scale
        x = (x + self.places).amax((2, 3))
        return self.last(torch.relu(x @ self.table) * self.scale.new_ones(()))


class Norms(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.instance = nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True)
        self.two, self.group = nn.Conv2d(8, 12, 3), nn.GroupNorm(3, 12)
        self.three, self.layer = nn.Conv2d(12, 8, 1), nn.LayerNorm(8)
        self.four = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.instance(self.one(x)))
        x = F.elu(self.group(self.two(x)))
        x = self.layer(self.three(x).permute(0, 2, 3, 1))
        return F.normalize(self.four(x).mean((1, 2)), dim=1)


class Attention(Odd):
    shapes = ((5, 12),)

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(12, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.lstm, self.head = nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.attend(x, x, x, need_weights=False)[0]
        x = x + self.mlp(self.norm(x))
        return self.head(self.lstm(x)[0][:, -1])


class ManyOutputs(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = unit(3, 8), unit(8, 8), unit(8, 8)
        self.four = nn.Sequential(unit(8, 16), nn.Conv2d(16, 2, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor | tuple[Tensor, ...]]:
        x = self.one(x)
        middle = self.two(x)
        return {"middle": middle, "rest": (self.three(middle + x).sum((2, 3)), self.four(x))}


class Paddings(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")
        self.two = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
        self.three = nn.Conv2d(8, 10, 3, stride=2)
        self.pool = nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), float("-inf")), nn.MaxPool2d(2, 1))
        self.four, self.head = nn.Conv2d(10, 6, 3, padding=1, padding_mode="replicate"), head(6)
        self.average = nn.AvgPool2d(3, 1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.two(F.relu(self.one(x))))
        x = self.pool(F.relu(self.three(F.pad(x, (0, 1, 0, 1)))))
        return self.head(self.four(self.average(x)))


class Spatial(Odd):
    """Attention over places, from the mean and maximum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.attend, self.two, self.head = (
            unit(3, 8),
            nn.Conv2d(2, 1, 3, padding=1),
            unit(8, 8),
            head(8),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(x))
        pooled = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True).values], 1)
        return self.head(x * self.attend(pooled).sigmoid())


class Upscaled(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.shuffle = unit(3, 8), nn.Conv2d(8, 24, 3, padding=1), nn.PixelShuffle(2)
        self.three, self.back, self.four = unit(6, 4), nn.PixelUnshuffle(2), nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.four(self.back(self.three(self.shuffle(self.two(self.one(x))))))


class Written(Odd):
    """Results written into parts of other tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.head = unit(3, 8), nn.Conv2d(8, 4, 1), unit(8, 8), head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        rows = x.view(x.shape[0], x.shape[1], -1)
        rows.clamp_(max=2.0)
        x = x.clone()
        x[:, :4] = self.two(x)
        buffer = torch.zeros(x.shape[0], 8, x.shape[2], x.shape[3], dtype=x.dtype)
        buffer[:, 2:8] = self.three(x)[:, 2:8]
        return self.head(buffer + 1)


class Shortcut(Odd):
    """A shortcut without weights: fewer pixels, more channels, zeros in the new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.head = unit(3, 8), nn.Conv2d(8, 16, 3, stride=2, padding=1), head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.relu(self.one(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))))


class Tied(Odd):
    """One parameter under two names; words in, words out."""

    shapes = ((6,),)

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.one, self.two = nn.Linear(8, 12), nn.Linear(12, 8)
        self.out = nn.Linear(8, 11, bias=False)
        self.out.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        indices = (x.abs() * 7).long() % 11
        return self.out(self.two(F.relu(self.one(self.words(indices)))))


class Repeated(Odd):
    """One value weighs a group of channels, as in MLFN."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = unit(3, 16), unit(16, 24, groups=4)
        self.select = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.Sigmoid())
        self.head = head(24)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        y = self.two(x)
        return self.head(y * self.select(x).repeat_interleave(y.shape[1] // 4, dim=1))


class SharedNorm(Odd):
    """Two convolutions before one batch norm, whose input also goes elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sigmoid()), nn.BatchNorm2d(6)
        self.one, self.two = nn.Conv2d(8, 6, 1, bias=False), nn.Conv2d(8, 6, 1, bias=False)
        self.three, self.other = nn.Conv2d(8, 6, 1, bias=False), nn.BatchNorm2d(6)
        self.head = head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.three(x)
        return self.head(self.norm(self.one(x)) + self.norm(self.two(x)).relu() + self.other(y) * y)


class WrittenThrough(Odd):
    """Views are written to by operations that nothing follows."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = unit(3, 8), nn.Conv2d(8, 6, 1), head(6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        view = y[:, 2:5]
        view.index_add_(3, torch.tensor([0, 3]), x[:, :, :, :2])
        z = self.two(y).detach()
        torch.cumsum(z, 2, out=z)
        return self.head(z)


class Cyclic(Odd):
    """Channels that only feed themselves around a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = (
            unit(3, 12),
            nn.ModuleList(unit(12, 12) for _ in range(3)),
            head(12),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class Sequences(Odd):
    """A convolution over time; linear layers read it transposed, so that their bias is added by itself."""

    shapes = ((4, 9),)

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv1d(4, 10, 3), nn.Linear(10, 8), nn.Linear(8, 6, bias=False)
        self.out = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(torch.sigmoid(self.one(x)).transpose(1, 2))
        return self.out(torch.cos(self.three(torch.cos(x)))).mean(1)


class Recurrent(Odd):
    shapes = ((4, 9),)

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(4, 10, 3)
        self.gru, self.rnn = (
            nn.GRU(10, 7, batch_first=True),
            nn.RNN(7, 6, batch_first=True, bidirectional=True),
        )
        self.two, self.head = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.rnn(self.gru(torch.relu(self.one(x)).transpose(1, 2))[0])[0]
        return self.head(torch.relu(self.two(x[:, -1])))


class Encoder(Odd):
    """Its layers run as one operation each, unless told otherwise."""

    shapes = ((5, 6),)

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.embed, self.layers = nn.Linear(6, 8), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(x)).mean(1))


class Scalars(Odd):
    """Numbers without axes are computed with."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.head = unit(3, 8), nn.Conv2d(8, 6, 3), unit(6, 4), head(4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.one(x)
        y = self.two(x)
        return {"y": self.head(self.three(y)), "penalty": x.mean() + y.pow(2).mean()}


class Turned(Odd):
    """Axes are turned, added and taken away in place."""

    shapes = ((4,),)

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.one(x))
        x = x.unsqueeze_(1).transpose_(1, 2) * 2
        x = x.squeeze_(2).detach_().t().contiguous()
        return self.two(x.t_())


class TiedConvolutions(Odd):
    """Two layers with one weight and two biases."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.three, self.head = nn.Conv2d(8, 8, 3, padding=1), head(8)
        self.three.weight = self.two.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.three(F.relu(self.two(F.relu(self.one(x)))))))


class Modulated(Odd):
    """A vector scales and shifts the channels of a convolution."""

    shapes = ((3, 8, 8), (7,))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.film = unit(3, 12), nn.Conv2d(12, 12, 3), nn.Linear(7, 24)
        self.last = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.film(z)[:, :, None, None].chunk(2, 1)
        return self.last(F.relu(self.conv(self.stem(x)) * (1 + scale) + shift))


class UpGrouped(Odd):
    """Transposed convolutions by groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up = unit(3, 12), nn.ConvTranspose2d(12, 16, 4, stride=2, padding=1, groups=4)
        self.mix, self.each = unit(16, 6), nn.ConvTranspose2d(6, 12, 1, groups=6)
        self.last = nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(F.relu(self.up(self.stem(x))))
        return self.last(torch.sigmoid(self.each(x)))


class Glu(Odd):
    """Gates by half of the channels, and by half of the places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = unit(3, 8), nn.Conv2d(8, 12, 3), nn.Conv2d(6, 6, 1)
        self.three, self.last = nn.Conv2d(6, 10, 1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.one(self.stem(x)), 1)
        x = F.glu(torch.cos(self.two(x)), 3)
        return self.last(F.glu(torch.sigmoid(self.three(x)), 1))


class Alike(Odd):
    """Numbers in the layout of maps take the place of some of their values."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 1), head(6)
        self.mask = nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask(x) > 0.1
        x = self.one(x)
        x = torch.where(x > 0.2, x, torch.zeros_like(x) - 0.1)
        y = torch.ones_like(x)
        y[:, :, 1:] += x[:, :, 1:]
        return self.head(self.two(x * y) * mask)


class Borrowed(Odd):
    """A part of a layer's weight serves another purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = unit(3, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(self.stem(x).mean((2, 3)))
        return self.two(F.relu(F.linear(x, self.one.weight.t()[:6])))


class BareParameters(Odd):
    """Weights of the network itself, without modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.shift = nn.Parameter(torch.randn(8, 3, 3, 3)), nn.Parameter(torch.randn(8))
        self.two, self.three = nn.Parameter(torch.randn(6, 8, 3, 3)), nn.Parameter(torch.randn(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.one, self.shift, padding=1))
        return F.linear(F.relu(F.conv2d(x, self.two)).mean((2, 3)), self.three)


ODD: dict[str, Callable[[], Odd]] = {kind.__name__: kind for kind in Odd.__subclasses__()}


def liven(model: nn.Module, seed: int) -> None:
    """Random weights, biases and statistics, none of them near zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        values = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            values = values.abs() + 0.5
        elif tensor.ndim > 1:
            values = values * (2 / max(tensor[0].numel(), 1)) ** 0.5
        elif name.endswith("weight"):
            values = values * 0.3 + 1
        tensor.data.copy_(values)


def kill(model: nn.Module, seed: int, filters: float, inputs: float = 0.0) -> None:
    """Set random filters, and random input channels, of every layer to zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            weight = module.weight.data
            weight[torch.rand(weight.shape[0], generator=generator) < filters] = 0
            weight[:, torch.rand(weight.shape[1], generator=generator) < inputs] = 0


def examples(model: Odd, batch: int, seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, *shape, generator=generator, dtype=torch.float64) for shape in model.shapes
    )
