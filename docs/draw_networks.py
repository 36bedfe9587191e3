"""Draw `multi_arm_t2.svg` and `joint_t1.svg` from the networks themselves: `python docs/draw_networks.py`.

The networks that the trainers build are run once on tensors without content, at the paper's patch. Every box is a
module that ran, with the shape that came out of it; every arrow leads from the box whose output entered another. Only
the places of the boxes are chosen here. `tests/test_docs.py` compares the pictures with the networks.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PATCH = (32, 96, 96)  # z, y, x: the paper's
COLOURS = {"encoder": "#d6e9f8", "skip": "#e3f3ec", "decoder": "#fbe3cf", "head": "#f7dcea", "gate": "#f2f2f2"}
LINES = {"near": ("#444", 1.5), "far": ("#0072B2", 1.1), "skip": ("#009E73", 1.1), "cross": ("#D55E00", 1.3)}
WORDS = {"flair": "FLAIR", "t2": "T2", "t1": "T1", "t1post": "T1 after contrast agent"}
WIDTH, HEIGHT = 112.0, 44.0  # of a box
Point = tuple[float, float]


@dataclass(frozen=True)
class Traced:
    """Boxes that ran, in order, with their shapes (channels, z, y, x), and which output entered which."""

    shapes: Mapping[str, tuple[int, ...]]
    sources: Mapping[str, tuple[str, ...]]


def trace(network: Any, is_box: Callable[[str, Any], bool], x: Any) -> Traced:
    """Run a network and note where the output of each chosen module comes from.

    A tensor carries the names of the boxes that it was computed from; every operation hands them on, and a box's output
    carries the box's name alone. A module that returns several tensors gives one box for each; a tensor that is handed
    through untouched stays what it was.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    shapes: dict[str, tuple[int, ...]] = {"input": tuple(x.shape[1:])}
    sources: dict[str, tuple[str, ...]] = {}
    origin: dict[int, dict[str, None]] = {id(x): {"input": None}}
    alive: list[Any] = [x]  # a tensor's id is its own only while it lives

    class HandOn(TorchFunctionMode):
        def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            names = {name: None for one in tensors([args, kwargs]) for name in origin.get(id(one), {})}
            for one in tensors(result):
                origin[id(one)] = origin.get(id(one), {}) | names
                alive.append(one)
            return result

    def note(name: str, output: Any) -> None:
        several = dict(enumerate(output)) if isinstance(output, list) else output
        for key, one in several.items() if isinstance(several, dict) else [("", output)]:
            box = f"{name}.{key}".rstrip(".")
            if id(one) in boxed:
                continue
            shapes[box], sources[box] = tuple(one.shape[1:]), tuple(origin[id(one)])
            origin[id(one)] = {box: None}
            boxed.add(id(one))

    boxed: set[int] = set()
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in network.named_modules()
        if is_box(name, module)
    ]
    with torch.no_grad(), HandOn():
        network(x)
    for hook in hooks:
        hook.remove()
    return Traced(shapes, sources)


def tensors(value: Any) -> Iterator[Any]:
    """Tensors in nested arguments."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors(one)


class Drawing:
    """Boxes and arrows of a picture; `ends` knows where each box is."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.ends: dict[str, tuple[float, float, float, float]] = {}
        self.below: list[str] = []
        self.above: list[str] = []

    def box(self, name: str, at: Point, lines: Sequence[str], colour: str, hint: str, size: Point = (0, 0)) -> None:
        """A box with the corner `at`; `hint` shows when the pointer rests on it."""
        (x, y), (width, height) = at, size if size[0] else (WIDTH, HEIGHT)
        self.ends[name] = (x, y, x + width, y + height)
        top = y + height / 2 + 4 - 8 * (len(lines) - 1)
        text = "".join(
            f'<text x="{x + width / 2:.1f}" y="{top + 16 * number:.1f}" class="middle">{escape(line)}</text>'
            for number, line in enumerate(lines)
        )
        self.above.append(
            f'<g><title>{escape(hint)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{min(height / 2, 5) if len(lines[0]) > 1 else height / 2:.1f}" fill="{COLOURS[colour]}" '
            f'stroke="#555"/>{text}</g>'
        )

    def words(self, at: Point, text: str, kind: str = "small") -> None:
        """A line of words, from the left or, with the kind `title middle`, around a point."""
        self.above.append(f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" class="{kind}">{escape(text)}</text>')

    def at(self, name: str, side: str, share: float = 0.5) -> Point:
        """A point on a side of a box, `share` of the way along it."""
        x1, y1, x2, y2 = self.ends[name]
        if side in ("left", "right"):
            return (x1 if side == "left" else x2), y1 + share * (y2 - y1)
        return x1 + share * (x2 - x1), (y1 if side == "top" else y2)

    def arrow(self, kind: str, *points: Point) -> None:
        """An arrow along points."""
        colour, width = LINES[kind]
        path = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
        self.below.append(
            f'<path d="{path}" class="arrow" stroke="{colour}" stroke-width="{width}" marker-end="url(#{kind})"/>'
        )

    def svg(self) -> str:
        """The whole picture."""
        style = (
            "text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:13px}.middle{text-anchor:middle}"
            ".small{fill:#444}.arrow{fill:none;stroke-linejoin:round}"
        )
        heads = "".join(
            f'<marker id="{kind}" markerWidth="8" markerHeight="8" refX="7.5" refY="4" orient="auto" '
            f'markerUnits="userSpaceOnUse"><path d="M0 0.5L8 4L0 7.5z" fill="{colour}"/></marker>'
            for kind, (colour, _) in LINES.items()
        )
        size = f"{self.width:.0f} {self.height:.0f}"
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{style}</style><defs>{heads}</defs>",
            f'<rect width="{self.width:.0f}" height="{self.height:.0f}" fill="#fff"/>',
            *self.below,
            *self.above,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def shape_words(shape: Sequence[int]) -> list[str]:
    """Two lines of a box."""
    return [f"{shape[0]} channels" if shape[0] > 1 else "1 logit", "×".join(map(str, shape[1:]))]


def kernels(block: Any) -> str:
    """Kernels of a residual block, as in 1×3×3 + 3×3×3."""
    return " + ".join("×".join(map(str, layer.kernel_size)) for layer in block.body if hasattr(layer, "kernel_size"))


def count(*modules: Any) -> str:
    """Number of parameters, in words."""
    return f"{sum(p.numel() for module in modules for p in module.parameters()):,} parameters"


def build(trainer: Any, channels: list[str]) -> tuple[Any, Any]:
    """The network that a trainer builds for the paper's patches, without content, and an input for it."""
    import torch

    strides = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    settings = {"foreground_classes": 1, "filters": trainer.filters, "strides": strides, "dropout": trainer.dropout}
    with torch.device("meta"):
        network = trainer._network(channels, (1, 3, 3), settings | {"deep_supervision": True}).eval()
        return network, torch.empty(1, len(channels), *PATCH)


# multi_arm_t2 ---------------------------------------------------------------------------------------------------

GRID = {"encoders.0": 96, "encoders.1": 246, "encoders.2": 396, "projections": 568, "skips": 784}
GRID |= {"decoder.blocks": 976, "decoder.seg_layers": 1162}
COLUMN_COLOURS = {"projections": "skip", "skips": "skip", "decoder.blocks": "decoder", "decoder.seg_layers": "head"}
TOP, DOWN = 96.0, 112.0


def of_list(name: str) -> bool:
    """Whether a module is one of the projections or of the heads."""
    return name.rpartition(".")[0] in ("projections", "decoder.seg_layers")


def multi_arm() -> str:
    """Encoders, projections, skips and decoder in columns, one row per level."""
    from nnunet_ms.trainers.multi_arm_t2 import nnUNetTrainerMSMultiArm
    from nnunet_ms.trainers.networks.blocks import ResidualBlock

    channels = list(nnUNetTrainerMSMultiArm.main_sequences)
    network, x = build(nnUNetTrainerMSMultiArm, channels)
    found = trace(network, lambda name, m: isinstance(m, ResidualBlock) or name == "skips" or of_list(name), x)
    drawing = Drawing(1290, TOP + 4 * DOWN + 62, f"Multi-arm U-Net, {count(network)}")
    for name, shape in found.shapes.items():
        if name != "input":
            column, level = place(name)
            colour = COLUMN_COLOURS.get(column, "encoder")
            hint = f"{name}, from {', '.join(found.sources[name])}"
            drawing.box(name, (GRID[column], TOP + level * DOWN), shape_words(shape), colour, hint)
    for name, sources in found.sources.items():
        for source in sources:
            if source != "input":
                arrow_of_grid(drawing, source, name)
    words_of_grid(drawing, network, channels)
    return drawing.svg()


def place(name: str) -> tuple[str, int]:
    """Column and level of a box of the multi-arm network."""
    column, _, number = name.rpartition(".")
    if column.startswith("encoders"):
        return column.removesuffix(".blocks"), 0 if number == "first" else int(number) + 1
    return column, int(number)


def arrow_of_grid(drawing: Drawing, source: str, target: str) -> None:
    """One arrow; what skips a level runs beside the column, what skips a column below the row."""
    (column, level), (into, to) = place(source), place(target)
    if into.startswith("encoders"):
        step = to - level
        (x1, y1), (x2, y2) = drawing.at(source, "left", 0.7), drawing.at(target, "left", 0.2 + 0.15 * step)
        if step == 1:
            drawing.arrow("near", drawing.at(source, "bottom"), drawing.at(target, "top"))
        else:
            beside, y1 = x1 - (18 if step == 3 else 12 - 6 * level), y1 + 6 * (step - 2)
            drawing.arrow("far", (x1, y1), (beside, y1), (beside, y2), (x2, y2))
    elif into == "projections":
        arm = int(column.removeprefix("encoders."))
        (x1, y1), (x2, y2) = drawing.at(source, "bottom", 0.8), drawing.at(target, "left", 0.3 + 0.2 * arm)
        below, before = y1 + 20 - 6 * arm, x2 - 24 + 6 * arm
        if arm == 2:
            drawing.arrow("near", drawing.at(source, "right", 0.7), (x2, drawing.at(source, "right", 0.7)[1]))
        else:
            drawing.arrow("near", (x1, y1), (x1, below), (before, below), (before, y2), (x2, y2))
    elif into == "skips":
        shares = {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8}
        kind = "near" if level == to else "skip"
        drawing.arrow(kind, drawing.at(source, "right", shares[to]), drawing.at(target, "left", shares[level]))
    elif into == "decoder.blocks" and column != "skips":
        arrow_of_decoder(drawing, source, target, level - to)
    else:
        drawing.arrow("near", drawing.at(source, "right"), drawing.at(target, "left"))


def arrow_of_decoder(drawing: Drawing, source: str, target: str, steps: int) -> None:
    """From a deeper decoded level, or from the deepest projection, which is the first of them."""
    deepest = source.startswith("projections")
    if steps == 1:
        up = drawing.at(target, "bottom")
        start = drawing.at(source, "right") if deepest else drawing.at(source, "top")
        drawing.arrow("near", start, *([(up[0], start[1])] if deepest else []), up)
        return
    share = 0.55 + 0.15 * steps
    start, end = drawing.at(source, "right", share), drawing.at(target, "right", 0.6 + 0.12 * steps)
    beside = end[0] - 2 + 7 * steps + 7 * deepest
    drawing.arrow("far", start, (beside, start[1]), (beside, end[1]), end)


def words_of_grid(drawing: Drawing, network: Any, channels: Sequence[str]) -> None:
    """Names of the columns and rows, and what the lines mean."""
    heads = [
        *(
            (f"encoders.{i}", f"encoder {i + 1}", ", ".join(WORDS[channels[c]] for c in arm.channels), count(encoder))
            for i, (arm, encoder) in enumerate(zip(network.arms, network.encoders, strict=True))
        ),
        ("projections", "concatenate, 1×1×1", "", count(network.projections)),
        ("skips", "skip: sum of levels", "", count(network.skips)),
        ("decoder.blocks", "decoder", "", count(network.decoder.ups, network.decoder.blocks)),
        ("decoder.seg_layers", "logits", "background 0", count(network.decoder.seg_layers)),
    ]
    for column, *lines in heads:
        for number, line in enumerate(lines):
            kind = "middle title" if number == 0 else "middle small"
            drawing.words((GRID[column] + WIDTH / 2, 28 + 18 * number), line, kind)
    for level in range(4):
        drawing.words((12, TOP + level * DOWN + 26), f"level {level}", "title")
    blocks = kernels(network.encoders[0].first)
    note = (
        f"Multi-arm U-Net, {count(network)}. Blue boxes and orange ones: residual blocks {blocks}; numbers are "
        "channels and z×y×x of what comes out."
    )
    more = (
        "What meets at a box is summed, at a projection concatenated. Arrows between levels pass a convolution, "
        "upwards an interpolation too. Blue arrows: from farther levels. Green: skips from other levels."
    )
    drawing.words((12, TOP + 4 * DOWN + 12), note)
    drawing.words((12, TOP + 4 * DOWN + 32), more)


# joint_t1 -------------------------------------------------------------------------------------------------------

PITCH, LEFT = 184.0, 24.0
ROWS = {"unenhancing": 130.0, "enhancing": 390.0}
SUM = (18.0, 18.0)
ENCODER_LEVELS = 4


def joint() -> str:
    """Both branches from left to right, what they exchange between them, skips above and below."""
    from nnunet_ms.trainers.joint_t1 import nnUNetTrainerMSJointT1
    from nnunet_ms.trainers.networks.blocks import ResidualBlock
    from nnunet_ms.trainers.networks.joint_unet import CrossConnection, GatedProjection

    channels = ["t1", "t1post", "flair", "t2"]
    network, x = build(nnUNetTrainerMSJointT1, channels)
    kinds = (ResidualBlock, CrossConnection, GatedProjection)
    found = trace(network, lambda name, module: isinstance(module, kinds) or of_list(name), x)
    drawing = Drawing(LEFT + 7 * PITCH + 8, 690, f"Joint T1 network, {count(network)}")
    for name, shape in found.shapes.items():
        if name != "input":
            box_of_row(drawing, name, shape, ", ".join(found.sources[name]))
    for name, sources in found.sources.items():
        for source in sources:
            if source != "input":
                arrow_of_row(drawing, source, name)
    words_of_row(drawing, network, {b: [WORDS[channels[c]] for c in seen] for b, seen in network.channels.items()})
    return drawing.svg()


def stage(name: str) -> tuple[str, str, int, float]:
    """Kind, branch, level and left edge of a box of the joint network: gates, sums, heads or blocks."""
    words = name.split(".")
    level = next(int(word) for word in words if word.isdigit())
    branch = next((word for word in words if word in ROWS), "")
    kind = "head" if "seg_layers" in words else "gate" if "into" in words else "sum" if "in_" in name else "block"
    decoder = "decoder" in name
    column = 2 * (ENCODER_LEVELS - 1) - level if decoder else level
    return kind, branch, level, LEFT + column * PITCH


def box_of_row(drawing: Drawing, name: str, shape: Sequence[int], sources: str) -> None:
    """Draw one box where it belongs."""
    kind, branch, _, x = stage(name)
    hint = f"{name}, from {sources}"
    upper = branch == "unenhancing"
    if kind == "block":
        colour = "decoder" if name.startswith("decoder") else "encoder"
        drawing.box(name, (x, ROWS[branch]), shape_words(shape), colour, hint)
    elif kind == "sum":
        drawing.box(name, (x + WIDTH + 10, ROWS[branch] + (HEIGHT - SUM[1]) / 2), ["+"], "gate", hint, SUM)
    elif kind == "gate":
        drawing.box(name, (x + 4 if upper else x + 52, 232 if upper else 306), ["gate"], "gate", hint, (56, 24))
    else:
        words = [f"{shape[0]} logits", "×".join(map(str, shape[1:]))]
        drawing.box(name, (x + 44, 556), words, "head", hint)


def arrow_of_row(drawing: Drawing, source: str, target: str) -> None:
    """One arrow: within a branch, between the branches, a skip above or below, or to the logits."""
    (kind, branch, level, _), (into, of, to, _) = stage(source), stage(target)
    upper = branch == "unenhancing"
    if into == "gate":
        near = "bottom" if upper else "top"
        start, end = drawing.at(source, near), drawing.at(target, "top" if upper else "bottom")
        x = start[0] + (24 if upper else -24)
        drawing.arrow("cross", (x, start[1]), (x, end[1]))
    elif kind == "gate":
        start, end = drawing.at(source, "right"), drawing.at(target, "bottom" if of == "unenhancing" else "top")
        drawing.arrow("cross", start, (end[0], start[1]), end)
    elif into == "head":
        (x, y), down = drawing.at(source, "bottom"), drawing.at(target, "top")[1]
        if upper:
            (x, y) = drawing.at(source, "right", 0.85)
            drawing.arrow("near", (x - 1, y), (x + 8, y), (x + 8, down))
        else:
            drawing.arrow("near", (x, y), (x, down))
    elif into == "block" and target.startswith("decoder") and level == to:
        side, away = ("top", -24 - 20 * (2 - level)) if upper else ("bottom", 24 + 20 * (2 - level))
        start, end = drawing.at(source, side), drawing.at(target, side, 0.5)
        bus = end[1] + away
        drawing.arrow("skip", start, (start[0], bus), (end[0], bus), end)
    else:
        drawing.arrow("near", drawing.at(source, "right"), drawing.at(target, "left"))


def words_of_row(drawing: Drawing, network: Any, sequences: Mapping[str, Sequence[str]]) -> None:
    """Names of branches and what the lines mean."""
    for branch, y in (("unenhancing", 24.0), ("enhancing", 540.0)):
        parts = (network.encoders[branch], getattr(network.decoder, branch))
        drawing.words((LEFT, y), f"{branch} branch", "title")
        drawing.words((LEFT, y + 18), f"{', '.join(sequences[branch])}; {count(*parts)}")
    gates = count(network.in_encoder, network.in_decoder)
    blocks = kernels(network.encoders["enhancing"].blocks[0])
    lines = (
        f"Joint T1 network, {count(network)}. Blue boxes (encoder) and orange ones (decoder): residual blocks "
        f"{blocks}; numbers are channels and z×y×x of what comes out.",
        f"Orange arrows, between the branches: 1×1×1 convolution and a gate per channel that starts at 0, {gates}. "
        "Green: skips, concatenated. Each head has one logit per branch.",
    )
    for number, line in enumerate(lines):
        drawing.words((LEFT, 640 + 20 * number), line)


PICTURES: dict[str, Callable[[], str]] = {"multi_arm_t2": multi_arm, "joint_t1": joint}


def picture(name: str) -> str:
    """The drawing of one network."""
    sys.path.insert(0, str(ROOT))
    return PICTURES[name]()


if __name__ == "__main__":
    for name in PICTURES:
        (DOCS / f"{name}.svg").write_text(picture(name), encoding="utf-8", newline="\n")
