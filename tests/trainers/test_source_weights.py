"""Oracle: the source network's own outputs; the file system for pickles that could run."""

import json
import re

import pytest
import torch
from torch import nn

from nnunet_ms.errors import ModelError, OptionError
from nnunet_ms.trainers.networks.joint_unet import JointUNet
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
from nnunet_ms.trainers.networks.plain_unet import PlainUNet
from nnunet_ms.trainers.source_weights import POLICIES, load_source_weights
from tests.trainers.test_construction import DATASET_JSON, make_plans
from tests.trainers.test_multi_arm_t2 import Bomb

SMALL = {"filters": (4, 6, 8), "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)), "deep_supervision": False}
IMAGE = torch.randn(1, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def nnunet(name="PlainConvUNet", channels=2, classes=2):
    """One of nnU-Net's networks, narrow, as its trainer builds it."""
    from dynamic_network_architectures.architectures import unet

    blocks = {"n_conv_per_stage": 1} if name == "PlainConvUNet" else {"n_blocks_per_stage": 1}
    return getattr(unet, name)(
        channels, 3, (4, 6, 8), nn.Conv3d, 3, ((1, 1, 1), (1, 2, 2), (2, 2, 2)), num_classes=classes,
        n_conv_per_stage_decoder=1, conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"affine": True},
        nonlin=nn.ReLU, **blocks,
    )  # fmt: skip


MAKERS = {
    "plain": lambda: PlainUNet(2, **SMALL),
    "multi-arm": lambda: MultiArmUNet([Arm((1, 0)), Arm((1,), 2)], **SMALL),
    "joint": lambda: JointUNet({"unenhancing": (0,), "enhancing": (0, 1)}, **SMALL),
    "nnU-Net": nnunet,
    "nnU-Net, residual": lambda: nnunet("ResidualEncoderUNet"),
}


def filled(make, seed=1):
    """A network whose normalisations have seen something too."""
    torch.manual_seed(seed)
    network = make()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def saved(tmp_path, network, *, change=lambda key: key, **beside):
    path = tmp_path / "source.pth"
    torch.save({"network_weights": {change(k): v for k, v in network.state_dict().items()}, **beside}, path)
    return path


def output(network, image=IMAGE):
    with torch.no_grad():
        return network.eval()(image)


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_network_computes_the_same(tmp_path, name):
    source, network = filled(MAKERS[name]), filled(MAKERS[name], seed=2)
    assert not torch.equal(output(source), output(network))
    printed = []
    report = load_source_weights(network, saved(tmp_path, source), report_to=printed.append)
    assert torch.equal(output(source), output(network))
    assert report.share == 1
    assert report.numbers("loaded") == report.numbers()
    assert not report.unused
    parameters = sum(p.numel() for p in network.parameters())
    assert report.numbers() >= parameters  # running means beside; shared ones once
    assert report.numbers() - parameters == sum(b.numel() for b in network.buffers())
    assert printed == [report.text()]
    assert "100.0% of what it asks for" in printed[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda key: f"module.{key}",
        lambda key: f"_orig_mod.{key}",
        lambda key: f"module._orig_mod.{key}",
        lambda key: key.replace("decoder.", "decoder._orig_mod."),
    ],
)
@pytest.mark.parametrize("name", ["plain", "nnU-Net"])
def test_what_ddp_and_compile_put_into_names_is_taken_out(tmp_path, name, change):
    source, network = filled(MAKERS[name]), filled(MAKERS[name], seed=2)
    load_source_weights(network, saved(tmp_path, source, change=change), report_to=str)
    assert torch.equal(output(source), output(network))


def test_a_wrapped_network_is_filled_inside(tmp_path):
    source, network = filled(MAKERS["plain"]), filled(MAKERS["plain"], seed=2)

    class Wrapper(nn.Module):  # as DDP and torch.compile keep the network
        def __init__(self, name, inner):
            super().__init__()
            self.add_module(name, inner)

    load_source_weights(Wrapper("module", Wrapper("_orig_mod", network)), saved(tmp_path, source), report_to=str)
    assert torch.equal(output(source), output(network))


@pytest.mark.parametrize("under", ["state_dict", "model_state_dict", "model", "network", ""])
def test_plain_state_dicts_wherever_they_stand(tmp_path, under):
    source, network = filled(MAKERS["plain"]), filled(MAKERS["plain"], seed=2)
    state = source.state_dict()
    torch.save({under: state, "epoch": 3} if under else state, tmp_path / "plain.pt")
    load_source_weights(network, tmp_path / "plain.pt", report_to=str)
    assert torch.equal(output(source), output(network))


@pytest.mark.parametrize("encoder", ["encoder", "online_encoder"])
def test_weights_of_nnssl_fill_the_encoder(tmp_path, encoder):
    make = MAKERS["nnU-Net, residual"]
    source, network = filled(make), filled(make, seed=2)
    state = {k.replace("encoder", encoder, 1): v for k, v in source.encoder.state_dict(prefix="encoder.").items()}
    plan = {"key_to_encoder": f"{encoder}.stages", "key_to_stem": f"{encoder}.stem"}
    torch.save({"network_weights": state, "nnssl_adaptation_plan": plan}, tmp_path / "nnssl.pth")
    before = network.decoder.seg_layers[0].weight.clone()
    report = load_source_weights(network, tmp_path / "nnssl.pth", "encoder", report_to=str)
    for one, other in zip(source.encoder(IMAGE), network.encoder(IMAGE), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(before, network.decoder.seg_layers[0].weight)
    assert report.source == "weights of nnssl"
    assert report.share == 1


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", MAKERS)
def test_policies_leave_what_they_do_not_ask_for(tmp_path, name, policy):
    source, network = filled(MAKERS[name]), filled(MAKERS[name], seed=2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    report = load_source_weights(network, saved(tmp_path, source), policy, report_to=str)
    theirs, taken = source.state_dict(), set()
    for key, value in network.state_dict().items():
        if torch.equal(value, theirs[key]) and not torch.equal(before[key], theirs[key]):
            taken.add(key)
    assert any("encoder" in key or key.startswith("blocks.") for key in taken)
    assert any(".seg_layers." in key for key in taken) == (policy == "all")
    others = {key for key in taken if key.startswith("decoder.") and not key.startswith("decoder.encoder.")}
    assert bool(others) == (policy != "encoder")
    assert (report.numbers("left") > 0) == (policy != "all")


@pytest.mark.parametrize(
    "make", [lambda n: PlainUNet(n, **SMALL), lambda n: nnunet(channels=n)], ids=["ours", "nnU-Net"]
)
@pytest.mark.parametrize("named", [True, False])
def test_one_channel_becomes_two(tmp_path, make, named):
    source, network = filled(lambda: make(1)), filled(lambda: make(2), seed=2)
    names = {"channels": ["FLAIR", "T1w"], "source_channels": ["FLAIR"]} if named else {}
    report = load_source_weights(network, saved(tmp_path, source), report_to=str, **names)
    one = IMAGE[:, :1]
    assert torch.allclose(output(source, one), output(network, one.expand(-1, 2, -1, -1, -1)), atol=1e-5)
    assert report.numbers("adapted") > 0
    assert "repeated, divided by 2" in report.text()


def test_channels_in_another_order_are_matched_by_name(tmp_path):
    source, network = filled(MAKERS["plain"]), filled(MAKERS["plain"], seed=2)
    names = {"channels": ["T1w", "FLAIR"], "source_channels": ["flair", "t1"]}
    load_source_weights(network, saved(tmp_path, source), report_to=str, **names)
    assert torch.allclose(output(source), output(network, IMAGE.flip(1)), atol=1e-5)


def checkpoint_of(tmp_path, trainer_class, names):
    """A checkpoint of a trainer of ours, with plans and dataset.json inside, of a dataset with these channels."""
    dataset = {**DATASET_JSON, "channel_names": {str(i): name for i, name in enumerate(names)}}
    plans = {**make_plans(dataset_json=dataset), "channel_names": names}
    network = build(trainer_class, plans, dataset)
    arguments = {"plans": plans, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset}
    return network, saved(tmp_path, network, trainer_name=trainer_class.__name__, init_args=arguments)


def build(trainer_class, plans, dataset):
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(json.loads(json.dumps(plans)))
    configuration = manager.get_configuration("3d_fullres")
    network = trainer_class.build_network_architecture(
        manager, configuration, len(dataset["channel_names"]), 2, enable_deep_supervision=False
    )
    return network.eval()


def test_arms_are_matched_by_what_each_reads_whatever_the_order_of_the_dataset(tmp_path):
    import nnunet_ms.doors.trainers as door

    trainer = door.nnUNetTrainerMSMultiArmTiny
    source, path = checkpoint_of(tmp_path, trainer, ["T1w", "FLAIR", "T2w"])
    dataset = {**DATASET_JSON, "channel_names": {"0": "flair", "1": "t2", "2": "t1"}}
    plans = {**make_plans(dataset_json=dataset), "channel_names": ["flair", "t2", "t1"]}
    network = build(trainer, plans, dataset)
    report = load_source_weights(network, path, channels=["flair", "t2", "t1"], report_to=str)
    image = torch.randn(1, 3, 8, 16, 16)
    assert torch.equal(output(source, image), output(network, image[:, [1, 2, 0]]))
    assert report.numbers("adapted") == 0
    assert report.source == "weights of nnUNetTrainerMSMultiArmTiny, channels t1, flair, t2"


def test_a_network_without_t2_takes_what_it_can_of_one_with_it(tmp_path):
    import nnunet_ms.doors.trainers as door

    source, path = checkpoint_of(tmp_path, door.nnUNetTrainerMSMultiArmTiny, ["T1w", "FLAIR", "T2w"])
    dataset = {**DATASET_JSON, "channel_names": {"0": "t1", "1": "flair"}}
    plans = {**make_plans(dataset_json=dataset), "channel_names": ["t1", "flair"]}
    network = build(door.nnUNetTrainerMSFlairT1Tiny, plans, dataset)
    report = load_source_weights(network, path, channels=["t1", "flair"], report_to=str)
    ours, theirs = network.encoders[0].first.body[0].weight, source.encoders[0].first.body[0].weight
    assert torch.equal(ours, theirs[:, [0, 2]])  # the arm reads flair, t2, t1
    assert torch.equal(network.encoders[1].first.body[0].weight, source.encoders[1].first.body[0].weight)
    assert "adapted: encoders.0.first.body.0.weight: flair, t2, t1 -> flair, t1 (by name)" in report.text()
    # the projections read the features of one arm fewer: they start anew, and the report says so
    assert re.search(r"skipped: projections\.0\.0\.weight: shapes differ", report.text())
    assert any(name.startswith("encoders.2.") for name in report.unused)


def test_an_isotropic_network_from_an_anisotropic_one_and_back(tmp_path):
    flat, deep = (
        filled(lambda kernel=kernel: MultiArmUNet([Arm((0, 1))], first_kernel=kernel, **SMALL), seed)
        for seed, kernel in enumerate([(1, 3, 3), (3, 3, 3)])
    )
    path = saved(tmp_path, flat)
    report = load_source_weights(deep, path, report_to=str)
    assert torch.allclose(output(flat), output(deep), atol=1e-4)  # 1x3x3 in the middle of 3x3x3 is the same function
    assert "kernel 1x3x3 -> 3x3x3 (in the middle)" in report.text()
    again = filled(lambda: MultiArmUNet([Arm((0, 1))], first_kernel=(1, 3, 3), **SMALL), 5)
    report = load_source_weights(again, saved(tmp_path, deep), report_to=str)
    assert torch.allclose(again.encoders[0].first.body[0].weight * 3, flat.encoders[0].first.body[0].weight, atol=1e-6)
    assert "kernel 3x3x3 -> 1x3x3 (averaged)" in report.text()


def test_another_number_of_classes_leaves_the_head(tmp_path):
    source = filled(lambda: PlainUNet(2, 3, **SMALL))
    network = filled(MAKERS["plain"], seed=2)
    before = network.decoder.seg_layers[0].weight.clone()
    report = load_source_weights(network, saved(tmp_path, source), report_to=str)
    assert torch.equal(before, network.decoder.seg_layers[0].weight)
    assert "skipped: decoder.seg_layers.0.weight: shapes differ" in report.text()
    assert "(another number of classes)" in report.text()


FOREIGN = {
    "another architecture": lambda: nnunet(),
    "wider": lambda: PlainUNet(2, **{**SMALL, "filters": (8, 12, 16)}),
    "deeper, other names": lambda: nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.Conv3d(4, 2, 1)),
    "another of ours": MAKERS["multi-arm"],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_weights_are_refused_with_a_report_and_nothing_is_changed(tmp_path, name):
    network = filled(MAKERS["plain"], seed=2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = saved(tmp_path, FOREIGN[name]())
    with pytest.raises(
        ModelError, match=r"source\.pth: expected a source of weights for PlainUNet .* found \d+\.\d%"
    ) as e:
        load_source_weights(network, path, report_to=str)
    assert "tensors are skipped (" in str(e.value)
    assert "Train with the trainer (and plans) of the source's network" in str(e.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_pickle_that_could_run_is_not_run(tmp_path):
    torch.save(
        {"network_weights": filled(MAKERS["plain"]).state_dict(), "logging": Bomb(tmp_path / "crater")},
        tmp_path / "b.pth",
    )
    with pytest.raises(ModelError, match=r"b\.pth: expected a source of weights .*mkdir; loading it could run code"):
        load_source_weights(MAKERS["plain"](), tmp_path / "b.pth")
    assert not (tmp_path / "crater").exists()


def test_plans_in_a_checkpoint_cannot_name_code(tmp_path):
    import nnunet_ms.doors.trainers as door

    _, path = checkpoint_of(tmp_path, door.nnUNetTrainerMSMultiArmTiny, ["t1", "flair", "t2"])
    content = torch.load(path, weights_only=True)
    content["init_args"]["plans"]["configurations"]["3d_fullres"]["normalization_schemes"] = ["os.system"]
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"names 'os\.system', which is no layer or part"):
        load_source_weights(MAKERS["multi-arm"](), path)


def test_weights_saved_on_a_gpu_load_without_one(tmp_path, monkeypatch):
    # torch writes where a storage was; here it is told that it was on cuda:0
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _storage: "cuda:0")
    source, network = filled(MAKERS["plain"]), filled(MAKERS["plain"], seed=2)
    path = saved(tmp_path, source)
    assert b"cuda:0" in path.read_bytes()
    load_source_weights(network, path, report_to=str)
    assert torch.equal(output(source), output(network))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            {"epoch": 3, "note": "no weights"},
            r"expected a source of weights, tensors by name, found \['epoch', 'note'\]",
        ),
        ({"network_weights": {}}, "tensors by name"),
        ([1, 2], "a dict, found list"),
    ],
)
def test_files_without_weights_are_refused(tmp_path, content, what):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=what):
        load_source_weights(MAKERS["plain"](), tmp_path / "x.pth")


def test_other_bad_sources_are_refused(tmp_path):
    network = MAKERS["plain"]()
    with pytest.raises(ModelError, match=r"none\.pth: expected a source of weights, found no such file"):
        load_source_weights(network, tmp_path / "none.pth")
    path = saved(tmp_path, filled(MAKERS["plain"]))
    with pytest.raises(ModelError, match=r"a file, found a folder\. Name a file"):
        load_source_weights(network, tmp_path)
    path.rename(tmp_path / "checkpoint_final.pth")
    with pytest.raises(ModelError, match=r"Name one of its files, such as .*checkpoint_final\.pth"):
        load_source_weights(network, tmp_path)
    with pytest.raises(OptionError, match="policy: expected one of 'all', 'all_but_head', 'encoder', found 'head'"):
        load_source_weights(network, tmp_path / "checkpoint_final.pth", "head")
    with pytest.raises(
        ModelError, match=r"channels: expected 2 names, one per channel of the network, found \['flair'\]"
    ):
        load_source_weights(network, tmp_path / "checkpoint_final.pth", channels=["flair"])
    broken = filled(MAKERS["plain"])
    with torch.no_grad():
        broken.blocks[0].body[0].weight[0] = float("nan")
    with pytest.raises(
        ModelError, match=r"infinite or missing ones in 1 tensors, the first blocks\.0\.body\.0\.weight"
    ):
        load_source_weights(network, saved(tmp_path, broken))


def test_half_precision_is_taken_as_the_numbers_it_holds(tmp_path):
    source, network = filled(MAKERS["plain"]), filled(MAKERS["plain"], seed=2)
    load_source_weights(network, saved(tmp_path, source.half()), report_to=str)
    assert next(network.parameters()).dtype == torch.float32
    assert torch.equal(output(source.float()), output(network))


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (
            {"source_channels": ["flair"]},
            ModelError,
            r"source_channels: expected 2 names, .* found \['flair'\]",
        ),
        ({"source_channels": ["flair", "t1", "t2"]}, ModelError, "source_channels: expected 2 names, one per channel"),
        ({"channels": ["flair"]}, ModelError, "channels: expected 2 names, one per channel of the network"),
        ({"channels": "flair"}, OptionError, r"^channels: expected a list of names, found 'flair'. Write \['flair'\]"),
        ({"source_channels": "t1"}, OptionError, "^source_channels: expected a list of names, found 't1'"),
    ],
)
@pytest.mark.parametrize("name", ["plain", "nnU-Net"])
def test_names_that_are_not_those_of_the_channels_are_refused_and_nothing_is_changed(
    tmp_path, name, names, error, message
):
    path = saved(tmp_path, filled(MAKERS[name]))
    network = filled(MAKERS[name], seed=2)
    before = output(network)
    with pytest.raises(error, match=message):
        load_source_weights(network, path, **{"channels": ["flair", "t1"], **names})
    assert torch.equal(output(network), before)


@pytest.mark.parametrize("own", [["t1", "flair"], ["flair", "t2"], ["flair"]])
def test_names_say_nothing_of_what_the_arms_of_a_plain_state_dict_read(tmp_path, own):
    path = saved(tmp_path, filled(MAKERS["multi-arm"]))
    with pytest.raises(ModelError, match="expected a checkpoint of nnU-Net, which says what each arm of MultiArmUNet"):
        load_source_weights(MAKERS["multi-arm"](), path, channels=["flair", "t1"], source_channels=own)


@pytest.mark.parametrize("name", ["plain", "multi-arm", "nnU-Net"])
def test_channels_taken_by_position_are_reported(tmp_path, name):
    path, told = saved(tmp_path, filled(MAKERS[name])), []
    load_source_weights(MAKERS[name](), path, channels=["flair", "t1"], report_to=told.append)
    assert "channels by position, the source does not name them" in told[0]


@pytest.mark.parametrize("kind", [torch.int32, torch.int8, torch.complex64])
def test_weights_that_are_no_real_numbers_are_not_taken_for_them(tmp_path, kind):
    weights = {key: value.to(kind) for key, value in filled(MAKERS["plain"]).state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "source.pth")
    with pytest.raises(ModelError, match=r"found 0\.1%.*other numbers, \w+ and float32"):
        load_source_weights(MAKERS["plain"](), tmp_path / "source.pth")


@pytest.mark.parametrize(
    ("theirs", "own", "message"),
    [
        (["flair", "flair"], ["t1", "flair"], r"source_channels: expected different names, found \['flair', 'flair'\]"),
        (["FLAIR", "flair"], ["flair", "t1"], "source_channels: expected different names"),
        (["t1", "T1w"], [], "source_channels: expected different names, .* taken by position"),
        (["mri", "mri"], ["mri", "mri"], ""),  # the same names in both: nothing to tell apart
    ],
)
def test_two_channels_of_the_source_with_one_name_are_refused(tmp_path, theirs, own, message):
    source, network = PlainUNet(2, filters=(4, 8)), PlainUNet(2, filters=(4, 8))
    torch.save(source.state_dict(), tmp_path / "source.pth")
    if message:
        with pytest.raises(OptionError, match=message):
            load_source_weights(network, tmp_path / "source.pth", channels=own, source_channels=theirs)
        return
    load_source_weights(network, tmp_path / "source.pth", channels=own, source_channels=theirs)
    assert all(torch.equal(one, network.state_dict()[name]) for name, one in source.state_dict().items())


@pytest.mark.parametrize(
    ("network", "found"), [(None, "a NoneType"), (PlainUNet, "the class PlainUNet"), ({}, "a dict")]
)
def test_what_is_no_network_is_refused(tmp_path, network, found):
    torch.save(PlainUNet(1, filters=(4, 8)).state_dict(), tmp_path / "source.pth")
    with pytest.raises(OptionError, match=rf"network: expected a network \(torch.nn.Module\), found {found}"):
        load_source_weights(network, tmp_path / "source.pth")
