"""Published feature generators in plain torch, under timm's names of networks and of parameters.

So checkpoints made for timm (https://github.com/huggingface/pytorch-image-models) fit, and torchvision's of the
ResNets too. Each maps float32 [N, 3, S, S], standardized with ImageNet's mean and deviation, to features [N, d];
`maps` gives what it averages. There is no classifier. Compared with timm 1.0.31, tensor by tensor and output by
output; the tests hold what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from .errors import UsageError
from .pretrained import load_pretrained

__all__ = ["BACKBONES", "load_pretrained", "open_backbone"]

TIMM = "timm:"


def open_backbone(name: str) -> nn.Module:
    """A feature generator with random weights: float32 [N, 3, S, S] in, features [N, d] out.

    Args:
        name: one of `BACKBONES`, or "timm:" and a name that timm knows; for those timm must be installed, here
            and wherever the network runs.

    Raises:
        UsageError: no such network, or timm is missing.
    """
    if name.startswith(TIMM):
        return _open_timm(name.removeprefix(TIMM))
    if name not in BACKBONES:
        raise UsageError(f"unknown backbone {name!r}: choose from trunk, {', '.join(BACKBONES)}, or {TIMM}NAME")
    net = BACKBONES[name]()
    net.apply(_start)
    return net


class ResNet(nn.Module):
    """ResNet of He et al. (2016); with bottlenecks the stride is in the 3x3 convolution, as everywhere by now.

    Args:
        bottleneck: blocks of three convolutions instead of two.
        counts: blocks in each of the four stages.
    """

    def __init__(self, bottleneck: bool, counts: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        inputs = 64
        for stage, count in enumerate(counts):
            width, blocks = 64 << stage, []
            for i in range(count):
                blocks.append(ResBlock(inputs, width, 2 if stage and i == 0 else 1, bottleneck))
                inputs = 4 * width if bottleneck else width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def maps(self, x: Tensor) -> Tensor:
        """Features [N, d, S / 32, S / 32]."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))


class ResBlock(nn.Module):
    """Two 3x3 convolutions, or a 3x3 one between two 1x1, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        plan = [(width, 1, 1), (width, 3, stride), (outputs, 1, 1)] if bottleneck else [
            (width, 3, stride), (outputs, 3, 1)]
        before = inputs
        for i, (after, kernel, step) in enumerate(plan, 1):
            self.add_module(f"conv{i}", _conv(before, after, kernel, step))
            self.add_module(f"bn{i}", nn.BatchNorm2d(after))
            before = after
        self.depth = len(plan)
        self.downsample = None if stride == 1 and inputs == outputs else nn.Sequential(
            _conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.depth else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class MobileNetV4(nn.Module):
    """The small convolutional MobileNetV4 of Qin et al. (2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _conv(3, 32, 3, 2), nn.BatchNorm2d(32)
        plain = [[(32, 3, 2), (32, 1, 1)], [(96, 3, 2), (64, 1, 1)]]
        # Outputs, expansion, kernels of the first and the middle depthwise convolution (0: none), stride.
        inverted = [
            [(96, 3, 5, 5, 2), *[(96, 2, 0, 3, 1)] * 4, (96, 4, 3, 0, 1)],
            [(128, 6, 3, 3, 2), (128, 4, 5, 5, 1), (128, 4, 0, 5, 1), (128, 3, 0, 5, 1), *[(128, 4, 0, 3, 1)] * 2]]
        inputs, stages = 32, []
        for stage in plain:
            blocks = []
            for outputs, kernel, stride in stage:
                blocks.append(Fused(inputs, outputs, kernel, stride))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        for stage in inverted:
            blocks = []
            for outputs, expansion, first, middle, stride in stage:
                blocks.append(UniversalBottleneck(inputs, outputs, expansion * inputs, first, middle, stride))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages, nn.Sequential(Fused(inputs, 960, 1, 1)))
        self.conv_head, self.norm_head = _conv(960, 1280, 1), nn.BatchNorm2d(1280)

    def maps(self, x: Tensor) -> Tensor:
        """Features [N, 960, S / 32, S / 32]; one more layer follows their mean."""
        return self.blocks(F.relu(self.bn1(self.conv_stem(x))))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm_head(self.conv_head(self.maps(x).mean((2, 3), keepdim=True)))).flatten(1)


class Fused(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv, self.bn1 = _conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv(x)))


class UniversalBottleneck(nn.Module):
    """MobileNetV4's inverted bottleneck: a depthwise convolution before the expansion, within it, or both."""

    def __init__(self, inputs: int, outputs: int, hidden: int, first: int, middle: int, stride: int) -> None:
        super().__init__()
        self.dw_start = _normed(inputs, inputs, first, 1 if middle else stride, inputs) if first else nn.Identity()
        self.pw_exp = _normed(inputs, hidden, 1)
        self.dw_mid = _normed(hidden, hidden, middle, stride, hidden) if middle else None
        self.pw_proj = _normed(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.pw_exp(self.dw_start(x)))
        y = self.pw_proj(y if self.dw_mid is None else F.relu(self.dw_mid(y)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 (Liu, 2020): EfficientNet-B0 of Tan and Le (2019) with ReLU6 and without excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _conv(3, 32, 3, 2), nn.BatchNorm2d(32)
        inputs, stages = 32, []
        # Outputs, expansion, kernel, stride of the first, how many.
        for outputs, expansion, kernel, stride, count in (
                (16, 1, 3, 1, 1), (24, 6, 3, 2, 2), (40, 6, 5, 2, 2), (80, 6, 3, 2, 3), (112, 6, 5, 1, 3),
                (192, 6, 5, 2, 4), (320, 6, 3, 1, 1)):
            blocks = []
            for i in range(count):
                blocks.append(InvertedResidual(inputs, outputs, expansion, kernel, 1 if i else stride))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = _conv(inputs, 1280, 1), nn.BatchNorm2d(1280)

    def maps(self, x: Tensor) -> Tensor:
        """Features [N, 1280, S / 32, S / 32]."""
        return F.relu6(self.bn2(self.conv_head(self.blocks(F.relu6(self.bn1(self.conv_stem(x)))))))

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))


class InvertedResidual(nn.Module):
    """Expansion (none at 1), depthwise convolution, projection (Sandler et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        layers = [("conv_dw", _conv(hidden, hidden, kernel, stride, hidden))]
        if expansion > 1:
            layers = [("conv_pw", _conv(inputs, hidden, 1)), *layers, ("conv_pwl", _conv(hidden, outputs, 1))]
        else:
            layers.append(("conv_pw", _conv(hidden, outputs, 1)))
        self.order = [name for name, _ in layers]
        for i, (name, conv) in enumerate(layers, 1):
            self.add_module(name, conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(conv.out_channels))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i, name in enumerate(self.order, 1):
            y = getattr(self, f"bn{i}")(getattr(self, name)(y))
            y = F.relu6(y) if i < len(self.order) else y
        return x + y if self.residual else y


#: What `open_backbone` knows without timm, by timm's name.
BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: ResNet(False, (2, 2, 2, 2)),
    "resnet34": lambda: ResNet(False, (3, 4, 6, 3)),
    "resnet50": lambda: ResNet(True, (3, 4, 6, 3)),
    "mobilenetv4_conv_small": MobileNetV4,
    "efficientnet_lite0": EfficientNetLite,
}


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def _normed(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("conv", _conv(inputs, outputs, kernel, stride, groups))
    layers.add_module("bn", nn.BatchNorm2d(outputs))
    return layers


def _start(module: nn.Module) -> None:
    """Random kernels that keep the gradients' size through ReLUs (He et al., 2015)."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))


def _open_timm(name: str) -> nn.Module:
    try:
        import timm
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise UsageError(f"the backbone {TIMM}{name} needs timm ({str(error).splitlines()[0]}): pip install timm, "
                         f"or choose from {', '.join(BACKBONES)}") from None
    try:
        return timm.create_model(name, pretrained=False, num_classes=0)
    except Exception as error:  # timm raises whatever it likes
        raise UsageError(f"timm has no backbone {name!r} ({str(error).splitlines()[0]})") from None
